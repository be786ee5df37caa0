import Synchronization
import Vault

/// What the doctor found last, for the page that shows it and the button that applies it. In memory: it is old after
/// some minutes anyway.
final class Diagnoses: Sendable {
    private static let capacity = 500
    static let kept: Duration = .seconds(1800)
    private let entries = Mutex<[UID: Diagnosis]>([:])

    /// - Returns: `nil` when the connection changed since, or it is too long ago.
    func find(_ connection: Connection, now: Timestamp) -> Diagnosis? {
        entries.withLock { entries in
            guard let found = entries[connection.uid], found.connection.revision == connection.revision, found.at + Self.kept > now else {
                return nil
            }
            return found
        }
    }

    func insert(_ diagnosis: Diagnosis) {
        entries.withLock { entries in
            if entries.count >= Self.capacity { entries = [:] }
            entries[diagnosis.connection.uid] = diagnosis
        }
    }
}
