import Crypto
import Synchronization
package import Vault

/// Who calls, after ``Broker/authenticate(_:)``. A class, so that passing it on copies nothing.
package final class Caller: Sendable {
    package let key: APIKey
    /// Whether its role is `agent`: asked of each request.
    package let isAgent: Bool

    package init(key: APIKey) {
        self.key = key
        isAgent = key.role == .agent
    }

    package var isAdmin: Bool { key.role == .admin }
    package func covers(connection: UID) -> Bool { key.connections.map { $0.contains(connection) } ?? true }
    package func covers(subject: String) -> Bool { key.subjects.map { $0.contains(subject) } ?? true }
}

extension Caller {
    /// - Throws: `forbidden` naming the role that is needed.
    package func requireAdmin() throws(Problem) {
        guard isAdmin else {
            throw Problem(.forbidden, "this key's role is \(key.role.rawValue); this needs admin", fix: "use an API key with the role admin")
        }
    }

    /// For what concerns every connection: an admin key that is bound to some may not make itself an unbound one.
    func requireUnboundAdmin() throws(Problem) {
        try requireAdmin()
        guard key.connections == nil, key.subjects == nil else {
            throw Problem(.forbidden, "this key is bound to connections or subjects; this concerns all of them", fix: "use an admin key without limits")
        }
    }

    /// Agents never see a token, a grant or a session here: MCP and the gateway are their faces.
    package func requireUse() throws(Problem) {
        guard key.role != .agent else {
            throw Problem(.forbidden, "this key's role is agent; this needs use or admin", fix: "use an API key with the role use")
        }
    }

    func require(subject: String) throws(Problem) {
        guard covers(subject: subject) else {
            throw Problem(.forbidden, "this key is bound to other subjects", fix: "name one of the key's subjects")
        }
    }
}

/// SHA-256 of an API key, as four words: what the registry finds keys by.
struct KeyHash: Hashable, Sendable {
    private let words: SIMD4<UInt64>

    init(of key: Substring) {
        var hash = SHA256()
        // A string of our own making lies in one piece: nothing is copied.
        if key.utf8.withContiguousStorageIfAvailable({ hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }) == nil { hash.update(data: Array(key.utf8)) }
        words = hash.finalize().withUnsafeBytes { $0.loadUnaligned(as: SIMD4<UInt64>.self) }
    }
    init(of key: Span<UInt8>) {
        var hash = SHA256()
        key.withUnsafeBytes { hash.update(bufferPointer: $0) }
        words = hash.finalize().withUnsafeBytes { $0.loadUnaligned(as: SIMD4<UInt64>.self) }
    }
    /// `nil` unless there are 32 bytes.
    init?(stored bytes: [UInt8]) {
        guard bytes.count == SHA256.byteCount else { return nil }
        words = bytes.withUnsafeBytes { $0.loadUnaligned(as: SIMD4<UInt64>.self) }
    }
    var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }
}

/// API keys in memory: authentication asks no database.
///
/// Finding by the hash leaks nothing about a key: who can steer a SHA-256 towards a stored one already has it.
final class CallerRegistry: Sendable {
    private let byHash = Mutex<[KeyHash: Caller]>([:])
    private let age: MemoryAge

    init(age: MemoryAge) { self.age = age }

    func replaceAll(_ keys: [APIKey]) {
        byHash.withLock { map in
            age.grow()
            map = [:]
            for key in keys { if let hash = KeyHash(stored: key.hash) { map[hash] = Caller(key: key) } }
        }
    }
    func add(_ key: APIKey) {
        guard let hash = KeyHash(stored: key.hash) else { return }
        byHash.withLock { map in
            age.grow()
            map[hash] = Caller(key: key)
        }
    }
    func remove(id: String) {
        byHash.withLock { map in
            age.grow()
            map = map.filter { $0.value.key.id != id }
        }
    }
    func find(_ hash: KeyHash) -> Caller? { byHash.withLock { $0[hash] } }
    /// For what is rare: looks at each.
    func find(id: String) -> Caller? { byHash.withLock { $0.values.first { $0.key.id == id } } }
}
