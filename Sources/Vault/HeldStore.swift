import Foundation
import Synchronization

/// A store that a copy holds, so that no server works on it meanwhile.
final class Held: Sendable {
    let store: any CopyableStore
    private let name: String
    private let owner = UUID().uuidString
    private let stamp = Mutex<String?>(nil)

    /// - Parameter name: what it is called in an error.
    init(_ store: any CopyableStore, _ name: String) {
        self.store = store
        self.name = name
    }

    /// - Parameter patience: how long another copy's hold is waited for: one that died leaves its hold for some seconds.
    func take(patience: Duration) async throws {
        let end = ContinuousClock.now + patience
        while true {
            do {
                return try await hold()
            } catch let error as CopyError where error.isPassing && ContinuousClock.now < end {
                try await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    /// Renews the hold until it is cancelled, whatever the copy waits for meanwhile. That it lapsed shows in the end.
    func keeper(every interval: Duration) -> Task<Void, Never> {
        Task {
            while true {
                do { try await Task.sleep(for: interval) } catch { return }
                _ = try? await store.hold(for: owner)
            }
        }
    }

    /// That nobody else has written since it was taken, nor does now.
    func requireUntouched() async throws { try await hold() }

    /// Sets a mark in the transaction that sees that the store is still held as it was from the beginning.
    func setMark(_ mark: some VaultMark) async throws {
        guard let stamp = stamp.withLock({ $0 }), try await store.setMark(mark, held: stamp) else { throw wasUsed }
    }

    private var wasUsed: CopyError {
        CopyError("\(name) was written to by another program meanwhile", hint: "stop the server that runs on it; then copy again")
    }

    func letGo() async throws {
        guard stamp.withLock({ $0 != nil }) else { return }
        try await store.letGo(owner)
    }

    private func hold() async throws {
        let found: String
        do {
            found = try await store.hold(for: owner)
        } catch let error as CopyError {
            throw CopyError("\(name) \(error.message)", hint: error.hint, isPassing: error.isPassing)
        }
        let isSame = stamp.withLock { stamp in
            defer { stamp = stamp ?? found }
            return stamp == nil || stamp == found
        }
        guard isSame else { throw wasUsed }
    }
}
