import Logging
import Vault

/// Long work that one node does at a time: a lease that is renewed while it goes on.
extension Broker {
    private static let soleLifetime: Duration = .seconds(30)

    /// - Returns: `nil` when another node is at it. For who has the store alone nobody else is.
    func asSoleNode<R: Sendable>(_ name: String, _ work: () async throws -> R) async throws -> R? {
        guard let shared else { return try await work() }
        guard try await shared.takeLease(name, owner: leaseOwner, lifetime: Self.soleLifetime) else { return nil }
        let renewal = Task { [self] in
            while true {
                do { try await Task.sleep(for: Self.soleLifetime / 3) } catch { return }
                await renewSole(name)
            }
        }
        do {
            let result = try await work()
            renewal.cancel()
            await endSole(name)
            return result
        } catch {
            renewal.cancel()
            await endSole(name)
            throw error
        }
    }

    /// What is done twice at worst, when a lease is lost, is work that may be done twice.
    private func renewSole(_ name: String) async {
        do {
            if try await shared?.takeLease(name, owner: leaseOwner, lifetime: Self.soleLifetime) == false {
                logger.warning("another node has begun the same work meanwhile", metadata: ["work": "\(name)"])
            }
        } catch {
            logger.warning("a lease was not renewed", metadata: ["work": "\(name)", "error": "\(error)"])
        }
    }

    private func endSole(_ name: String) async {
        do {
            try await shared?.endLease(name, owner: leaseOwner)
        } catch {
            logger.warning("a lease was not given back; it ends by itself", metadata: ["work": "\(name)", "error": "\(error)"])
        }
    }
}
