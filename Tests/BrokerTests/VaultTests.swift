import Egress
import Foundation
import Logging
import OAuth
import OAuthClient
import SQLiteStore
import Synchronization
import Testing
import Vault

@testable import Broker

/// A data directory as a server has it, the brokers that run on it one after the other, and one provider for all of them.
final class VaultHome: Sendable {
    let folder: URL
    let provider = ScriptedProvider()
    let time = TestClock()
    var directory: String { folder.appending(path: "data").path }
    var database: String { directory + "/grantee.sqlite" }

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "vault-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The master keys that the file holds, by id.
    var masterKeyIDs: [String] {
        get throws { try Keyring.MasterKeys(parsing: try DataDirectory.masterKeys(of: directory)).ids }
    }

    /// One broker, from its start to its end.
    /// - Parameters:
    ///   - masterKeys: handed over by the operator; `nil` = the server keeps them itself.
    ///   - replacing: before master.key is changed.
    func run<R>(
        masterKeys: String? = nil, replacing: @escaping @Sendable (_ new: [String]) throws(Problem) -> Void = { _ in },
        _ body: (Broker, Caller) async throws -> R
    ) async throws -> R {
        let data = try await lockedDirectory()
        let keys = try Keyring.MasterKeys(parsing: try masterKeys ?? data.masterKeys(databasePath: database))
        let store = try SQLiteStore(path: database)
        let keyring = try await Keyring(masterKeys: keys, store: store)
        var configuration = Broker.Configuration(publicURL: "http://127.0.0.1:8080")
        if masterKeys == nil {
            configuration.masterKeyFile = MasterKeyFile { old, new throws(Problem) in
                try replacing(new.ids)
                do throws(DataDirectoryError) {
                    try data.replaceMasterKeys(old, with: new)
                } catch {
                    throw Problem(.conflict, error.message)
                }
            }
        }
        let broker = Broker(
            store: store, keyring: keyring, transport: provider, egress: Egress(policy: .init()), clock: time.wall,
            pause: { [time] in time.advance($0) }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, configuration: configuration)
        try await broker.start(adminKey: Bench.adminKey)
        let admin = try #require(broker.authenticate(Bench.adminKey))
        let result: Result<R, any Error>
        do {
            result = .success(try await body(broker, admin))
        } catch {
            result = .failure(error)
        }
        await broker.finish()
        try await store.close()
        return try result.get()
    }

    /// Of the broker before, a task may let go of its directory a moment later.
    private func lockedDirectory() async throws -> DataDirectory {
        for _ in 0..<200 {
            do {
                return try DataDirectory(path: directory)
            } catch {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        return try DataDirectory(path: directory)
    }

    func add(
        _ id: String, to broker: Broker, by admin: Caller, grantType: GrantType = .authorizationCode, password: String? = nil,
        change: (inout ConnectionSettings) -> Void = { _ in }
    ) async throws {
        var settings = ConnectionSettings(name: id, oauth: OAuthSettings(grantType: grantType))
        settings.oauth.tokenURL = "https://as.example/token"
        settings.oauth.clientID = "client"
        if grantType == .authorizationCode {
            settings.oauth.authorizationURL = "https://as.example/authorize"
            settings.oauth.pkce = "S256"
        } else {
            settings.oauth.username = "alice"
        }
        change(&settings)
        _ = try await broker.addConnection(
            id: id, settings: settings, clientSecret: ClientSecret("secret-\(id)"), password: password.map { Password($0) }, by: admin)
    }

    func put(_ id: String, _ subject: String, in broker: Broker, by admin: Caller, expiresIn: Int? = 3600) async throws {
        provider.accept(refreshTokens: ["rt-\(id)-\(subject)"])
        _ = try await broker.importGrant(
            connectionID: id, subject: subject,
            tokens: .init(accessToken: AccessToken("at-\(id)-\(subject)"), refreshToken: RefreshToken("rt-\(id)-\(subject)"), expiresIn: expiresIn, scope: nil),
            by: admin)
    }

    /// Stops nothing, and takes what is there: `vault backup`.
    func backUp(_ name: String = "backup") throws -> String {
        let path = folder.appending(path: name).path
        _ = try SQLiteStore.backUp(database, to: path, at: time.wall.now(), replacing: false) { _, _ in }
        return path
    }

    /// As the handbook says it.
    func restore(_ backup: String) throws {
        for suffix in ["", "-wal", "-shm"] where FileManager.default.fileExists(atPath: database + suffix) {
            try FileManager.default.removeItem(atPath: database + suffix)
        }
        try FileManager.default.copyItem(atPath: backup, toPath: database)
    }
}

extension Broker {
    /// To the end of it.
    func rotation(dataKeys: Bool, by admin: Caller) async throws -> Rotation {
        for await event in try rotateVault(dataKeys: dataKeys, by: admin) {
            switch event {
            case .done(let rotation): return rotation
            case .failed(let problem): throw problem
            case .masterKey(let done, let total), .dataKeys(_, let done, let total): #expect((0...total).contains(done))
            }
        }
        throw CancellationError()
    }

    func verification(by admin: Caller) async throws -> Verification {
        for await event in try verifyVault(by: admin) {
            switch event {
            case .done(let verification): return verification
            case .failed(let problem): throw problem
            case .database(let done, let total), .dataKeys(let done, let total), .sealedValues(_, let done, let total), .activity(let done, let total):
                #expect((0...total).contains(done))
            }
        }
        throw CancellationError()
    }

    fileprivate func text(_ id: String, _ subject: String, force: Bool = false, for caller: Caller) async throws -> String {
        try await token(connectionID: id, query: .init(subject: subject, forceRefresh: force), for: caller).text
    }
}

/// What goes on while a rotation runs.
private final class Traffic: Sendable {
    private let state = Mutex((isOver: false, refreshes: 0))
    var isOver: Bool { state.withLock { $0.isOver } }
    var refreshes: Int { state.withLock { $0.refreshes } }
    func end() { state.withLock { $0.isOver = true } }
    func count() { state.withLock { $0.refreshes += 1 } }
}

@Suite struct VaultTests {
    private static let subjects = (0..<500).map { "u\($0)" }

    // MARK: Rotation

    @Test("A rotation of everything while tokens are read and refreshed: nothing fails, and everything opens afterwards (SEC-122)")
    func withTraffic() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            for id in ["a", "b"] {
                try await home.add(id, to: broker, by: admin)
                for subject in Self.subjects { try await home.put(id, subject, in: broker, by: admin) }
            }
            let traffic = Traffic()
            let rotations = try await withThrowingTaskGroup(of: Void.self) { group in
                // Each worker has subjects of its own: which refresh token is the newest is never in doubt.
                for worker in 0..<4 {
                    group.addTask {
                        let own = Self.subjects.indices.filter { $0 % 4 == worker }.map { Self.subjects[$0] }
                        while !traffic.isOver {
                            for subject in own {
                                for id in ["a", "b"] {
                                    _ = try await broker.text(id, subject, force: true, for: admin)
                                    traffic.count()
                                }
                                if traffic.isOver { break }
                            }
                        }
                    }
                }
                // And somebody who connects and changes things.
                group.addTask {
                    var round = 0
                    while !traffic.isOver {
                        round += 1
                        try await home.add("new-\(round)", to: broker, by: admin)
                        try await home.put("new-\(round)", "x", in: broker, by: admin)
                        for id in ["a", "new-\(round)"] {
                            let old = try await broker.connection(id: id, for: admin)
                            _ = try await broker.updateConnection(
                                id: id, settings: old.settings, clientSecret: .keep, password: .keep, keepGrants: true, expectedRevision: nil, by: admin)
                        }
                        if round % 2 == 0 { try await broker.deleteConnection(id: "new-\(round)", by: admin) }
                    }
                }
                var rotations: [Rotation] = []
                for _ in 0..<3 { rotations.append(try await broker.rotation(dataKeys: true, by: admin)) }
                traffic.end()
                try await group.waitForAll()
                return rotations
            }
            #expect(rotations.map(\.masterKeyID) == ["k2", "k3", "k4"])
            for rotation in rotations {
                #expect(rotation.rewrapped >= 3 && rotation.damaged == 0 && rotation.retiredDataKeys == 0, "\(rotation)")
                #expect(rotation.resealed > 500, "\(rotation)")
            }
            #expect(traffic.refreshes > 0)
            let verification = try await broker.verification(by: admin)
            #expect(verification.isOK, "\(verification.faults)")
            #expect(verification.checked >= 2002)
        }
        #expect(try home.masterKeyIDs == ["k4"])
        // With the new master key alone, and nothing in memory.
        try await home.run { broker, admin async throws in
            for id in ["a", "b"] {
                for subject in Self.subjects {
                    let before = try await broker.text(id, subject, for: admin)
                    #expect(try await broker.text(id, subject, force: true, for: admin) != before)
                }
            }
            let status = try await broker.vaultStatus(for: admin)
            #expect(status.masterKeyID == "k4" && status.retiredDataKeys == 0 && !status.isRotating && status.restored == nil)
        }
    }

    @Test func theMasterKeyAloneChangesNoSealedValue() async throws {
        let home = try VaultHome()
        let old = try await home.run { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            try await home.put("a", "u", in: broker, by: admin)
            let before = try await broker.store.sealedCounts()
            let rotation = try await broker.rotation(dataKeys: false, by: admin)
            #expect(rotation == Rotation(masterKeyID: "k2", rewrapped: 2))
            #expect(try await broker.store.sealedCounts() == before)
            return try await broker.store.dataKeys().map(\.id)
        }
        try await home.run { broker, admin async throws in
            #expect(try await broker.store.dataKeys().map(\.id) == old)
            #expect(try await broker.text("a", "u", for: admin) == "at-a-u")
        }
    }

    @Test func whereTheOperatorHandsMasterKeysOverTheOldOnesAreNamed() async throws {
        let home = try VaultHome()
        let old = Keyring.MasterKeys.generate()
        let both = try Keyring.MasterKeys(parsing: old).withNewKey(besides: [String]())
        try await home.run(masterKeys: old) { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            try await home.put("a", "u", in: broker, by: admin)
        }
        try await home.run(masterKeys: both.secretText) { broker, admin async throws in
            #expect(try await broker.rotation(dataKeys: false, by: admin) == Rotation(masterKeyID: "k2", rewrapped: 2, removableMasterKeys: ["k1"]))
            #expect(!FileManager.default.fileExists(atPath: home.directory + "/master.key"))
        }
        try await home.run(masterKeys: both.firstAlone.secretText) { broker, admin async throws in
            #expect(try await broker.text("a", "u", for: admin) == "at-a-u")
            // Nothing to do: the first one wraps all of them.
            #expect(try await broker.rotation(dataKeys: false, by: admin) == Rotation(masterKeyID: "k2"))
        }
        await #expect(throws: KeyringError.wrongMasterKey(id: "k2")) { try await home.run(masterKeys: old) { _, _ in } }
    }

    @Test func oneRotationOrVerificationAtATime() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            let first = try broker.rotateVault(dataKeys: true, by: admin)
            for attempt in 0..<2 {
                let error = #expect(throws: Problem.self) {
                    if attempt == 0 { _ = try broker.verifyVault(by: admin) } else { _ = try broker.rotateVault(dataKeys: false, by: admin) }
                }
                #expect(error?.code == .conflict)
            }
            var last: RotationEvent?
            for await event in first { last = event }
            guard case .done = last else { throw CancellationError() }
            // Once its end was told, the next may begin.
            #expect(try await broker.verification(by: admin).isOK)
            _ = try await broker.rotation(dataKeys: true, by: admin)
        }
    }

    @Test func nobodyHasToWatch() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            _ = try broker.rotateVault(dataKeys: true, by: admin)
            var code: Problem.Code?
            for _ in 0..<500 {
                do {
                    #expect(try await broker.verification(by: admin).isOK)
                    code = nil
                    break
                } catch let problem as Problem {
                    code = problem.code
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
            #expect(code == nil)
            #expect(try home.masterKeyIDs == ["k2"])
        }
    }

    @Test func onlyAnAdminWithoutLimitsMay() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            for new in [Broker.NewKey(name: "u", role: .use), .init(name: "b", role: .admin, connections: ["a"]), .init(name: "g", role: .agent)] {
                let caller = try #require(broker.authenticate(try await broker.addKey(new, by: admin).1))
                #expect(throws: Problem.self) { try broker.rotateVault(dataKeys: false, by: caller) }
                #expect(throws: Problem.self) { try broker.verifyVault(by: caller) }
                await #expect(throws: Problem.self) { try await broker.vaultStatus(for: caller) }
            }
        }
    }

    // MARK: Interrupted

    @Test("A rotation that was interrupted is gone on with, not begun anew", arguments: [["k2", "k1"], ["k2"]])
    func interruptedAtTheFile(at step: [String]) async throws {
        let home = try VaultHome()
        let fails = { @Sendable (new: [String]) throws(Problem) in
            if new == step { throw Problem(.conflict, "the disk is full") }
        }
        try await home.run(replacing: fails) { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            try await home.put("a", "u", in: broker, by: admin)
            await #expect(throws: Problem.self) { try await broker.rotation(dataKeys: true, by: admin) }
            #expect(try await broker.vaultStatus(for: admin).isRotating)
            // What it left serves.
            #expect(try await broker.text("a", "u", force: true, for: admin) == "at-1")
        }
        #expect(try home.masterKeyIDs == (step == ["k2"] ? ["k2", "k1"] : ["k1"]))
        try await home.run { broker, admin async throws in
            // Data keys were asked for then.
            let rotation = try await broker.rotation(dataKeys: false, by: admin)
            #expect(rotation.masterKeyID == "k2" && rotation.resealed >= 4 && rotation.retiredDataKeys == 0, "\(rotation)")
            #expect(try await broker.verification(by: admin).isOK)
            #expect(try await !broker.vaultStatus(for: admin).isRotating)
        }
        #expect(try home.masterKeyIDs == ["k2"])
    }

    @Test func retiredDataKeysOfAnEarlierRunAreFinishedFirst() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            for id in ["a", "b"] {
                try await home.add(id, to: broker, by: admin)
                try await home.put(id, "u", in: broker, by: admin)
            }
            // As a crash leaves it: one connection has its new data key, and nothing is sealed by it yet.
            let keys = try await broker.store.dataKeys()
            try await broker.store.setMark(RotationMark(masterKeyID: "k1", newestDataKey: keys.map(\.id).max()))
            let a = try await broker.connection(id: "a", for: admin).uid
            #expect(try await broker.keyring.rotate(scope: a.text, at: home.time.wall.now()))
            #expect(try await broker.vaultStatus(for: admin).retiredDataKeys == 1)
            let newest = try #require(try await broker.store.dataKeys().map(\.id).max())
            let rotation = try await broker.rotation(dataKeys: false, by: admin)
            #expect(rotation.masterKeyID == "k1" && rotation.retiredDataKeys == 0)
            let after = try await broker.store.dataKeys()
            #expect(after.count == 3)
            // The one that was new stays; the others are newer.
            #expect(after.map(\.id).min() == newest)
            #expect(after.first { $0.scope == a.text }?.id == newest)
            #expect(try await broker.verification(by: admin).isOK)
        }
    }

    @Test func aStopLeavesWhatCanBeGoneOnWith() async throws {
        let home = try VaultHome()
        // As the end of the server does, between the master key and the data keys.
        let stop: @Sendable ([String]) throws(Problem) -> Void = { new throws(Problem) in
            if new == ["k2"] { withUnsafeCurrentTask { $0?.cancel() } }
        }
        try await home.run(replacing: stop) { broker, admin async throws in
            try await home.add("a", to: broker, by: admin)
            try await home.put("a", "u", in: broker, by: admin)
            let error = await #expect(throws: Problem.self) { try await broker.rotation(dataKeys: true, by: admin) }
            #expect(error?.code == .unavailable && error?.detail.contains("shutting down") == true)
            await broker.vaultWork.close()
            #expect(throws: Problem.self) { try broker.verifyVault(by: admin) }
        }
        try await home.run { broker, admin async throws in
            #expect(try await broker.text("a", "u", for: admin) == "at-a-u")
            #expect(try await broker.rotation(dataKeys: true, by: admin).masterKeyID == "k2")
            #expect(try await broker.verification(by: admin).isOK)
        }
    }

    @Test func aMasterKeyFileThatSomebodyChangedIsNotOverwritten() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            let text = try DataDirectory.masterKeys(of: home.directory)
            let changed = "k5:" + Keyring.MasterKeys.generate().dropFirst("k1:".count) + "," + text
            try changed.write(toFile: home.directory + "/master.key", atomically: false, encoding: .utf8)
            await #expect(throws: Problem.self) { try await broker.rotation(dataKeys: false, by: admin) }
            #expect(try DataDirectory.masterKeys(of: home.directory) == changed)
        }
        try await home.run { broker, admin async throws in
            #expect(try await broker.rotation(dataKeys: false, by: admin).masterKeyID == "k5")
        }
        #expect(try home.masterKeyIDs == ["k5"])
    }

    // MARK: After a restore

    @Test("After a restore the grants are named whose refresh token may be spent, and a refusal says so")
    func grantsInDoubt() async throws {
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            try await home.add("app", to: broker, by: admin)
            for subject in ["u", "v", "w"] { try await home.put("app", subject, in: broker, by: admin) }
            // Seen before the backup: the provider gives none anew.
            home.provider.set(rotates: false)
            try await home.put("app", "kept", in: broker, by: admin)
            _ = try await broker.text("app", "kept", force: true, for: admin)
            home.provider.set(rotates: true)
            try await home.add("original", to: broker, by: admin) { $0.oauth.profile.refreshTokenPolicy = "keep_original" }
            try await home.put("original", "u", in: broker, by: admin)
            // It fetches anew without a person.
            try await home.add("alone", to: broker, by: admin, grantType: .password, password: "pw")
            _ = try await broker.text("alone", "", for: admin)
        }
        let backup = try await home.run { broker, admin async throws in
            let backup = try home.backUp()
            home.time.advance(.seconds(60))
            _ = try await broker.text("app", "u", force: true, for: admin)
            return backup
        }
        try home.restore(backup)
        home.time.advance(.seconds(60))
        let at = home.time.wall.now()
        try await home.run { broker, admin async throws in
            let verification = try await broker.verification(by: admin)
            #expect(verification.isOK, "\(verification.faults)")
            #expect(verification.mayBeSpent.map { "\($0.connection) \($0.subject)" }.sorted() == ["app u", "app v", "app w"])
            let status = try await broker.vaultStatus(for: admin)
            #expect(status.mayBeSpent == 3)
            #expect(status.restored == RestoreMark(backupAt: Timestamp(milliseconds: at.milliseconds - 120_000), restoredAt: at))
            let noted = try await broker.activity(connection: nil, subject: nil, before: nil, limit: 50, for: admin).first { $0.action == "vault.restored" }
            #expect(noted?.detail?.contains("3 grants") == true)

            // While the access token lives nothing is sent that could make a provider suspicious.
            let sent = home.provider.requests("refresh_token").count
            home.time.advance(.seconds(3300))
            #expect(try await broker.text("app", "v", for: admin) == "at-app-v")
            #expect(home.provider.requests("refresh_token").count == sent)
            // A failure that tells nothing of the token leaves it as it is.
            home.time.advance(.seconds(600))
            home.provider.script(.json(503, "<html>"))
            await #expect(throws: Problem.self) { try await broker.text("app", "u", for: admin) }
            #expect(try await broker.vaultStatus(for: admin).mayBeSpent == 3)
            home.time.advance(.seconds(120))
            // `v` was not refreshed since the backup: its token still serves.
            #expect(try await broker.text("app", "v", for: admin).hasPrefix("at-"))
            #expect(try await broker.verification(by: admin).mayBeSpent.map(\.subject).sorted() == ["u", "w"])
            // Another account's connection makes it sure, too.
            try await home.put("app", "w", in: broker, by: admin)
            #expect(try await broker.vaultStatus(for: admin).mayBeSpent == 1)
            let problem = await #expect(throws: Problem.self) { try await broker.text("app", "u", for: admin) }
            #expect(problem?.detail.hasPrefix("the database is a backup of ") == true, "\(String(describing: problem))")
            let grant = try await broker.grant(connectionID: "app", subject: "u", for: admin).grant
            #expect(grant.state == .reauthorizationRequired && grant.stateReason == "outcome_unknown")
            #expect(try await broker.vaultStatus(for: admin).mayBeSpent == 0)
        }
        // The next start is none on a backup.
        try await home.run { broker, admin async throws in
            #expect(try await broker.vaultStatus(for: admin).restored?.restoredAt == at)
            #expect(try await broker.vaultStatus(for: admin).mayBeSpent == 0)
            let problem = await #expect(throws: Problem.self) { try await broker.text("app", "u", for: admin) }
            #expect(problem?.detail.hasPrefix("the database is a backup of ") == true, "\(String(describing: problem))")
        }
    }

    @Test func aBackupFromBeforeARotationNeedsItsOwnMasterKey() async throws {
        let home = try VaultHome()
        let old = try await home.run { broker, admin async throws in
            try await home.add("app", to: broker, by: admin)
            try await home.put("app", "u", in: broker, by: admin)
            return try DataDirectory.masterKeys(of: home.directory)
        }
        let backup = try home.backUp()
        try await home.run { broker, admin in _ = try await broker.rotation(dataKeys: true, by: admin) }
        try home.restore(backup)
        await #expect(throws: KeyringError.wrongMasterKey(id: "k1")) { try await home.run { _, _ in } }
        try (old + "\n").write(toFile: home.directory + "/master.key", atomically: false, encoding: .utf8)
        try await home.run { broker, admin async throws in
            // The start that was refused has noted nothing: this is the first one on the backup.
            #expect(try await broker.vaultStatus(for: admin).restored?.restoredAt == home.time.wall.now())
            #expect(try await broker.text("app", "u", for: admin) == "at-app-u")
            #expect(try await broker.verification(by: admin).isOK)
        }
    }

    @Test func whatIsTamperedWithIsNamedByItsConnection() async throws {  // SEC-121
        let home = try VaultHome()
        try await home.run { broker, admin async throws in
            for id in ["a", "b"] {
                try await home.add(id, to: broker, by: admin)
                try await home.put(id, "u", in: broker, by: admin)
            }
            let column = try #require(SealedColumn.all.first { $0.table == "grant" && $0.column == "refresh_token" })
            let values = try await broker.store.sealedValues(in: column, scope: nil, after: nil, limit: 10)
            #expect(values.count == 2)
            // One row's value in the other's place.
            #expect(try await broker.store.replace([SealedReplacement(values[0], with: values[1].sealed)], in: column) == 1)
            let verification = try await broker.verification(by: admin)
            let fault = try #require(verification.faults.first)
            let owner = try #require(values[0].connectionUID)
            #expect(verification.faultCount == 1 && !verification.isOK)
            #expect(fault.record == "grant" && fault.field == "refresh_token" && fault.uid == values[0].key.text)
            #expect(fault.connection == (try await broker.store.connection(uid: owner)?.id))
        }
    }
}
