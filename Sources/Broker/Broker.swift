package import Egress
package import Logging
package import OAuth
package import OAuthClient
import ServiceLifecycle
package import Vault

/// What Grantee does: connect, callback, issue, refresh, revoke. Every face calls this and nothing below it.
///
/// Methods throw ``Problem``; what a browser brings to a callback ends in an outcome instead.
package final class Broker: Sendable {
    package struct Configuration: Sendable {
        /// `http://127.0.0.1:8080`, without a final slash: what Callback URLs are made from.
        package var publicURL: String
        package var forbidPasswordGrant: Bool
        /// Bytes of tokens kept in memory for the hot path, at most.
        package var cacheBytes: Int

        package init(publicURL: String, forbidPasswordGrant: Bool = false, cacheBytes: Int = 32 << 20) {
            self.publicURL = publicURL
            self.forbidPasswordGrant = forbidPasswordGrant
            self.cacheBytes = cacheBytes
        }
    }

    let store: any Store
    let keyring: Keyring
    let transport: any Transport
    let egress: Egress
    let clock: WallClock
    let entropy: Entropy
    let logger: Logger
    let configuration: Configuration

    let callers = CallerRegistry()
    let connectionCache = ConnectionCache()
    let tokenCache: TokenCache
    let activityLog: ActivityLog
    let activityWrites = Turns()
    let renewals = Renewals()
    let exchanges = InFlight()
    let backOff = BackOff()
    let unwritten = UnwrittenTokens()
    let unwrittenWrites = Turns()
    let metadataCache = MetadataCache()
    let meters = Meters()

    package init(
        store: any Store, keyring: Keyring, transport: any Transport, egress: Egress, clock: WallClock = .system,
        entropy: Entropy = .system, logger: Logger, configuration: Configuration
    ) {
        self.store = store
        self.keyring = keyring
        self.transport = transport
        self.egress = egress
        self.clock = clock
        self.entropy = entropy
        self.logger = logger
        self.configuration = configuration
        self.tokenCache = TokenCache(capacity: configuration.cacheBytes)
        self.activityLog = ActivityLog()
    }

    /// The URL to register at the provider: one per connection, so that a code cannot arrive at another one.
    package func callbackURL(connectionID: String) -> String {
        configuration.publicURL + "/oauth/callback/" + connectionID
    }

    /// Ready = the store answers, uses can be recorded, and no received token waits to be written.
    package func isReady() async -> Bool {
        guard unwritten.isEmpty, activityLog.isAccepting else { return false }
        do {
            _ = try await store.meta("ready")
            return true
        } catch {
            logger.error("store does not answer", metadata: ["error": "\(error)"])
            return false
        }
    }

    /// Background work until graceful shutdown or cancellation: records uses, retries writes, revokes orphans, drops
    /// what expired.
    package func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await self.every(.seconds(1)) { await self.flushActivity() } }
            group.addTask { await self.every(.milliseconds(500)) { await self.writeUnwritten() } }
            group.addTask { await self.every(.seconds(15)) { await self.revokeOrphans() } }
            group.addTask { await self.every(.seconds(300)) { await self.sweep() } }
        }
    }

    /// After the last request: waits for token requests that were sent, and writes what waits.
    package func finish() async {
        await renewals.close()
        await exchanges.waitUntilIdle()
        await writeUnwritten()
        await flushActivity(everything: true)
    }

    private func every(_ interval: Duration, _ work: @escaping @Sendable () async -> Void) async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await Task.sleep(for: interval) } catch { return }
                await work()
            }
        }
    }

    private func sweep() async {
        do {
            try await store.sweep(now: clock.now())
        } catch {
            logger.warning("sweep failed", metadata: ["error": "\(error)"])
        }
    }
}

extension Broker {
    /// Runs `body` and turns what the layers below throw into a ``Problem``; problems pass.
    func asProblem<R>(_ body: () async throws -> R) async throws(Problem) -> R {
        do {
            return try await body()
        } catch let problem as Problem {
            throw problem
        } catch let error as StoreError {
            throw storeProblem(error)
        } catch let error as KeyringError {
            throw internalProblem(error)
        } catch {
            throw internalProblem(error)
        }
    }

    func storeProblem(_ error: StoreError) -> Problem {
        switch error {
        case .conflict:
            return Problem(.conflict, "it was changed or made by somebody else meanwhile", fix: "read it again and repeat")
        case .unavailable, .locked:
            logger.error("store unavailable", metadata: ["error": "\(error)"])
            return Problem(.unavailable, "the database is away; nothing was lost", retryAfter: 1)
        case .damaged, .newerSchema:
            return internalProblem(error)
        }
    }

    /// Says nothing but where to look in the log.
    func internalProblem(_ error: any Error) -> Problem {
        let reference = entropy.token(bytes: 9)
        logger.error("internal error", metadata: ["reference": "\(reference)", "error": "\(type(of: error))", "detail": "\(error)"])
        return Problem(.internal, "something went wrong here; the log has the details under \(reference)")
    }
}
