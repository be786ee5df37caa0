/// Keeps the records. Speaks of records, not of SQL; one test suite runs on every implementation.
///
/// Every write is on stable storage when its call returns. Methods throw ``StoreError``.
package protocol Store: Sendable {
    // MARK: Connections
    /// - Throws: ``StoreError/conflict`` when the id is taken.
    func insert(_ connection: Connection) async throws
    func connection(id: String) async throws -> Connection?
    func connection(uid: UID) async throws -> Connection?
    /// In the order of ids, those after `after`.
    func connections(after: String?, limit: Int) async throws -> [Connection]
    /// Replaces the record if its revision is still `expectedRevision`, and stores it with the next one.
    /// - Returns: whether it was.
    /// - Parameter voidsGrants: in the same transaction its grants wait for a person, reason `host_changed`; a renewal
    ///   that began before is refused by ``put(_:expectedGeneration:)``.
    func update(_ connection: Connection, expectedRevision: Int, voidsGrants: Bool) async throws -> Bool
    func setHealth(_ health: Connection.Health, connection: UID) async throws
    /// With its grants, sessions, attempts, completions and data key; activity stays.
    func deleteConnection(_ uid: UID) async throws

    // MARK: Grants
    func grant(connection: UID, subject: String, slot: String) async throws -> Grant?
    func grant(uid: UID) async throws -> Grant?
    /// Inserts (`expectedGeneration` nil) or replaces the whole record if its generation is still the expected one;
    /// a refresh intent of the grant is cleared in the same transaction. Compare and set on `token_generation`. The last
    /// use of a grant that is there stays as it is: ``touchGrants(_:)`` alone changes it.
    /// - Returns: false when another writer was first (nothing is written).
    func put(_ grant: Grant, expectedGeneration: Int?) async throws -> Bool
    /// Changes state only, if the generation is still the expected one; generation stays.
    func setState(_ state: Grant.State, reason: String?, at: Timestamp, grant: UID, expectedGeneration: Int) async throws -> Bool
    func grants(filter: GrantFilter, after: UID?, limit: Int) async throws -> [Grant]
    func touchGrants(_ lastUsed: [UID: Timestamp]) async throws
    func grantCounts(now: Timestamp) async throws -> [String: Int]

    // MARK: Refresh
    /// Proves that the store is writable and notes that the refresh token of this generation is about to be sent.
    /// - Returns: `attempts` so far with this generation, this one included; `nil` when the generation has moved.
    func beginRefresh(grant: UID, generation: Int, at: Timestamp) async throws -> Int?
    func clearIntent(grant: UID, generation: Int) async throws
    func intent(grant: UID) async throws -> RefreshIntent?
    func insert(_ orphan: OrphanToken) async throws
    func orphans(due: Timestamp, limit: Int) async throws -> [OrphanToken]
    func updateOrphan(_ uid: UID, nextTryAt: Timestamp, tries: Int) async throws
    func deleteOrphan(_ uid: UID) async throws

    // MARK: Connecting
    func insert(_ session: ConnectSession) async throws
    func session(id: String) async throws -> ConnectSession?
    func session(ticketHash: [UInt8]) async throws -> ConnectSession?
    /// Moves a session's state if it is one of `from`. - Returns: whether it was.
    func moveSession(
        _ id: String, from: [ConnectSession.State], to: ConnectSession.State, error: String?, errorDetail: String?, grant: UID?
    ) async throws -> Bool
    func insert(_ attempt: AuthorizationAttempt) async throws
    /// Consumes and returns in one statement: a callback replayed a microsecond later finds it consumed.
    func takeAttempt(stateHash: [UInt8], now: Timestamp) async throws -> TakenAttempt
    func put(_ completion: Completion) async throws
    /// Removes and returns in one statement.
    func takeCompletion(sessionID: String) async throws -> Completion?
    func completion(sessionID: String) async throws -> Completion?
    /// Drops expired attempts, completions and sessions older than a day.
    func sweep(now: Timestamp) async throws

    // MARK: Keys, activity, data keys
    func insert(_ key: APIKey) async throws
    /// Inserts or replaces the key with this id.
    func put(_ key: APIKey) async throws
    func keys() async throws -> [APIKey]
    func deleteKey(id: String) async throws -> Bool
    /// One transaction, in order.
    func append(_ activity: [Activity]) async throws
    /// Newest first; those before `before`.
    func activity(filter: ActivityFilter, before: UID?, limit: Int) async throws -> [Activity]
    func dataKeys() async throws -> [DataKeyRecord]
    /// - Returns: its id.
    func insertDataKey(scope: String, masterKeyID: String, wrapped: [UInt8]) async throws -> Int
    func deleteDataKey(scope: String) async throws
    func meta(_ name: String) async throws -> [UInt8]?
    func setMeta(_ name: String, _ value: [UInt8]) async throws
    func close() async throws
}

/// What became of a `state`.
package enum TakenAttempt: Sendable {
    case taken(AuthorizationAttempt)
    /// Used before: so that a reload can show how it ended.
    case alreadyTaken(sessionID: String)
    case expired(sessionID: String)
    case unknown
}

package struct GrantFilter: Sendable {
    package var connection: UID?
    /// Only these, when set (a limited key's).
    package var connections: [UID]?
    package var subject: String?
    package var subjects: [String]?
    /// `active` with `expired` apart: both are stored as active.
    package var state: String?
    package var now: Timestamp
    package init(connection: UID? = nil, connections: [UID]? = nil, subject: String? = nil, subjects: [String]? = nil, state: String? = nil, now: Timestamp) {
        self.connection = connection
        self.connections = connections
        self.subject = subject
        self.subjects = subjects
        self.state = state
        self.now = now
    }
}

package struct ActivityFilter: Sendable {
    package var connection: String?
    package var connectionUID: UID?
    package var subject: String?
    package var action: String?
    package init(connection: String? = nil, connectionUID: UID? = nil, subject: String? = nil, action: String? = nil) {
        self.connection = connection
        self.connectionUID = connectionUID
        self.subject = subject
        self.action = action
    }
}

package enum StoreError: Error, Sendable, Hashable {
    case conflict
    /// The store cannot be read or written now (disk full, read-only, away): in words, without a path's content.
    case unavailable(String)
    /// What is stored makes no sense.
    case damaged(String)
    /// Written by a newer version: the name of its first unknown migration.
    case newerSchema(String)
    /// Another server holds the data directory.
    case locked
}
