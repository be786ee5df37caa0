import Logging
import Synchronization
import Vault

/// What keeps a server from serving.
package enum Unreadiness: String, Sendable, CaseIterable {
    /// It does not answer, or does not take the tokens that wait to be written.
    case database
    /// Another node sealed with a master key that this one was not given.
    case keys
    /// Uses cannot be written down, and none are allowed that are not.
    case recording
    /// It was told to end.
    case ending
}

extension Broker {
    /// Ready = the store answers, its keys open, uses can be recorded, and no received token waits to be written.
    package func isReady() async -> Bool { await unreadiness().isEmpty }

    /// In the order of ``Unreadiness``; empty when it is ready.
    package func unreadiness() async -> [Unreadiness] {
        var found: Set<Unreadiness> = []
        if !activityLog.isAccepting { found.insert(.recording) }
        if !unwritten.isEmpty { found.insert(.database) }
        do {
            try await catchUp()
            _ = try await store.meta("ready")
        } catch {
            // What was asked last says which; a database that stalls is not asked once more for it.
            found.insert(missingMasterKeys.withLock(\.isEmpty) ? .database : .keys)
            // Where changes are followed, that says it: once, and not at each question.
            if shared == nil { logger.error("store does not answer", metadata: ["error": "\(error)"]) }
        }
        return Unreadiness.allCases.filter(found.contains)
    }
}
