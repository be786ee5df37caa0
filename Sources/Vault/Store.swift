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
    /// - Parameter change: what becomes of its grants in the same transaction.
    func update(_ connection: Connection, expectedRevision: Int, grants change: GrantsChange) async throws -> Bool
    /// A provider that is down says nothing about a connection that is misconfigured: it stays so.
    /// - Parameter events: announced in the same transaction, if the health was another state before: one outage, one event.
    /// - Parameter expectedRevision: what was learned with settings that are gone says nothing about those that are there.
    func setHealth(_ health: Connection.Health, connection: UID, expectedRevision: Int, events: [WebhookEvent]) async throws
    /// With its grants, sessions, attempts, completions and data key; activity stays.
    func deleteConnection(_ uid: UID) async throws

    // MARK: Grants
    func grant(connection: UID, subject: String, slot: String) async throws -> Grant?
    func grant(uid: UID) async throws -> Grant?
    /// Inserts (`expectedGeneration` nil) or replaces the whole record if its generation is still the expected one;
    /// a refresh intent of the grant is cleared in the same transaction. Compare and set on `token_generation`. The last
    /// use of a grant that is there stays as it is: ``touchGrants(_:)`` alone changes it.
    /// - Parameter events: announced in the same transaction.
    /// - Returns: false when another writer was first (nothing is written). Where a commit may end in a way that its caller
    ///   does not learn, writing the very same tokens again is true again.
    func put(_ grant: Grant, expectedGeneration: Int?, events: [WebhookEvent]) async throws -> Bool
    /// Changes the state of an active grant only, if the generation is still the expected one; generation stays. Nothing is due any more.
    func setState(_ state: Grant.State, reason: String?, at: Timestamp, grant: UID, expectedGeneration: Int, events: [WebhookEvent]) async throws -> Bool
    /// In the order that the filter says.
    /// - Parameter after: the last one seen; of one that is gone meanwhile nothing is known, and nothing comes.
    func grants(filter: GrantFilter, after: UID?, limit: Int) async throws -> [Grant]
    func touchGrants(_ lastUsed: [UID: Timestamp]) async throws
    func grantCounts(now: Timestamp) async throws -> [String: Int]
    /// Of each of the connections that has a grant or a trouble.
    /// - Parameter subjects: only their grants are counted, when set (a limited key's).
    func summaries(connections: [UID], subjects: [String]?, now: Timestamp) async throws -> [UID: ConnectionSummary]

    // MARK: Keeping alive
    /// Connections that are kept alive and have a grant that is due, those excepted that are misconfigured.
    func connectionsDue(now: Timestamp) async throws -> [UID]
    /// Up to `limit` grants of a connection that are due, the longest due first. They are due again at `until` unless they
    /// were renewed: that is when somebody else takes them up if this process dies.
    func claimDue(connection: UID, now: Timestamp, limit: Int, until: Timestamp) async throws -> [Grant]
    /// After a failure: when the grant is due again, if its generation is still the expected one.
    func postpone(grant: UID, expectedGeneration: Int, until: Timestamp) async throws
    /// After the clock was set back: what was to be due, asked or sent at a time that is far away now, further than anything is
    /// put off, is due at once.
    func hastenDue(notAfter: Timestamp) async throws
    /// Active grants whose end is to be announced, the soonest first.
    func grantsToWarn(now: Timestamp, limit: Int) async throws -> [Grant]
    /// Announces the end of a grant once. - Returns: false when it was announced, or the grant changed.
    func noteWarned(grant: UID, expectedGeneration: Int, events: [WebhookEvent]) async throws -> Bool
    /// Announces the end of a client secret once for each `expiry`. - Returns: whether it had not been.
    func noteSecretWarned(connection: UID, expiry: Timestamp, events: [WebhookEvent]) async throws -> Bool

    // MARK: Refresh
    /// Proves that the store is writable and notes that the refresh token of this generation is about to be sent.
    /// - Parameter lease: has to be its owner's still, and is extended in the same transaction. A store of one node has no leases.
    /// - Returns: `attempts` so far with this generation, this one included; `nil` when the generation has moved or the lease is lost.
    func beginRefresh(grant: UID, generation: Int, at: Timestamp, lease: LeaseClaim?) async throws -> Int?
    func clearIntent(grant: UID, generation: Int) async throws
    func intent(grant: UID) async throws -> RefreshIntent?

    // MARK: Revocation
    /// Unless one with its uid is there.
    func insert(_ orphan: OrphanToken) async throws
    func orphan(uid: UID) async throws -> OrphanToken?
    /// Connections take turns, so that none with many waits before all others; of one, those that were due first. Of several
    /// nodes one is given each: it has it for as long as ``OrphanToken/taken`` says, and gives back what it does not begin.
    func orphans(due: Timestamp, limit: Int) async throws -> [OrphanToken]
    /// Those that were given and not begun are due again at `due`, unless they were given another time since then.
    func giveBack(orphans: [OrphanToken], due: Timestamp) async throws
    func updateOrphan(_ uid: UID, nextTryAt: Timestamp, tries: Int) async throws
    /// After its provider could not answer: those of a connection's orphans that are due before `dueBefore` are due at `until`,
    /// if that is later.
    func postponeOrphans(connection: UID, dueBefore: Timestamp, until: Timestamp) async throws
    /// Drops the tokens and counts the outcome for the revocation that they belong to, in one transaction.
    /// - Returns: false when it was ended before.
    func endOrphan(_ uid: UID, outcome: OrphanOutcome) async throws -> Bool
    /// Turns up to `limit` grants into tombstones, in one transaction: their tokens become orphans under the seals that they
    /// have, generations grow, refresh intents go, events are announced. Nothing has to be opened for it.
    /// - Parameters:
    ///   - askAt: when the provider is to be asked in the background.
    ///   - revocation: the record that counts them.
    ///   - events: of a grant as it is now, and its connection.
    /// - Returns: the grants; fewer than `limit` = there are no more.
    func revoke(
        _ filter: RevocationFilter, at: Timestamp, askAt: Timestamp, revocation: String?, limit: Int,
        events: @escaping @Sendable (Grant, Connection) -> [WebhookEvent]
    ) async throws -> [RevokedGrant]
    /// Whether the activity log knows of a token that the key was given.
    func wasGivenTokens(key: String) async throws -> Bool
    func insert(_ revocation: RevocationRecord) async throws
    func revocation(id: String) async throws -> RevocationRecord?
    /// Newest first; those before `before`.
    func revocations(before: String?, limit: Int) async throws -> [RevocationRecord]
    /// Those that have not yet stopped everything that they name, the oldest first.
    func unstoppedRevocations() async throws -> [RevocationRecord]
    /// Connect sessions that were not finished end: of the connection, the subject, the key that made them.
    func endSessions(_ filter: RevocationFilter) async throws
    /// Nothing that it names is served any more.
    func noteStopped(revocation: String, at: Timestamp) async throws
    /// Those that have stopped everything and wait for no provider any more have ended.
    func endRevocations(at: Timestamp) async throws
    /// In the order in which they failed.
    func failures(revocation: String, limit: Int) async throws -> [RevocationFailure]

    // MARK: Connecting
    func insert(_ session: ConnectSession) async throws
    func session(id: String) async throws -> ConnectSession?
    func session(ticketHash: [UInt8]) async throws -> ConnectSession?
    /// Moves a session's state if it is one of `from`. - Returns: whether it was.
    func moveSession(
        _ id: String, from: [ConnectSession.State], to: ConnectSession.State, error: String?, errorDetail: String?, grant: UID?
    ) async throws -> Bool
    /// While it can go on. - Returns: false when it has ended meanwhile.
    func setOptions(_ options: ConnectSession.Options, session: String) async throws -> Bool
    func insert(_ attempt: AuthorizationAttempt) async throws
    /// Consumes and returns in one statement: a callback replayed a microsecond later finds it consumed.
    func takeAttempt(stateHash: [UInt8], now: Timestamp) async throws -> TakenAttempt
    func put(_ completion: Completion) async throws
    /// Removes and returns in one statement.
    func takeCompletion(sessionID: String) async throws -> Completion?
    func completion(sessionID: String) async throws -> Completion?
    /// Drops what has expired: completions, console sessions and sign-in links at once, attempts and connect sessions after a day.
    func sweep(now: Timestamp) async throws

    // MARK: Console
    /// - Throws: ``StoreError/conflict`` when its key is gone.
    func insert(_ session: ConsoleSession) async throws
    func consoleSession(tokenHash: [UInt8]) async throws -> ConsoleSession?
    /// Newest first; those of a key, or all.
    func consoleSessions(key: String?) async throws -> [ConsoleSession]
    /// Only ever to a later time.
    func touchConsoleSession(id: String, at: Timestamp) async throws
    /// - Returns: whether it was there.
    func deleteConsoleSession(id: String) async throws -> Bool
    /// Those of a key, or all. - Returns: their ids.
    func deleteConsoleSessions(key: String?) async throws -> [String]
    /// - Throws: ``StoreError/conflict`` when its key is gone.
    func insert(_ link: SignInLink) async throws
    /// Removes and returns in one statement: a link that is opened twice at once signs in once. What has expired is not returned.
    func takeSignInLink(codeHash: [UInt8], now: Timestamp) async throws -> SignInLink?
    /// Those of a key, or all.
    func deleteSignInLinks(key: String?) async throws

    // MARK: Doctor
    /// In the place of the last one of its stage. Nothing happens when the connection is gone.
    func put(_ trouble: Trouble, connection: UID) async throws
    /// One of each stage at most, the newest first.
    func troubles(connection: UID) async throws -> [Trouble]
    func deleteTroubles(connection: UID, stages: [Trouble.Stage]) async throws
    /// The last that was begun within a day; `nil` when there is none.
    func lastTrip(connection: UID) async throws -> LastTrip?

    // MARK: Activity
    /// One transaction, in order.
    /// - Throws: ``StoreError/conflict`` when one of them is there already, or its place in the chain is taken.
    func append(_ activity: [Activity]) async throws
    /// Those of `uids` that are there.
    func writtenActivity(_ uids: [UID]) async throws -> Set<UID>
    /// Newest first; those before `before`.
    func activity(filter: ActivityFilter, before: UID?, limit: Int) async throws -> [Activity]
    /// Whose chains are kept, in order.
    func activityNodes() async throws -> [String]
    /// The last entry's place in the chain of a node; `nil` when it has none.
    func activityHead(node: String) async throws -> ActivityLink?
    /// In the order of the chain, those after `afterSequence`.
    func activityPage(node: String, afterSequence: Int, limit: Int) async throws -> [Activity]
    /// How many entries are in no chain.
    func unlinkedActivity() async throws -> Int
    /// Leaves an anchor alone that is there already at this place.
    func insert(_ anchor: ActivityAnchor) async throws
    /// In the order of the chain.
    func activityAnchors(node: String) async throws -> [ActivityAnchor]
    /// Forgets what is older than `before`: entries in no chain, and of the node's chain up to `limit` entries at its
    /// head, as far as all of them are older. The anchor at the cut is written in the same transaction; those before it go.
    /// - Parameter anchor: signs the place of the last entry that goes.
    /// - Returns: the anchor; `nil` when nothing of the chain was old enough.
    func cutActivity(
        node: String, before: Timestamp, limit: Int, anchor: @escaping @Sendable (ActivityLink) -> ActivityAnchor
    ) async throws -> ActivityAnchor?

    // MARK: Webhooks
    func insert(_ webhook: Webhook) async throws
    func webhook(id: String) async throws -> Webhook?
    /// In the order in which they were made.
    func webhooks() async throws -> [Webhook]
    /// With its deliveries, and with events that nobody else is told.
    /// - Returns: whether it was there.
    func deleteWebhook(id: String) async throws -> Bool
    /// Nothing is announced to it any more, and what was pending has failed.
    func disableWebhook(id: String, at: Timestamp) async throws
    /// Those that may be sent now and that there is room for, of each webhook the longest due first. An event waits until the
    /// one before it of the same webhook and order key has ended; those of other order keys go on. Of several nodes one is given
    /// each, and has it for as long as ``Delivery/taken`` says: what is given is to be begun.
    func dueDeliveries(now: Timestamp, room: DeliveryRoom) async throws -> [Delivery]
    /// Counts a try that failed. Nothing happens when the delivery has ended meanwhile.
    func noteTried(sequence: Int, status: Int?, error: String?, nextTryAt: Timestamp) async throws
    /// Counts a try and ends the delivery: the next event of its order key is due at once. What has ended meanwhile stays as it
    /// is, unless it was delivered.
    func endDelivery(sequence: Int, state: Delivery.State, status: Int?, error: String?, at: Timestamp) async throws
    /// Newest first; those before `before`.
    func deliveries(webhook: String, state: Delivery.State?, before: Int?, limit: Int) async throws -> [Delivery]
    /// Puts deliveries on their way again, as if their events had been at `now`, each at its old place in the order. A disabled
    /// webhook is enabled.
    /// - Returns: how many; `nil` when there is no such webhook.
    func replay(webhook: String, _ which: Replay, now: Timestamp) async throws -> Int?
    /// Forgets up to `limit` deliveries that ended before, and the events of which no delivery is left.
    /// - Returns: how many deliveries.
    func trimDeliveries(endedBefore: Timestamp, limit: Int) async throws -> Int

    // MARK: Keys, data keys
    func insert(_ key: APIKey) async throws
    /// Inserts or replaces the key with this id; its console sessions and sign-in links end.
    func put(_ key: APIKey) async throws
    func keys() async throws -> [APIKey]
    func touchKeys(_ lastUsed: [String: Timestamp]) async throws
    /// With its console sessions and sign-in links. - Returns: whether it was there.
    func deleteKey(id: String) async throws -> Bool
    func dataKeys() async throws -> [DataKeyRecord]
    /// - Returns: its id.
    func insertDataKey(scope: String, masterKeyID: String, wrapped: [UInt8]) async throws -> Int
    func deleteDataKey(scope: String) async throws
    func meta(_ name: String) async throws -> [UInt8]?
    func setMeta(_ name: String, _ value: [UInt8]) async throws
    /// Sets some, and removes those that are `nil`, in one transaction.
    func changeMeta(_ values: [String: [UInt8]?]) async throws

    // MARK: Sealed values
    /// Those of a column that are not null, from behind `after` on.
    /// - Parameter scope: a connection's uid, or `""` for what belongs to none; `nil` = all.
    /// - Throws: ``StoreError/damaged(_:)`` when a row makes no sense, or the file is damaged there.
    func sealedValues(in column: SealedColumn, scope: String?, after: [SealedValue.Key]?, limit: Int) async throws -> [SealedValue]
    /// Whether what was read is still there.
    func holds(_ value: SealedValue, in column: SealedColumn) async throws -> Bool
    /// Puts each in the place of what was read, if that is still there under the same generation. One transaction.
    /// - Returns: how many were put.
    func replace(_ replacements: [SealedReplacement], in column: SealedColumn) async throws -> Int
    /// How many values of all sealed columns carry the id of each data key.
    func sealedCounts() async throws -> [Int: Int]
    /// Retires the data key that seals for a scope, and adds another, in one transaction.
    /// - Returns: the new one's id; `nil` when the scope has none (its connection was removed).
    func replaceDataKey(scope: String, masterKeyID: String, wrapped: [UInt8], at: Timestamp) async throws -> Int?
    /// Wraps data keys anew, where they are still wrapped as in `old`. One transaction.
    func rewrap(_ changes: [(old: DataKeyRecord, masterKeyID: String, wrapped: [UInt8])]) async throws
    /// How long a retired data key stays in any case: where there are other nodes, some may not know yet that it is.
    var retiredKeysStay: Duration { get }
    /// Deletes those of `ids` that have been retired for so long and that no sealed value carries, in one transaction.
    /// - Returns: those that are gone.
    func deleteUnusedDataKeys(_ ids: Set<Int>) async throws -> Set<Int>
    /// What was overwritten or deleted is in no file afterwards, the write-ahead log included, as far as that is in the store's hand.
    func forgetOverwritten() async throws
    /// What is wrong with the database itself, in words; at most a hundred faults.
    func databaseFaults() async throws -> [String]

    // MARK: After a restore
    /// Notes that the refresh token of each grant, as of this generation, may have been sent by somebody unknown: a refresh
    /// intent, unless there is one of that generation. One transaction.
    func noteInDoubt(_ grants: [(uid: UID, generation: Int)], at: Timestamp) async throws
    /// Active grants with such an intent that got no token since `since`, and whose provider is not known to keep its refresh
    /// tokens; in the order of uids, those after `after`.
    func grantsInDoubt(since: Timestamp, after: UID?, limit: Int) async throws -> [Grant]

    func close() async throws
}

extension Store {
    /// Announces nothing.
    package func put(_ grant: Grant, expectedGeneration: Int?) async throws -> Bool {
        try await put(grant, expectedGeneration: expectedGeneration, events: [])
    }
}

/// What a change of a connection does to its grants.
package enum GrantsChange: Sendable {
    case none
    /// They wait for a person, reason `host_changed`. A renewal that began before is refused by ``Store/put(_:expectedGeneration:events:)``.
    case void(events: @Sendable (Grant) -> [WebhookEvent])
    /// Their refresh tokens die at another time: sets `diesAt`, `warnAt` and `dueAt` alone.
    case endings(@Sendable (inout Grant) -> Void)
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
    /// Only active ones whose refresh token dies before this time.
    package var diesBefore: Timestamp?
    /// Instead of the order of uids: those that do not work, then those that die soonest, revoked ones last.
    package var worstFirst: Bool
    package var now: Timestamp
    package init(
        connection: UID? = nil, connections: [UID]? = nil, subject: String? = nil, subjects: [String]? = nil, state: String? = nil,
        diesBefore: Timestamp? = nil, worstFirst: Bool = false, now: Timestamp
    ) {
        self.diesBefore = diesBefore
        self.worstFirst = worstFirst
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
    /// Only entries without a subject, as those of a shared grant are.
    package var isShared: Bool
    package var action: String?
    /// Any of them.
    package var actions: [String]?
    package var key: String?
    package var result: String?
    package init(
        connection: String? = nil, connectionUID: UID? = nil, subject: String? = nil, isShared: Bool = false, action: String? = nil, actions: [String]? = nil,
        key: String? = nil, result: String? = nil
    ) {
        self.connection = connection
        self.connectionUID = connectionUID
        self.subject = subject
        self.isShared = isShared
        self.action = action
        self.actions = actions
        self.key = key
        self.result = result
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

    /// How the words of a database begin that cannot be spoken to.
    package static let awayWords = "the database does not answer"
    /// Nothing can be asked, whatever it is: it comes back by itself, or not.
    package var isAway: Bool { if case .unavailable(let reason) = self { reason.hasPrefix(Self.awayWords) } else { false } }
}
