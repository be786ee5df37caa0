import Logging
import OAuth
import Synchronization
package import Vault

/// API keys: made, listed, removed; looked up in memory.
extension Broker {
    /// The id of the key that `GRANTEE_ADMIN_KEY` or the data directory holds.
    package static let adminKeyID = "key_admin"

    /// Reads keys into memory and makes, or replaces, the admin key; opens the chain of activity; stops what a
    /// revocation had not stopped yet. Call once, before the first request.
    /// - Parameter adminKey: at least 32 characters; `nil` keeps the stored one.
    package func start(adminKey: String?) async throws(Problem) {
        try await asProblem {
            if let adminKey {
                let hash = KeyHash(of: adminKey[...]).bytes
                let stored = try await store.keys().first { $0.id == Self.adminKeyID }
                if stored?.hash != hash {
                    try await store.put(
                        APIKey(id: Self.adminKeyID, name: "admin", hash: hash, role: .admin, createdAt: clock.now()))
                }
            }
            callers.replaceAll(try await store.keys())
            try await catchUp()
            let chain = try await activityWriter.open()
            activityChain.withLock { $0 = chain }
            try await noteRestore()
            if try await store.mark(RotationMark.self) != nil {
                logger.warning("a rotation of keys was begun and has not ended; `grantee vault rotate` goes on with it")
            }
            try await begin()
            try await resumeRevocations()
        }
    }

    /// A SHA-256 and a look-up in memory. `nil` = an unknown or expired key.
    package func authenticate(_ key: Substring) -> Caller? { caller(KeyHash(of: key)) }

    /// The same of a key whose bytes are part of something longer.
    package func authenticate(_ key: Span<UInt8>) -> Caller? { caller(KeyHash(of: key)) }

    private func caller(_ hash: KeyHash) -> Caller? {
        guard let caller = callers.find(hash) else { return nil }
        if let expiry = caller.key.expiresAt, expiry <= clock.now() { return nil }
        return caller
    }

    package func authenticate(_ key: String) -> Caller? { authenticate(key[...]) }

    /// Whoever was let in by what may have been too old a memory, after ``catchUp()``.
    package func requireKnown(_ caller: Caller) throws(Problem) {
        guard KeyHash(stored: caller.key.hash).flatMap(self.caller) != nil else { throw Self.unknownKey }
    }

    package static let unknownKey = Problem(
        .unauthenticated, "the API key is not known, or has expired", fix: "send Authorization: Bearer API_KEY with a valid key")

    package func keys(for caller: Caller) async throws(Problem) -> [APIKey] {
        try caller.requireUnboundAdmin()
        return try await asProblem { try await store.keys() }
    }

    package struct NewKey: Sendable {
        package var name: String
        package var role: APIKey.Role
        /// Connection ids (slugs); each must exist. `nil` = all.
        package var connections: [String]?
        package var subjects: [String]?
        package var requestsPerMinute: Int?
        package var expiresAt: Timestamp?

        package init(
            name: String, role: APIKey.Role, connections: [String]? = nil, subjects: [String]? = nil,
            requestsPerMinute: Int? = nil, expiresAt: Timestamp? = nil
        ) {
            self.name = name
            self.role = role
            self.connections = connections
            self.subjects = subjects
            self.requestsPerMinute = requestsPerMinute
            self.expiresAt = expiresAt
        }
    }

    /// - Returns: the record and the key itself, which is never seen again.
    package func addKey(_ new: NewKey, by caller: Caller) async throws(Problem) -> (APIKey, String) {
        try caller.requireUnboundAdmin()
        let now = clock.now()
        var errors: [Problem.FieldError] = []
        if let expiresAt = new.expiresAt, expiresAt <= now {
            errors.append(.init(pointer: "/expires_at", detail: "lies in the past; name a time to come"))
        }
        for (index, subject) in (new.subjects ?? []).enumerated() where !Self.isSubject(subject) {
            errors.append(.init(pointer: "/subjects/\(index)", detail: Self.subjectRule))
        }
        var uids: [UID]?
        if let ids = new.connections {
            var found: [UID] = []
            for (index, id) in ids.enumerated() {
                if let connection = try await findConnection(id) {
                    found.append(connection.uid)
                } else {
                    errors.append(.init(pointer: "/connections/\(index)", detail: "there is no such connection"))
                }
            }
            uids = found
        }
        guard errors.isEmpty else { throw Problem(.invalidRequest, "the key cannot be made as asked", errors: errors) }
        let secret = "gk_" + entropy.token(bytes: 32)
        let record = APIKey(
            id: "key_" + entropy.token(bytes: 9), name: new.name, hash: KeyHash(of: secret[...]).bytes, role: new.role, connections: uids,
            subjects: new.subjects, requestsPerMinute: new.requestsPerMinute, createdAt: now, expiresAt: new.expiresAt)
        try await asProblem { try await store.insert(record) }
        callers.add(record)
        note("key.created", caller: caller, detail: record.id)
        return (record, secret)
    }

    /// At once: the next request with the key is refused.
    package func removeKey(id: String, by caller: Caller) async throws(Problem) {
        try caller.requireUnboundAdmin()
        try requireRemovable(key: id)
        let existed = try await asProblem { try await store.deleteKey(id: id) }
        callers.remove(id: id)
        guard existed else { throw Problem(.notFound, "there is no API key \(id.prefix(80))") }
        note("key.removed", caller: caller, detail: id)
    }

    package func requireRemovable(key id: String) throws(Problem) {
        guard id != Self.adminKeyID else {
            throw Problem(
                .conflict, "the admin key is set where the server starts", fix: "start the server with another GRANTEE_ADMIN_KEY to replace it")
        }
    }

    static let subjectRule = "a subject is 1 to 255 visible ASCII characters, and not -"

    static func isSubject(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) } && text != "-"
    }
}
