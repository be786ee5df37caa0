import Vault

@testable import SQLiteStore

/// What every store does, done by the store below: see ``LeasingStore``. One line for each method of ``Store``.
extension LeasingStore {
    var retiredKeysStay: Duration { base.retiredKeysStay }
    func insert(_ connection: Connection) async throws { try await base.insert(connection) }
    func connection(id: String) async throws -> Connection? { try await base.connection(id: id) }
    func connection(uid: UID) async throws -> Connection? { try await base.connection(uid: uid) }
    func connections(after: String?, limit: Int) async throws -> [Connection] { try await base.connections(after: after, limit: limit) }
    func update(_ connection: Connection, expectedRevision: Int, grants change: GrantsChange) async throws -> Bool {
        try await base.update(connection, expectedRevision: expectedRevision, grants: change)
    }
    func setHealth(_ health: Connection.Health, connection: UID, expectedRevision: Int, events: [WebhookEvent]) async throws {
        try await base.setHealth(health, connection: connection, expectedRevision: expectedRevision, events: events)
    }
    func deleteConnection(_ uid: UID) async throws { try await base.deleteConnection(uid) }
    func grant(connection: UID, subject: String, slot: String) async throws -> Grant? {
        try await base.grant(connection: connection, subject: subject, slot: slot)
    }
    func grant(uid: UID) async throws -> Grant? { try await base.grant(uid: uid) }
    func put(_ grant: Grant, expectedGeneration: Int?, events: [WebhookEvent]) async throws -> Bool {
        try await base.put(grant, expectedGeneration: expectedGeneration, events: events)
    }
    func setState(
        _ state: Grant.State, reason: String?, at: Timestamp, grant: UID, expectedGeneration: Int, events: [WebhookEvent]
    ) async throws -> Bool {
        try await base.setState(state, reason: reason, at: at, grant: grant, expectedGeneration: expectedGeneration, events: events)
    }
    func grants(filter: GrantFilter, after: UID?, limit: Int) async throws -> [Grant] {
        try await base.grants(filter: filter, after: after, limit: limit)
    }
    func touchGrants(_ lastUsed: [UID: Timestamp]) async throws { try await base.touchGrants(lastUsed) }
    func grantCounts(now: Timestamp) async throws -> [String: Int] { try await base.grantCounts(now: now) }
    func summaries(connections: [UID], subjects: [String]?, now: Timestamp) async throws -> [UID: ConnectionSummary] {
        try await base.summaries(connections: connections, subjects: subjects, now: now)
    }
    func connectionsDue(now: Timestamp) async throws -> [UID] { try await base.connectionsDue(now: now) }
    func claimDue(connection: UID, now: Timestamp, limit: Int, until: Timestamp) async throws -> [Grant] {
        try await base.claimDue(connection: connection, now: now, limit: limit, until: until)
    }
    func postpone(grant: UID, expectedGeneration: Int, until: Timestamp) async throws {
        try await base.postpone(grant: grant, expectedGeneration: expectedGeneration, until: until)
    }
    func hastenDue(notAfter: Timestamp) async throws { try await base.hastenDue(notAfter: notAfter) }
    func grantsToWarn(now: Timestamp, limit: Int) async throws -> [Grant] { try await base.grantsToWarn(now: now, limit: limit) }
    func noteWarned(grant: UID, expectedGeneration: Int, events: [WebhookEvent]) async throws -> Bool {
        try await base.noteWarned(grant: grant, expectedGeneration: expectedGeneration, events: events)
    }
    func noteSecretWarned(connection: UID, expiry: Timestamp, events: [WebhookEvent]) async throws -> Bool {
        try await base.noteSecretWarned(connection: connection, expiry: expiry, events: events)
    }
    func clearIntent(grant: UID, generation: Int) async throws { try await base.clearIntent(grant: grant, generation: generation) }
    func intent(grant: UID) async throws -> RefreshIntent? { try await base.intent(grant: grant) }
    func insert(_ orphan: OrphanToken) async throws { try await base.insert(orphan) }
    func orphan(uid: UID) async throws -> OrphanToken? { try await base.orphan(uid: uid) }
    func orphans(due: Timestamp, limit: Int) async throws -> [OrphanToken] { try await base.orphans(due: due, limit: limit) }
    func giveBack(orphans: [OrphanToken], due: Timestamp) async throws { try await base.giveBack(orphans: orphans, due: due) }
    func updateOrphan(_ uid: UID, nextTryAt: Timestamp, tries: Int) async throws {
        try await base.updateOrphan(uid, nextTryAt: nextTryAt, tries: tries)
    }
    func postponeOrphans(connection: UID, dueBefore: Timestamp, until: Timestamp) async throws {
        try await base.postponeOrphans(connection: connection, dueBefore: dueBefore, until: until)
    }
    func endOrphan(_ uid: UID, outcome: OrphanOutcome) async throws -> Bool { try await base.endOrphan(uid, outcome: outcome) }
    func revoke(
        _ filter: RevocationFilter, at: Timestamp, askAt: Timestamp, revocation: String?, limit: Int,
        events: @escaping @Sendable (Grant, Connection) -> [WebhookEvent]
    ) async throws -> [RevokedGrant] {
        try await base.revoke(filter, at: at, askAt: askAt, revocation: revocation, limit: limit, events: events)
    }
    func wasGivenTokens(key: String) async throws -> Bool { try await base.wasGivenTokens(key: key) }
    func insert(_ revocation: RevocationRecord) async throws { try await base.insert(revocation) }
    func revocation(id: String) async throws -> RevocationRecord? { try await base.revocation(id: id) }
    func revocations(before: String?, limit: Int) async throws -> [RevocationRecord] { try await base.revocations(before: before, limit: limit) }
    func unstoppedRevocations() async throws -> [RevocationRecord] { try await base.unstoppedRevocations() }
    func endSessions(_ filter: RevocationFilter) async throws { try await base.endSessions(filter) }
    func noteStopped(revocation: String, at: Timestamp) async throws { try await base.noteStopped(revocation: revocation, at: at) }
    func endRevocations(at: Timestamp) async throws { try await base.endRevocations(at: at) }
    func failures(revocation: String, limit: Int) async throws -> [RevocationFailure] {
        try await base.failures(revocation: revocation, limit: limit)
    }
    func insert(_ session: ConnectSession) async throws { try await base.insert(session) }
    func session(id: String) async throws -> ConnectSession? { try await base.session(id: id) }
    func session(ticketHash: [UInt8]) async throws -> ConnectSession? { try await base.session(ticketHash: ticketHash) }
    func moveSession(
        _ id: String, from: [ConnectSession.State], to: ConnectSession.State, error: String?, errorDetail: String?, grant: UID?
    ) async throws -> Bool {
        try await base.moveSession(id, from: from, to: to, error: error, errorDetail: errorDetail, grant: grant)
    }
    func setOptions(_ options: ConnectSession.Options, session: String) async throws -> Bool { try await base.setOptions(options, session: session) }
    func insert(_ attempt: AuthorizationAttempt) async throws { try await base.insert(attempt) }
    func takeAttempt(stateHash: [UInt8], now: Timestamp) async throws -> TakenAttempt { try await base.takeAttempt(stateHash: stateHash, now: now) }
    func put(_ completion: Completion) async throws { try await base.put(completion) }
    func takeCompletion(sessionID: String) async throws -> Completion? { try await base.takeCompletion(sessionID: sessionID) }
    func completion(sessionID: String) async throws -> Completion? { try await base.completion(sessionID: sessionID) }
    func sweep(now: Timestamp) async throws { try await base.sweep(now: now) }
    func insert(_ session: ConsoleSession) async throws { try await base.insert(session) }
    func consoleSession(tokenHash: [UInt8]) async throws -> ConsoleSession? { try await base.consoleSession(tokenHash: tokenHash) }
    func consoleSessions(key: String?) async throws -> [ConsoleSession] { try await base.consoleSessions(key: key) }
    func touchConsoleSession(id: String, at: Timestamp) async throws { try await base.touchConsoleSession(id: id, at: at) }
    func deleteConsoleSession(id: String) async throws -> Bool { try await base.deleteConsoleSession(id: id) }
    func deleteConsoleSessions(key: String?) async throws -> [String] { try await base.deleteConsoleSessions(key: key) }
    func insert(_ link: SignInLink) async throws { try await base.insert(link) }
    func takeSignInLink(codeHash: [UInt8], now: Timestamp) async throws -> SignInLink? { try await base.takeSignInLink(codeHash: codeHash, now: now) }
    func deleteSignInLinks(key: String?) async throws { try await base.deleteSignInLinks(key: key) }
    func put(_ trouble: Trouble, connection: UID) async throws { try await base.put(trouble, connection: connection) }
    func troubles(connection: UID) async throws -> [Trouble] { try await base.troubles(connection: connection) }
    func deleteTroubles(connection: UID, stages: [Trouble.Stage]) async throws {
        try await base.deleteTroubles(connection: connection, stages: stages)
    }
    func lastTrip(connection: UID) async throws -> LastTrip? { try await base.lastTrip(connection: connection) }
    func append(_ activity: [Activity]) async throws { try await base.append(activity) }
    func writtenActivity(_ uids: [UID]) async throws -> Set<UID> { try await base.writtenActivity(uids) }
    func activity(filter: ActivityFilter, before: UID?, limit: Int) async throws -> [Activity] {
        try await base.activity(filter: filter, before: before, limit: limit)
    }
    func activityNodes() async throws -> [String] { try await base.activityNodes() }
    func activityHead(node: String) async throws -> ActivityLink? { try await base.activityHead(node: node) }
    func activityPage(node: String, afterSequence: Int, limit: Int) async throws -> [Activity] {
        try await base.activityPage(node: node, afterSequence: afterSequence, limit: limit)
    }
    func unlinkedActivity() async throws -> Int { try await base.unlinkedActivity() }
    func insert(_ anchor: ActivityAnchor) async throws { try await base.insert(anchor) }
    func activityAnchors(node: String) async throws -> [ActivityAnchor] { try await base.activityAnchors(node: node) }
    func cutActivity(
        node: String, before: Timestamp, limit: Int, anchor: @escaping @Sendable (ActivityLink) -> ActivityAnchor
    ) async throws -> ActivityAnchor? {
        try await base.cutActivity(node: node, before: before, limit: limit, anchor: anchor)
    }
    func insert(_ webhook: Webhook) async throws { try await base.insert(webhook) }
    func webhook(id: String) async throws -> Webhook? { try await base.webhook(id: id) }
    func webhooks() async throws -> [Webhook] { try await base.webhooks() }
    func deleteWebhook(id: String) async throws -> Bool { try await base.deleteWebhook(id: id) }
    func disableWebhook(id: String, at: Timestamp) async throws { try await base.disableWebhook(id: id, at: at) }
    func dueDeliveries(now: Timestamp, room: DeliveryRoom) async throws -> [Delivery] { try await base.dueDeliveries(now: now, room: room) }
    func noteTried(sequence: Int, status: Int?, error: String?, nextTryAt: Timestamp) async throws {
        try await base.noteTried(sequence: sequence, status: status, error: error, nextTryAt: nextTryAt)
    }
    func endDelivery(sequence: Int, state: Delivery.State, status: Int?, error: String?, at: Timestamp) async throws {
        try await base.endDelivery(sequence: sequence, state: state, status: status, error: error, at: at)
    }
    func deliveries(webhook: String, state: Delivery.State?, before: Int?, limit: Int) async throws -> [Delivery] {
        try await base.deliveries(webhook: webhook, state: state, before: before, limit: limit)
    }
    func replay(webhook: String, _ which: Replay, now: Timestamp) async throws -> Int? { try await base.replay(webhook: webhook, which, now: now) }
    func trimDeliveries(endedBefore: Timestamp, limit: Int) async throws -> Int {
        try await base.trimDeliveries(endedBefore: endedBefore, limit: limit)
    }
    func insert(_ key: APIKey) async throws { try await base.insert(key) }
    func put(_ key: APIKey) async throws { try await base.put(key) }
    func keys() async throws -> [APIKey] { try await base.keys() }
    func touchKeys(_ lastUsed: [String: Timestamp]) async throws { try await base.touchKeys(lastUsed) }
    func deleteKey(id: String) async throws -> Bool { try await base.deleteKey(id: id) }
    func dataKeys() async throws -> [DataKeyRecord] { try await base.dataKeys() }
    func insertDataKey(scope: String, masterKeyID: String, wrapped: [UInt8]) async throws -> Int {
        try await base.insertDataKey(scope: scope, masterKeyID: masterKeyID, wrapped: wrapped)
    }
    func deleteDataKey(scope: String) async throws { try await base.deleteDataKey(scope: scope) }
    func meta(_ name: String) async throws -> [UInt8]? { try await base.meta(name) }
    func setMeta(_ name: String, _ value: [UInt8]) async throws { try await base.setMeta(name, value) }
    func changeMeta(_ values: [String: [UInt8]?]) async throws { try await base.changeMeta(values) }
    func sealedValues(in column: SealedColumn, scope: String?, after: [SealedValue.Key]?, limit: Int) async throws -> [SealedValue] {
        try await base.sealedValues(in: column, scope: scope, after: after, limit: limit)
    }
    func holds(_ value: SealedValue, in column: SealedColumn) async throws -> Bool { try await base.holds(value, in: column) }
    func replace(_ replacements: [SealedReplacement], in column: SealedColumn) async throws -> Int {
        try await base.replace(replacements, in: column)
    }
    func sealedCounts() async throws -> [Int: Int] { try await base.sealedCounts() }
    func replaceDataKey(scope: String, masterKeyID: String, wrapped: [UInt8], at: Timestamp) async throws -> Int? {
        try await base.replaceDataKey(scope: scope, masterKeyID: masterKeyID, wrapped: wrapped, at: at)
    }
    func rewrap(_ changes: [(old: DataKeyRecord, masterKeyID: String, wrapped: [UInt8])]) async throws { try await base.rewrap(changes) }
    func deleteUnusedDataKeys(_ ids: Set<Int>) async throws -> Set<Int> { try await base.deleteUnusedDataKeys(ids) }
    func forgetOverwritten() async throws { try await base.forgetOverwritten() }
    func databaseFaults() async throws -> [String] { try await base.databaseFaults() }
    func noteInDoubt(_ grants: [(uid: UID, generation: Int)], at: Timestamp) async throws { try await base.noteInDoubt(grants, at: at) }
    func grantsInDoubt(since: Timestamp, after: UID?, limit: Int) async throws -> [Grant] {
        try await base.grantsInDoubt(since: since, after: after, limit: limit)
    }
    func close() async throws { try await base.close() }
}
