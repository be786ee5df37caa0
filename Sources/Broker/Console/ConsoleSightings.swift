import Synchronization
import Vault

/// When console sessions were last seen. In memory, so that not each page that somebody opens is a write.
final class ConsoleSightings: Sendable {
    private struct Sighting {
        var seen: Timestamp
        var written: Timestamp
    }
    private let sightings = Mutex<[String: Sighting]>([:])
    private static let writtenEach = Duration.seconds(60)

    /// The later of what is stored and what is known here.
    func last(of session: ConsoleSession) -> Timestamp {
        sightings.withLock { max($0[session.id]?.seen ?? session.lastSeenAt, session.lastSeenAt) }
    }

    /// - Returns: whether it is time to store it.
    func note(_ session: ConsoleSession, at now: Timestamp) -> Bool {
        sightings.withLock { sightings in
            var sighting = sightings[session.id] ?? Sighting(seen: now, written: session.lastSeenAt)
            sighting.seen = max(sighting.seen, now)
            let isDue = now - sighting.written >= Self.writtenEach
            if isDue { sighting.written = now }
            sightings[session.id] = sighting
            return isDue
        }
    }

    func forget(_ id: String) { sightings.withLock { $0[id] = nil } }

    func forget(before: Timestamp) { sightings.withLock { $0 = $0.filter { $0.value.seen >= before } } }
}
