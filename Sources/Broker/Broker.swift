package import Egress
package import Logging
package import OAuth
package import OAuthClient
import ServiceLifecycle
import Synchronization
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
        /// How long a caller waits for a renewal: what a token request may take.
        package var patience: Duration = .seconds(30)
        /// How long a webhook's receiver may take for its answer.
        package var webhookPatience: Duration = .seconds(15)
        /// Whose chain of activity this process writes.
        package var node = "main"
        /// How nodes that share a store take turns at renewing a grant.
        package var lease = LeaseTimes()
        /// That ended without a shutdown before this start, and that nobody has told of.
        package var lostNodes: [NodeRecord] = []
        /// Of this program, as other nodes are told.
        package var version = ""
        /// How long activity is kept.
        package var activityDays = 400
        /// Where the master keys are kept, if the server itself keeps them.
        package var masterKeyFile: MasterKeyFile?
        /// How long a console session lasts in which nothing is done, and any. SEC-96.
        package var consoleIdle: Duration = .seconds(1800)
        package var consoleLife: Duration = .seconds(43_200)

        package init(publicURL: String, forbidPasswordGrant: Bool = false, cacheBytes: Int = 32 << 20) {
            self.publicURL = publicURL
            self.forbidPasswordGrant = forbidPasswordGrant
            self.cacheBytes = cacheBytes
        }
    }

    let store: any Store
    /// The same store, where other nodes have it too.
    let shared: (any SharedStore)?
    let keyring: Keyring
    let transport: any Transport
    /// For refreshes: an answer is waited for beyond the callers' patience.
    let patientTransport: any Transport
    let egress: Egress
    let clock: WallClock
    /// Waits; a test moves its clock instead.
    let pause: @Sendable (Duration) async throws -> Void
    let entropy: Entropy
    let logger: Logger
    let configuration: Configuration

    let coherence: Coherence
    /// That this was said in the log.
    let isCutOff = Atomic(false)
    let outageEndedAt = Mutex<ContinuousClock.Instant?>(nil)
    /// Ids of master keys that are missing here, as the log has it.
    let missingMasterKeys = Mutex<Set<String>>([])
    /// That the database came from a backup, as the start found it.
    let restored = Mutex<RestoreMark?>(nil)
    let memoryAge: MemoryAge
    let callers: CallerRegistry
    let connectionCache: ConnectionCache
    let tokenCache: TokenCache
    let activityLog = ActivityLog()
    let activityWriter: ActivityWriter
    let activityWrites = Turns()
    let keyUses = Mutex(LastUses<String>())
    /// Since the start.
    let activityChain = Mutex<ActivityChain?>(nil)
    let renewals = Renewals()
    let exchanges = InFlight()
    let backOff = BackOff()
    let tokenEndpoints: TokenEndpoints
    /// This process, among those that take leases: another one under the same node's name is somebody else.
    let leaseOwner: String
    let refreshing = InFlight()
    let refresherTurn = Mutex(0)
    let clockWatch = Mutex(ClockWatch())
    let unwritten = UnwrittenTokens()
    let unwrittenWrites = Turns()
    /// Ids of revocations that somebody is at work on.
    let revocationsInHand = Mutex<Set<String>>([])
    let webhooksUnderWay = WebhooksUnderWay()
    let mendLinks = MendLinks()
    let vaultWork = VaultWork()
    let metadataCache = MetadataCache()
    let consoleSightings = ConsoleSightings()
    let meters = Meters()
    let troubleBook = TroubleBook()
    let diagnoses = Diagnoses()
    package let agentBudget = AgentBudget()

    package init(
        store: any Store, keyring: Keyring, transport: any Transport, patientTransport: (any Transport)? = nil, egress: Egress,
        clock: WallClock = .system, pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        entropy: Entropy = .system, logger: Logger, configuration: Configuration
    ) {
        self.store = store
        shared = store as? any SharedStore
        coherence = Coherence(store as? any SharedStore)
        self.keyring = keyring
        self.transport = NotingTransport(transport, log: activityLog, clock: clock)
        self.patientTransport = NotingTransport(patientTransport ?? transport, log: activityLog, clock: clock)
        self.egress = egress
        self.clock = clock
        self.pause = pause
        self.entropy = entropy
        self.logger = logger
        self.configuration = configuration
        tokenEndpoints = TokenEndpoints(store as? any SharedStore, logger: logger)
        leaseOwner = "\(configuration.node)/\(UInt64.random(in: .min ... .max))"
        let age = MemoryAge()
        self.memoryAge = age
        self.callers = CallerRegistry(age: age)
        self.connectionCache = ConnectionCache(age: age)
        self.tokenCache = TokenCache(capacity: configuration.cacheBytes, age: age)
        self.activityWriter = ActivityWriter(store: store, keyring: keyring, node: configuration.node, logger: logger)
    }

    /// The URL to register at the provider: one per connection, so that a code cannot arrive at another one.
    package func callbackURL(connectionID: String) -> String {
        configuration.publicURL + "/oauth/callback/" + connectionID
    }

    /// Background work until graceful shutdown or cancellation: records uses, retries writes, keeps grants fresh, revokes
    /// orphans, announces what will die, drops what expired.
    package func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            if shared != nil {
                group.addTask { await self.every(Coherence.interval) { await self.followChanges() } }
                group.addTask { await self.every(.seconds(3)) { await self.beSeen() } }
            }
            // With the pauses of a write of many, about a second.
            group.addTask { await self.every(.milliseconds(750)) { await self.flushActivity() } }
            group.addTask { await self.flushWhenFilling() }
            group.addTask { await self.every(.milliseconds(500)) { await self.writeUnwritten() } }
            group.addTask { await self.every(.seconds(1)) { await self.goOnRevoking() } }
            group.addTask {
                await self.hastenDue()
                await self.every(.seconds(1)) { await self.watchClock() }
            }
            group.addTask { await self.every(.milliseconds(500)) { await self.refreshDue() } }
            group.addTask { await self.every(.seconds(60)) { await self.announceEndings() } }
            group.addTask { await self.every(.milliseconds(500)) { await self.deliverWebhooks() } }
            group.addTask { await self.every(.seconds(300)) { await self.sweep() } }
            // It would outlast the time that requests get to end; it can be gone on with.
            group.addTask { await self.closeVaultWork() }
        }
    }

    /// After the last request: waits for token requests that were sent, and writes what waits.
    /// - Returns: false when received tokens could not be written to the end: they are lost.
    @discardableResult
    package func finish() async -> Bool {
        await renewals.close(patience: configuration.patience)
        await exchanges.waitUntilIdle()
        await webhooksUnderWay.close()
        await vaultWork.close()
        let isWritten = await writeUnwritten(within: configuration.patience)
        await end()
        return isWritten
    }

    private func writeUnwritten(within limit: Duration) async -> Bool {
        let end = ContinuousClock.now + limit
        await writeUnwritten()
        while !unwritten.isEmpty, ContinuousClock.now < end {
            // In a task of its own: a shutdown that was cut off has cancelled this one.
            await Task { do { try await Task.sleep(for: .milliseconds(500)) } catch {} }.value
            await writeUnwritten()
        }
        if !unwritten.isEmpty { logger.critical("RECEIVED TOKENS ARE LOST: the database could not be written before the end") }
        return unwritten.isEmpty
    }

    private func every(_ interval: Duration, _ work: @escaping @Sendable () async -> Void) async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await Task.sleep(for: interval) } catch { return }
                await work()
            }
        }
    }

    private func closeVaultWork() async {
        // Either way it is over.
        do { try await gracefulShutdown() } catch {}
        await vaultWork.close()
    }

    private func sweep() async {
        keyring.forgetSpent()
        backOff.forgetOld(now: clock.now())
        consoleSightings.forget(before: clock.now() + (.zero - configuration.consoleLife))
        do {
            try await store.sweep(now: clock.now())
            try await shared?.forgetChanges()
            try await trimDeliveries()
        } catch {
            logFailure(.warning, "sweep failed", error)
        }
        await cutActivity()
        await deleteOldRetired()
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
            logFailure(.error, "store unavailable", error)
            return Problem(.unavailable, "the database is away; nothing was lost", retryAfter: 1)
        case .damaged, .newerSchema:
            return internalProblem(error)
        }
    }

    /// Says nothing but where to look in the log. What another node sealed with a master key that is missing here is no fault
    /// of this program's: other nodes open it.
    func internalProblem(_ error: any Error) -> Problem {
        if case .wrongMasterKey(let id, _) = error as? KeyringError { return missingMasterKeyProblem(id) }
        let reference = RequestID.current ?? RequestID.make()
        logger.error("internal error", metadata: ["request_id": "\(reference)", "error": "\(type(of: error))", "detail": "\(error)"])
        var problem = Problem(.internal, "something went wrong here; the log has the details under \(reference)")
        problem.requestID = reference
        return problem
    }
}
