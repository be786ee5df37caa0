import Foundation
import GRDB
import OAuth
import SQLiteStore
import Testing

@testable import Vault

/// One sealed value in every column there is, and the keyring that sealed them.
final class SealedStore: Sendable {
    static let first = Keyring.MasterKeys.generate()

    let opened: Opened
    let keyring: Keyring
    let connection: Connection
    let grant: Grant
    var store: any Store { opened.store }
    var path: String { opened.path }

    init(_ backend: Backend = .sqlite) async throws {
        opened = try await backend.open()
        let keyring = try await Keyring(masterKeys: .init(parsing: Self.first), store: opened.store)
        self.keyring = keyring
        var connection = makeConnection("a")
        let scope = connection.uid
        try await keyring.prepare(scope: scope)
        func seal(_ text: String, _ place: Keyring.Place, _ scope: UID?) throws -> Sealed { try keyring.seal(Array(text.utf8), at: place, scope: scope) }
        connection.clientSecret = try seal("client secret", .clientSecret(of: scope), scope)
        connection.password = try seal("password", .password(of: scope), scope)
        try await opened.store.insert(connection)
        // As it is read: what was sealed here would hold its data key.
        self.connection = try #require(try await opened.store.connection(uid: scope))
        grant = try await Self.put("", of: connection, in: opened.store, keyring)
        let own = UID.make(at: now)
        try await opened.store.insert(
            OrphanToken(
                uid: own, connectionUID: scope, accessToken: try seal("orphan access", .orphan(own, field: "access_token"), scope),
                refreshToken: try seal("orphan refresh", .orphan(own, field: "refresh_token"), scope), createdAt: now, nextTryAt: now))
        // One that a revocation moved, with the seals that its grant's tokens had.
        let moved = UID.make(at: now)
        try await opened.store.insert(
            OrphanToken(
                uid: UID(text: moved.text + ":7"), connectionUID: scope, accessToken: try seal("moved", .accessToken(moved, generation: 7), scope),
                refreshToken: nil, createdAt: now, nextTryAt: now, origin: .init(grantUID: moved, generation: 7)))
        let session = makeSession(connection)
        try await opened.store.insert(session)
        let state: [UInt8] = [1, 2, 3]
        try await opened.store.insert(
            AuthorizationAttempt(
                stateHash: state, sessionID: session.id, connectionUID: scope, connectionRevision: 1, bindingHash: [4],
                pending: try seal("pending", .pending(stateHash: state), scope), createdAt: now, expiresAt: now + .seconds(600)))
        try await opened.store.put(
            Completion(
                sessionID: session.id, connectionRevision: 1, code: try seal("code", .code(session: session.id), scope), captured: [:],
                expiresAt: now + .seconds(600)))
        try await opened.store.insert(
            Webhook(id: "wh_1", url: "https://app.example/", kinds: [.grantCreated], secret: try seal("signing", .webhookSecret("wh_1"), nil), createdAt: now))
        try await opened.store.setMeta("activity_chain", try seal("chain", .activityChain, nil).bytes)
    }

    @discardableResult
    static func put(_ subject: String, of connection: Connection, in store: any Store, _ keyring: Keyring) async throws -> Grant {
        var grant = makeGrant(connection, subject: subject)
        grant.accessToken = try keyring.seal(Array("access \(subject)".utf8), at: .accessToken(grant.uid, generation: 1), scope: connection.uid)
        grant.refreshToken = try keyring.seal(Array("refresh \(subject)".utf8), at: .refreshToken(grant.uid, generation: 1), scope: connection.uid)
        #expect(try await store.put(grant, expectedGeneration: nil))
        return try #require(try await store.grant(uid: grant.uid))
    }

    /// As the keyring does it, once nothing of them is on its way: a write lets go of its values a moment after it has returned,
    /// and values of other nodes, where there may be some, have minutes to arrive.
    func deleteUnused(_ ids: Set<Int>) async throws -> Set<Int> {
        if opened.backend != .sqlite { try await opened.tamper("UPDATE data_key SET retired_at = 1 WHERE retired_at IS NOT NULL") }
        for _ in 0..<5000 {
            let deletion = try await keyring.deleteUnused(ids)
            if deletion.busy.isEmpty { return deletion.deleted }
            try await Task.sleep(for: .milliseconds(1))
        }
        Issue.record("the data keys stay in use")
        return []
    }

    /// Everything that is sealed, opened: `table.column text`.
    func contents(_ keyring: Keyring? = nil) async throws -> [String] {
        var texts: [String] = []
        for column in SealedColumn.all {
            for value in try await store.sealedValues(in: column, scope: nil, after: nil, limit: 1000) {
                let plaintext = try (keyring ?? self.keyring).open(value.sealed, at: column.place(value))
                texts.append("\(column.table).\(column.column) \(String(decoding: plaintext, as: UTF8.self))")
            }
        }
        return texts.sorted()
    }

    func faults() async throws -> [VaultFault] {
        var faults: [VaultFault] = []
        _ = try await keyring.verifyKeys { faults.append($0) }
        for column in SealedColumn.all { try await keyring.verify(column, progress: { _ in }, found: { faults.append($0) }) }
        return faults
    }
}

@Suite struct RotationTests {
    static let everything = [
        "authorization_attempt.pending pending", "completion.code code", "connection.client_secret client secret", "connection.password password",
        "grant.access_token access ", "grant.refresh_token refresh ", "meta.value chain", "orphan_token.access_token moved",
        "orphan_token.access_token orphan access", "orphan_token.refresh_token orphan refresh", "webhook.secret signing",
    ]

    // MARK: The list of columns

    @Test(arguments: Backend.allCases) func everySealedColumnIsListed(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let blobs = try await sealed.opened.texts(
            backend == .sqlite
                ? "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' AND c.type = 'BLOB'"
                : "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'")
        // Hashes, keyed hashes and wrapped keys: nothing in them is sealed by a data key.
        let others: Set = [
            "data_key.wrapped", "connect_session.ticket_hash", "authorization_attempt.state_hash", "authorization_attempt.binding_hash", "api_key.hash",
            "activity.mac", "activity_anchor.mac", "activity_anchor.signature", "console_session.token_hash", "sign_in_link.code_hash",
        ]
        #expect(Set(blobs).subtracting(others) == Set(SealedColumn.all.map { "\($0.table).\($0.column)" }))
        #expect(try await sealed.contents() == Self.everything)
    }

    @Test(arguments: Backend.allCases) func aScopesValuesAreReadInPages(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let other = makeConnection("b")
        try await sealed.store.insert(other)
        try await sealed.keyring.prepare(scope: other.uid)
        for index in 0..<25 { try await SealedStore.put("u\(index)", of: other, in: sealed.store, sealed.keyring) }
        let column = try #require(SealedColumn.all.first { $0.table == "grant" && $0.column == "refresh_token" })
        for (scope, expected) in [(other.uid.text, 25), (sealed.connection.uid.text, 1), (nil, 26), ("nobody", 0)] as [(String?, Int)] {
            var keys: [SealedValue.Key] = []
            var after: [SealedValue.Key]?
            while true {
                let page = try await sealed.store.sealedValues(in: column, scope: scope, after: after, limit: 10)
                keys += page.map(\.key)
                guard page.count == 10 else { break }
                after = page.last?.position
            }
            #expect(keys.count == expected && Set(keys).count == expected, "\(scope ?? "all")")
        }
    }

    // MARK: Data keys

    @Test("Every value is sealed by another data key, and the old ones are gone (SEC-122)", arguments: Backend.allCases)
    func reseal(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let old = try await sealed.store.dataKeys()
        #expect(old.count == 2)
        for scope in [sealed.connection.uid.text, ""] {
            #expect(try await sealed.keyring.rotate(scope: scope, at: now))
            let pass = try await sealed.keyring.reseal(scope: scope)
            #expect(pass == .init(resealed: scope.isEmpty ? 2 : 9, damaged: 0))
            #expect(try await sealed.keyring.reseal(scope: scope) == .init())
        }
        let retired = Set(old.map(\.id))
        #expect(try await sealed.store.dataKeys().filter { $0.retiredAt != nil }.map(\.id) == old.map(\.id))
        if backend != .sqlite { #expect(try await sealed.store.deleteUnusedDataKeys(retired).isEmpty) }
        #expect(try await sealed.deleteUnused(retired) == retired)
        #expect(try await sealed.store.dataKeys().count == 2)
        #expect(Set(try await sealed.store.sealedCounts().keys).isDisjoint(with: retired))
        #expect(try await sealed.contents() == Self.everything)
        // The generation stays, and with it what a client has seen.
        #expect(try await sealed.store.grant(uid: sealed.grant.uid)?.tokenGeneration == 1)
        let reopened = try await Keyring(masterKeys: .init(parsing: SealedStore.first), store: sealed.store)
        #expect(try await sealed.contents(reopened) == Self.everything)
        // What was read before still opens for a while, and then no more.
        let place = Keyring.Place.accessToken(sealed.grant.uid, generation: 1)
        let before = try #require(sealed.grant.accessToken)
        sealed.keyring.forgetSpent()
        #expect(try sealed.keyring.open(before, at: place) == Array("access ".utf8))
        sealed.keyring.forgetSpent()
        #expect(throws: KeyringError.noDataKey) { try sealed.keyring.open(before, at: place) }
        try await sealed.store.forgetOverwritten()
        guard backend == .sqlite else { return }
        // The wrapped keys that were deleted are in no file.
        let bytes = try sealed.opened.bytes()
        for record in old { #expect(bytes.range(of: Data(record.wrapped)) == nil) }
    }

    @Test(arguments: Backend.allCases) func aDataKeyStaysWhileAValueThatItSealedIsOnItsWay(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let scope = sealed.connection.uid
        let old = try #require(try await sealed.store.dataKeys().first { $0.scope == scope.text }?.id)
        // A renewal that has sealed its tokens and not written them yet.
        var renewed: Grant? = sealed.grant
        renewed?.tokenGeneration = 2
        renewed?.refreshToken = nil
        renewed?.accessToken = try sealed.keyring.seal(Array("new".utf8), at: .accessToken(sealed.grant.uid, generation: 2), scope: scope)
        #expect(try await sealed.keyring.rotate(scope: scope.text, at: now))
        _ = try await sealed.keyring.reseal(scope: scope.text)
        #expect(try await sealed.store.sealedCounts()[old] == nil)
        #expect(try await sealed.keyring.deleteUnused([old]) == .init(deleted: [], busy: [old]))
        #expect(try await sealed.store.put(try #require(renewed), expectedGeneration: 1))
        renewed = nil
        // Nothing is on its way any more, and the count finds what was written.
        #expect(try await sealed.deleteUnused([old]).isEmpty)
        #expect(try await sealed.keyring.reseal(scope: scope.text) == .init(resealed: 1, damaged: 0))
        #expect(try await sealed.deleteUnused([old]) == [old])
        #expect(try await sealed.contents().contains("grant.access_token new"))
    }

    @Test(arguments: Backend.allCases) func whatSealsIsNeverDeleted(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let all = Set(try await sealed.store.dataKeys().map(\.id))
        #expect(try await sealed.keyring.deleteUnused(all).deleted.isEmpty)
        // Nor by the store itself, whatever it is asked.
        try await sealed.keyring.prepare(scope: UID(text: "unused"))
        let unused = try #require(try await sealed.store.dataKeys().last)
        #expect(try await sealed.store.deleteUnusedDataKeys([unused.id]).isEmpty)
        #expect(try await sealed.store.dataKeys().last == unused)
    }

    @Test(arguments: Backend.allCases) func aValueThatChangedSinceItWasReadIsLeftAlone(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let column = try #require(SealedColumn.all.first { $0.table == "grant" && $0.column == "access_token" })
        let value = try #require(try await sealed.store.sealedValues(in: column, scope: nil, after: nil, limit: 1).first)
        func replace(_ value: SealedValue) async throws -> Int {
            try await sealed.store.replace([SealedReplacement(value, with: Sealed(bytes: [9]))], in: column)
        }
        var otherBytes = value
        otherBytes.sealed = Sealed(bytes: [1, 2, 3])
        #expect(try await replace(otherBytes) == 0)
        var otherGeneration = value
        otherGeneration.generation = 2
        #expect(try await replace(otherGeneration) == 0)
        #expect(try await sealed.contents() == Self.everything)
        #expect(try await sealed.store.holds(value, in: column))
        #expect(try await replace(value) == 1)
        #expect(try await !sealed.store.holds(value, in: column))
    }

    @Test(arguments: Backend.allCases) func aConnectionThatIsRemovedMeanwhileTakesAllItsKeysAlong(_ backend: Backend) async throws {  // SEC-53
        let sealed = try await SealedStore(backend)
        let scope = sealed.connection.uid
        #expect(try await sealed.keyring.rotate(scope: scope.text, at: now))
        let kept = try #require(sealed.grant.accessToken)
        try await sealed.store.deleteConnection(scope)
        try await sealed.keyring.destroy(scope: scope)
        #expect(try await !sealed.keyring.rotate(scope: scope.text, at: now))
        #expect(try await sealed.keyring.reseal(scope: scope.text) == .init())
        #expect(try await sealed.store.dataKeys().map(\.scope) == [""])
        #expect(throws: KeyringError.noDataKey) { try sealed.keyring.open(kept, at: .accessToken(sealed.grant.uid, generation: 1)) }
    }

    @Test(arguments: Backend.allCases) func damagedValuesKeepTheKeyThatTheyCarry(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let scope = sealed.connection.uid.text
        let old = try #require(try await sealed.store.dataKeys().first { $0.scope == scope }?.id)
        var bytes = try #require(sealed.connection.password).bytes
        bytes[bytes.count - 1] ^= 1
        try await sealed.opened.tamper("UPDATE connection SET password = ?", bytes)
        #expect(try await sealed.keyring.rotate(scope: scope, at: now))
        #expect(try await sealed.keyring.reseal(scope: scope) == .init(resealed: 8, damaged: 1))
        #expect(try await sealed.deleteUnused([old]).isEmpty)
    }

    // MARK: Master keys

    @Test("Data keys are wrapped by another master key, and the old one opens nothing (SEC-122)", arguments: Backend.allCases)
    func rewrap(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        // Retired ones too.
        #expect(try await sealed.keyring.rotate(scope: "", at: now))
        let both = try Keyring.MasterKeys(parsing: SealedStore.first).withNewKey(besides: ["k7"])
        #expect(both.ids == ["k8", "k1"])
        try await sealed.keyring.adopt(both)
        #expect(try await sealed.keyring.rewrap() == 3)
        #expect(try await sealed.keyring.rewrap() == 0)
        #expect(Set(try await sealed.store.dataKeys().map(\.masterKeyID)) == ["k8"])
        let reopened = try await Keyring(masterKeys: both.firstAlone, store: sealed.store)
        #expect(try await sealed.contents(reopened) == Self.everything)
        let before = (try await sealed.store.dataKeys(), try await sealed.store.meta("key_check"))
        await #expect(throws: KeyringError.wrongMasterKey(id: "k8")) { try await Keyring(masterKeys: .init(parsing: SealedStore.first), store: sealed.store) }
        #expect(try await sealed.store.dataKeys() == before.0)
        #expect(try await sealed.store.meta("key_check") == before.1)
        #expect(try Keyring.MasterKeys(parsing: both.secretText).secretText == both.secretText)
    }

    @Test(arguments: Backend.allCases) func dataKeysThatAreMadeMeanwhileAreWrappedByTheNewOneToo(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let both = try Keyring.MasterKeys(parsing: SealedStore.first).withNewKey(besides: [String]())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<100 {
                group.addTask {
                    if index == 50 { try await sealed.keyring.adopt(both) }
                    try await sealed.keyring.prepare(scope: UID(text: "scope-\(index)"))
                }
            }
            try await group.waitForAll()
        }
        _ = try await sealed.keyring.rewrap()
        #expect(Set(try await sealed.store.dataKeys().map(\.masterKeyID)) == ["k2"])
        #expect(try await sealed.store.dataKeys().count == 102)
    }

    @Test(arguments: [("k1", "k2"), ("k9", "k10"), ("main", "k1"), ("k", "k1"), ("k-1", "k1")])
    func aNewMasterKeyHasANewName(old: String, new: String) throws {
        let text = old + ":" + SealedStore.first.dropFirst("k1:".count)
        #expect(try Keyring.MasterKeys(parsing: text).withNewKey(besides: [String]()).ids == [new, old])
    }

    // MARK: What does not open

    /// How somebody who can write the file could try to make one value pass for another.
    struct Tampering: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let sql: String
        /// `record.field`, and how often.
        let faults: [String]
    }

    private static let tamperings = [
        Tampering(
            testDescription: "two rows swapped",
            sql: #"""
                CREATE TEMP TABLE swapped AS SELECT uid, access_token FROM "grant";
                UPDATE "grant" SET access_token = (SELECT access_token FROM swapped WHERE swapped.uid <> "grant".uid);
                """#, faults: ["grant.access_token", "grant.access_token"]),
        Tampering(
            testDescription: "a refresh token in the access token's column",
            sql: #"UPDATE "grant" SET access_token = refresh_token WHERE subject = ''"#, faults: ["grant.access_token"]),
        Tampering(
            testDescription: "an older ciphertext in a newer row", sql: #"UPDATE "grant" SET token_generation = 2 WHERE subject = ''"#,
            faults: ["grant.access_token", "grant.refresh_token"]),
        Tampering(
            testDescription: "an orphan that claims another origin", sql: "UPDATE orphan_token SET generation = 8 WHERE grant_uid IS NOT NULL",
            faults: ["orphan_token.access_token"]),
        Tampering(
            testDescription: "a secret in the password's column", sql: "UPDATE connection SET password = client_secret", faults: ["connection.password"]),
        Tampering(testDescription: "a value cut short", sql: "UPDATE completion SET code = substr(code, 1, 30)", faults: ["completion.code"]),
        Tampering(
            testDescription: "another attempt's verifier", sql: "UPDATE authorization_attempt SET state_hash = x'01'",
            faults: ["authorization_attempt.pending"]),
        Tampering(testDescription: "another webhook's secret", sql: "UPDATE webhook SET id = 'wh_2'", faults: ["webhook.secret"]),
        Tampering(
            testDescription: "a data key that is gone", sql: "DELETE FROM data_key WHERE scope = ''", faults: ["activity_chain.value", "webhook.secret"]),
        Tampering(
            testDescription: "a data key that was changed",
            sql: "UPDATE data_key SET wrapped = x'\(String(repeating: "00", count: 66))' WHERE scope = ''", faults: ["data_key.wrapped"]),
        Tampering(testDescription: "no check value", sql: "DELETE FROM meta WHERE name = 'key_check'", faults: ["key_check."]),
        Tampering(testDescription: "another check value", sql: "UPDATE meta SET value = x'026b31' WHERE name = 'key_check'", faults: ["key_check."]),
    ]

    @Test("What was changed or moved is named (SEC-121)", arguments: Backend.allCases, tamperings)
    func tampered(_ backend: Backend, _ tampering: Tampering) async throws {
        let sealed = try await SealedStore(backend)
        try await SealedStore.put("other", of: sealed.connection, in: sealed.store, sealed.keyring)
        #expect(try await sealed.faults().isEmpty)
        try await sealed.opened.tamper(tampering.sql)
        let faults = try await sealed.faults()
        #expect(faults.map { "\($0.record).\($0.field ?? "")" }.sorted() == tampering.faults.sorted())
        for fault in faults where fault.record == "grant" {
            #expect(fault.connectionUID == sealed.connection.uid)
            #expect(fault.uid != nil)
        }
    }

    @Test("Each flipped bit of a sealed value is named (SEC-118)", arguments: Backend.allCases)
    func flippedBits(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let whole = try #require(sealed.grant.refreshToken).bytes
        for index in whole.indices {
            var bytes = whole
            bytes[index] ^= 1 << UInt8(index % 8)
            try await sealed.opened.tamper(#"UPDATE "grant" SET refresh_token = ?"#, bytes)
            let faults = try await sealed.faults()
            #expect(faults.map(\.field) == ["refresh_token"] && faults.first?.uid == sealed.grant.uid.text, "byte \(index)")
        }
    }

    @Test func faultsOfTheDatabaseItselfAreNamed() async throws {
        let sealed = try await SealedStore()
        #expect(try await sealed.store.databaseFaults().isEmpty)
        try await sealed.opened.tamper("INSERT INTO refresh_intent VALUES ('nobody', 1, 0, 1)")
        #expect(try await sealed.store.databaseFaults() == ["a row of refresh_intent belongs to a row of grant that is not there"])
    }

    // MARK: After a restore

    @Test(arguments: Backend.allCases) func grantsInDoubtAreThoseThatGotNoTokenSince(_ backend: Backend) async throws {
        let sealed = try await SealedStore(backend)
        let store = sealed.store
        func inDoubt() async throws -> [UID] { try await store.grantsInDoubt(since: now, after: nil, limit: 10).map(\.uid) }
        let other = try await SealedStore.put("other", of: sealed.connection, in: store, sealed.keyring)
        #expect(try await inDoubt().isEmpty)
        // An intent that is there stays as it is.
        #expect(try await store.beginRefresh(grant: other.uid, generation: 1, at: now, lease: nil) == 1)
        #expect(try await store.beginRefresh(grant: other.uid, generation: 1, at: now, lease: nil) == 2)
        try await store.noteInDoubt([(sealed.grant.uid, 1), (other.uid, 1)], at: now)
        #expect(try await store.intent(grant: other.uid)?.attempts == 2)
        #expect(try await store.intent(grant: sealed.grant.uid)?.attempts == 1)
        #expect(try await inDoubt() == [sealed.grant.uid, other.uid].sorted())
        #expect(try await store.grantsInDoubt(since: now, after: min(sealed.grant.uid, other.uid), limit: 10).count == 1)
        // Its refresh token is sent for the second time.
        #expect(try await store.beginRefresh(grant: sealed.grant.uid, generation: 1, at: now, lease: nil) == 2)
        var renewed = sealed.grant
        renewed.tokenGeneration = 2
        renewed.refreshedAt = now
        #expect(try await store.put(renewed, expectedGeneration: 1))
        #expect(try await inDoubt() == [other.uid])
        var kept = other
        kept.rotates = false
        #expect(try await store.put(kept, expectedGeneration: 1))
        try await store.noteInDoubt([(other.uid, 1)], at: now)
        #expect(try await inDoubt().isEmpty)
    }

    @Test(arguments: Backend.allCases) func notesAreSetAndRemovedTogether(_ backend: Backend) async throws {
        let opened = try await backend.open()
        try await opened.store.setMark(BackupMark(at: now))
        let restored = RestoreMark(backupAt: now, restoredAt: now + .seconds(1))
        try await opened.store.changeMeta([BackupMark.name: nil, RestoreMark.name: try restored.bytes])
        #expect(try await opened.store.mark(BackupMark.self) == nil)
        #expect(try await opened.store.mark() == restored)
        try await opened.store.setMeta(RestoreMark.name, [1])
        await #expect(throws: StoreError.damaged("the note restored makes no sense")) { try await opened.store.mark(RestoreMark.self) }
    }
}

@Suite struct BackupTests {
    private func copy(
        _ sealed: SealedStore, _ name: String = "backup", replacing: Bool = false, at: Timestamp = now
    ) throws -> (path: String, facts: BackupFacts) {
        let path = sealed.opened.folder.appending(path: name).path
        return (path, try SQLiteStore.backUp(sealed.path, to: path, at: at, replacing: replacing) { _, _ in })
    }

    @Test func aBackupIsOneFileThatOpensWithTheSameKey() async throws {
        let sealed = try await SealedStore()
        let (path, facts) = try copy(sealed)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(facts == BackupFacts(bytes: try #require(attributes[.size] as? Int), at: now, masterKeyIDs: ["k1"]))
        let names = try FileManager.default.contentsOfDirectory(atPath: sealed.opened.folder.path).filter { $0.hasPrefix("backup") }
        #expect(names == ["backup"])
        // The key is not in it.
        let key = try #require(Base64URL.decode(String(SealedStore.first.dropFirst("k1:".count))))
        #expect(try Data(contentsOf: URL(filePath: path)).range(of: Data(key)) == nil)
        let restored = try SQLiteStore(path: path)
        #expect(try await restored.mark() == BackupMark(at: now))
        #expect(try await sealed.store.mark(BackupMark.self) == nil)
        _ = try await Keyring(masterKeys: .init(parsing: SealedStore.first), store: restored)
        #expect(try await restored.grant(uid: sealed.grant.uid) != nil)
        try await restored.close()
    }

    @Test func aFileThatIsThereIsNotReplacedUnasked() async throws {
        let sealed = try await SealedStore()
        let (path, _) = try copy(sealed)
        let before = try Data(contentsOf: URL(filePath: path))
        let error = #expect(throws: BackupError.self) { try copy(sealed, at: now + .seconds(9)) }
        #expect(error?.message == "\(path) is there already")
        #expect(try Data(contentsOf: URL(filePath: path)) == before)
        #expect(try copy(sealed, replacing: true, at: now + .seconds(9)).facts.at == now + .seconds(9))
    }

    @Test("The database is never written over", arguments: ["t.sqlite", "t.sqlite-wal", "t.sqlite-shm"])
    func ontoItself(name: String) async throws {
        let sealed = try await SealedStore()
        let error = #expect(throws: BackupError.self) { try copy(sealed, name, replacing: true) }
        #expect(error?.message.hasSuffix("is the database itself") == true)
        let link = sealed.opened.folder.appending(path: "link-\(name)")
        try FileManager.default.linkItem(at: sealed.opened.folder.appending(path: name), to: link)
        #expect(throws: BackupError.self) { try copy(sealed, link.lastPathComponent, replacing: true) }
        #expect(try await sealed.contents() == RotationTests.everything)
    }

    @Test func whatHoldsNoVaultIsNotBackedUp() async throws {
        let sealed = try await SealedStore()
        let folder = sealed.opened.folder
        #expect(throws: BackupError.self) { try SQLiteStore.backUp(sealed.path, to: folder.path, at: now, replacing: true) { _, _ in } }
        let other = folder.appending(path: "other.sqlite").path
        let queue = try DatabaseQueue(path: other)
        try await queue.write { try $0.execute(sql: "CREATE TABLE notes (text TEXT)") }
        try queue.close()
        #expect(throws: BackupError.self) { try SQLiteStore.backUp(other, to: folder.appending(path: "x").path, at: now, replacing: false) { _, _ in } }
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "x").path))
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "x.partial").path))
    }

    @Test func aBackupOfABackupThatNobodyStartedIsAsOldAsThatOne() async throws {
        let sealed = try await SealedStore()
        let (first, _) = try copy(sealed)
        let second = sealed.opened.folder.appending(path: "second").path
        #expect(try SQLiteStore.backUp(first, to: second, at: now + .seconds(99), replacing: false) { _, _ in }.at == now)
    }

    @Test func aBackupIsOfOneMomentThoughOthersWrite() async throws {
        let sealed = try await SealedStore()
        // Enough pages that it is copied in several steps.
        for index in 0..<40 {
            var grant = makeGrant(sealed.connection, subject: "large-\(index)")
            grant.accessToken = Sealed(bytes: [UInt8](repeating: 7, count: 200_000))
            #expect(try await sealed.store.put(grant, expectedGeneration: nil))
        }
        let store = sealed.store
        let writing = Task {
            var count = 0
            while !Task.isCancelled {
                // Both or neither.
                try await store.changeMeta(["a": [UInt8(count % 256)], "b": [UInt8(count % 256)]])
                count += 1
            }
            return count
        }
        var steps = 0
        let path = sealed.opened.folder.appending(path: "backup").path
        for round in 0..<5 {
            _ = try SQLiteStore.backUp(sealed.path, to: path, at: now, replacing: round > 0) { done, total in
                steps += 1
                #expect(done <= total)
            }
            let restored = try SQLiteStore(path: path)
            #expect(try await restored.meta("a") == restored.meta("b"))
            #expect(try await restored.databaseFaults().isEmpty)
            try await restored.close()
        }
        writing.cancel()
        #expect(try await writing.value > 0)
        #expect(steps > 5)
    }
}
