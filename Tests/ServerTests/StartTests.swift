import Foundation
import HTTPTypes
import NIOCore
import NIOPosix
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// Starts that fail say one clear sentence and change nothing; starts that follow another find everything there.
@Suite struct StartTests {
    typealias Change = @Sendable (inout ServerConfiguration) -> Void

    /// A path of its own in a throw-away folder; nothing is there yet.
    private func place<R: Sendable>(_ body: (String) async throws -> R) async throws -> R {
        let parent = FileManager.default.temporaryDirectory.appending(path: "start-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: parent) }
        return try await body(parent + "/data")
    }

    /// A stopped server's data directory, with one connection whose secret is sealed in it.
    private func used<R: Sendable>(_ change: @escaping Change = { _ in }, _ body: (String) async throws -> R) async throws -> R {
        try await place { directory in
            try await RunningServer.with(directory: directory, change) { server async throws in
                let document: JSONValue = [
                    "id": "app", "name": "App",
                    "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
                ]
                #expect(try await server.send(.post, "/v1/connections", body: document).status == 201)
                #expect(try await server.send(.put, "/v1/connections/app/grants/-", body: ["access_token": "kept-token"]).status == 200)
            }
            return try await body(directory)
        }
    }

    /// Whether a start finds the connection and opens its token.
    private func expectWhole(_ directory: String, _ change: @escaping Change = { _ in }, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await RunningServer.with(directory: directory, change) { server async throws in
            let token = try await server.send(.get, "/v1/connections/app/token")
            #expect(token["access_token"]?.string == "kept-token", "\(token.text)", sourceLocation: sourceLocation)
        }
    }

    /// What a start that fails says.
    private func expectRefusal(
        _ directory: String, _ words: String, _ change: @escaping Change = { _ in }, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let error = await #expect(throws: StartError.self, sourceLocation: sourceLocation) {
            try await RunningServer.with(directory: directory, change) { _ in }
        }
        let message = try #require(error?.message, sourceLocation: sourceLocation)
        #expect(message.contains(words), "\(message)", sourceLocation: sourceLocation)
        #expect(!message.contains("\n") && !message.contains("Error") && message.utf8.count < 300, "\(message)", sourceLocation: sourceLocation)
        #expect(error?.hint?.contains("\n") != true, sourceLocation: sourceLocation)
    }

    /// Every file but the lock and what SQLite keeps beside the database, by name.
    private func files(_ directory: String) throws -> [String: Data] {
        guard FileManager.default.fileExists(atPath: directory) else { return [:] }
        var files: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: directory)
        where name != "lock" && !name.hasSuffix("-wal") && !name.hasSuffix("-shm") {
            files[name] = FileManager.default.contents(atPath: directory + "/" + name) ?? Data()
        }
        return files
    }

    private func write(_ data: Data, _ path: String, mode: Int = 0o600) throws {
        try data.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private static func masterKey(_ id: String) -> String { id + ":" + Base64URL.encode((0..<32).map { _ in UInt8.random(in: .min ... .max) }) }
    private static let longKey = "an-admin-key-of-more-than-32-characters"

    // MARK: The data directory

    @Test func aDataDirectoryThatIsAFileIsRefused() async throws {
        try await place { directory in
            try write(Data("mine".utf8), directory)
            try await expectRefusal(directory, "is not a folder")
            try await expectRefusal(directory + "/inside", "cannot be made")
            #expect(FileManager.default.contents(atPath: directory) == Data("mine".utf8))
        }
    }

    @Test func aDataDirectoryThatOthersMayWriteIntoIsRefused() async throws {  // SEC-55
        try await place { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: directory)
            try await expectRefusal(directory, "others may write")
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
        }
    }

    @Test("A key file that others may read", arguments: ["master.key", "admin.key"])
    func readableKeys(name: String) async throws {  // SEC-55
        try await used { directory in
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: directory + "/" + name)
            try await expectRefusal(directory, "others may read")
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: directory + "/" + name)
            try await expectWhole(directory)
        }
    }

    @Test("A key file without a key", arguments: ["master.key", "admin.key"])
    func emptyKeys(name: String) async throws {
        try await used { directory in
            let before = try files(directory)
            try write(Data("\n".utf8), directory + "/" + name)
            try await expectRefusal(directory, "is empty")
            try write(before[name] ?? Data(), directory + "/" + name)
            try await expectWhole(directory)
        }
    }

    @Test func aSecondServerOnTheDirectoryIsRefused() async throws {
        try await used { directory in
            try await RunningServer.with(directory: directory) { server async throws in
                let before = try files(directory)
                try await expectRefusal(directory, "another server uses the data directory")
                #expect(try files(directory)["server.json"] == before["server.json"])
                #expect(try await server.send(.get, "/v1/connections/app/token").status == 200)
            }
            try await expectWhole(directory)
        }
    }

    @Test func theServerFileIsThereWhileItRuns() async throws {
        try await place { directory in
            try await RunningServer.with(directory: directory) { server async throws in
                let file = try JSONValue(parsing: Array(try #require(FileManager.default.contents(atPath: directory + "/server.json"))))
                #expect(file["url"]?.string == server.url)
            }
            #expect(!FileManager.default.fileExists(atPath: directory + "/server.json"))
        }
    }

    // MARK: The database

    @Test("A database that is none", arguments: [0, 100])
    func damagedDatabase(intact: Int) async throws {
        try await used { directory in
            let path = directory + "/grantee.sqlite"
            let whole = try #require(FileManager.default.contents(atPath: path))
            var damaged = whole
            damaged.replaceSubrange(intact..<4096, with: Data(repeating: 0xA5, count: 4096 - intact))
            try write(damaged, path)
            let before = try files(directory)
            try await expectRefusal(directory, intact == 0 ? "is not a SQLite database" : "is damaged")
            #expect(try files(directory) == before)
            // From the backup it works again.
            for name in ["grantee.sqlite-wal", "grantee.sqlite-shm"] { try? FileManager.default.removeItem(atPath: directory + "/" + name) }
            try write(whole, path)
            try await expectWhole(directory)
        }
    }

    @Test func anEmptiedDatabaseIsNotTakenForANewOne() async throws {
        try await used { directory in
            let path = directory + "/grantee.sqlite"
            let whole = try #require(FileManager.default.contents(atPath: path))
            try write(Data(), path)
            try await expectRefusal(directory, "is empty")
            #expect(FileManager.default.contents(atPath: path)?.isEmpty == true)
            try write(whole, path)
            try await expectWhole(directory)
        }
    }

    @Test func aDatabasePathThatIsAFolderIsRefused() async throws {
        try await place { directory in
            try FileManager.default.createDirectory(atPath: directory + "-folder", withIntermediateDirectories: true)
            let key = Self.masterKey("k1")
            try await expectRefusal(directory, "is a folder") {
                $0.masterKeys = key
                $0.databaseURL = "sqlite:" + directory + "-folder"
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "-folder").isEmpty)
        }
    }

    @Test func whatWasConfiguredIsLookedAtBeforeAnythingIsWritten() async throws {
        try await place { directory in
            try await expectRefusal(directory, "--ca-file") { $0.caFile = "/no/such/file" }
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test func anotherKindOfDatabaseIsRefused() async throws {
        try await place { directory in
            try await expectRefusal(directory, "--database-url must be sqlite:PATH") { $0.databaseURL = "mysql://user:pass@db.example/grantee" }
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test(arguments: [
        ("postgres://db.example/grantee?sslmode=prefer", "sslmode=prefer to another machine"), ("postgres://u:p@ss@db.example:x/grantee", "cannot be read"),
        ("postgres://localhost/grantee", "the master keys are needed"),
    ])
    func aPostgresDatabaseNeedsTLSAndKeys(url: String, words: String) async throws {
        try await place { directory in
            try await expectRefusal(directory, words) { $0.databaseURL = url }
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    // MARK: Keys

    @Test func anotherMasterKeyIsToldFromDamage() async throws {  // SEC-119
        try await used { directory in
            let before = try files(directory)
            let other = Self.masterKey("k1")
            try await expectRefusal(directory, "sealed with another master key than the one given: that has the same id, k1, and other bytes") {
                $0.masterKeys = other
            }
            try await expectRefusal(directory, "its id is k1") { $0.masterKeys = Self.masterKey("k9") }
            try write(Data(other.utf8), directory + "/master.key")
            try await expectRefusal(directory, "sealed with another master key")
            #expect(try files(directory)["master.key"] == Data(other.utf8))
            #expect(try files(directory)["admin.key"] == before["admin.key"])
            try write(try #require(before["master.key"]), directory + "/master.key")
            try await expectWhole(directory)
        }
    }

    @Test func aMissingMasterKeyIsNotMadeAnewForADatabaseThatIsThere() async throws {  // SEC-51
        try await used { directory in
            let key = try #require(FileManager.default.contents(atPath: directory + "/master.key"))
            try FileManager.default.removeItem(atPath: directory + "/master.key")
            let before = try files(directory)
            try await expectRefusal(directory, "is missing")
            #expect(try files(directory) == before)
            try write(key, directory + "/master.key")
            try await expectWhole(directory)
        }
    }

    @Test func norForADatabaseThatIsElsewhere() async throws {
        try await place { directory in
            let change: Change = { $0.databaseURL = "sqlite:" + directory + "-elsewhere.sqlite" }
            try await RunningServer.with(directory: directory, change) { server async throws in
                #expect(FileManager.default.fileExists(atPath: directory + "-elsewhere.sqlite"))
                #expect(try await server.send(.get, "/health/ready").status == 200)
            }
            try FileManager.default.removeItem(atPath: directory + "/master.key")
            try await expectRefusal(directory, "is missing", change)
            #expect(!FileManager.default.fileExists(atPath: directory + "/master.key"))
        }
    }

    @Test(
        "Master keys that are none",
        arguments: [
            // Repeated bytes are no key (SEC-119).
            "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", ",", "k1", "k1:", ":AAAA", "k1:AAAA", "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "k 1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,", "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,k1:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ])
    func badMasterKeys(text: String) async throws {
        try await place { directory in
            try await expectRefusal(directory, "the master keys are not usable") { $0.masterKeys = text }
            #expect(try files(directory).isEmpty)
        }
    }

    @Test func aListOfMasterKeysRotates() async throws {
        let old = Self.masterKey("old")
        let new = Self.masterKey("new")
        let alone: Change = { $0.masterKeys = old }
        try await used(alone) { directory in
            #expect(try files(directory)["master.key"] == nil)
            let both: Change = { $0.masterKeys = " \(new),\n\(old) " }
            try await expectWhole(directory, both)
            try await RunningServer.with(directory: directory, both) { server async throws in
                let document: JSONValue = [
                    "id": "second", "name": "Second",
                    "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
                ]
                #expect(try await server.send(.post, "/v1/connections", body: document).status == 201)
            }
            // What the first key of the list sealed meanwhile needs it from then on.
            try await expectRefusal(directory, "its id is new", alone)
            try await expectWhole(directory) { $0.masterKeys = old + "," + new }
        }
    }

    @Test(
        "An admin key that is too short, or holds what no header may hold",
        arguments: [
            "", "short", String(repeating: "a", count: 31), "a key with spaces in it that is long enough", "ä-key-of-more-than-thirty-two-bytes-in-all",
        ])
    func badAdminKey(text: String) async throws {
        try await place { directory in
            try await expectRefusal(directory, "at least 32 visible ASCII characters") { $0.adminKey = text }
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test func anAdminKeyFileThatIsTooShortIsRefused() async throws {
        try await used { directory in
            let key = try #require(FileManager.default.contents(atPath: directory + "/admin.key"))
            try write(Data("short\n".utf8), directory + "/admin.key")
            try await expectRefusal(directory, "shorter than 32 characters")
            try write(key, directory + "/admin.key")
            try await expectWhole(directory)
        }
    }

    @Test func aChangedAdminKeyReplacesTheOldOne() async throws {
        try await place { directory in
            let first: Change = { $0.adminKey = Self.longKey }
            let other = try await RunningServer.with(directory: directory, first) { server async throws in
                try await server.makeKey(["name": "other", "role": "use"])
            }
            let new = String(Self.longKey.reversed())
            let second: Change = { $0.adminKey = new }
            try await RunningServer.with(directory: directory, second) { server async throws in
                #expect(server.adminKey == new)
                #expect(try await server.send(.get, "/v1/keys", key: .other(Self.longKey)).status == 401)
                let keys = try await server.send(.get, "/v1/keys")
                #expect(keys.items("name").sorted() == ["admin", "other"])
                #expect(try await server.send(.get, "/v1/connections", key: .other(other)).status == 200)
            }
            // Without a setting a key is made, and that one counts.
            try await RunningServer.with(directory: directory) { server async throws in
                #expect(try await server.send(.get, "/v1/keys", key: .other(new)).status == 401)
                #expect(try await server.send(.get, "/v1/keys").status == 200)
            }
        }
    }

    @Test func twoFreshServersDifferInEverySecret() async throws {  // SEC-100
        func secrets() async throws -> [Data] {
            try await place { directory in
                try await RunningServer.with(directory: directory) { server async throws in
                    let files = try files(directory)
                    #expect(!server.log.text.contains(server.adminKey))
                    return [files["admin.key"] ?? Data(), files["master.key"] ?? Data()]
                }
            }
        }
        let all = try await secrets() + secrets()
        #expect(Set(all).count == 4)
        #expect(all.allSatisfy { $0.count >= 32 })
    }

    // MARK: Address

    /// Host, public URL, and what is said of them.
    static let addresses: [(String, String?, String)] = [
        ("0.0.0.0", nil, "--public-url is required"), ("::", nil, "--public-url is required"), ("192.0.2.1", nil, "--public-url is required"),
        ("127.0.0.1", "http://grantee.example", "must be https"), ("127.0.0.1", "https://grantee.example/path", "must be an origin"),
        ("127.0.0.1", "https://grantee.example/?x=1", "must be an origin"), ("127.0.0.1", "grantee.example", "--public-url is not usable"),
        ("127.0.0.1", "https://user@grantee.example", "--public-url is not usable"), ("127.0.0.1", "ftp://grantee.example", "--public-url is not usable"),
        ("127.0.0.1", "", "--public-url is not usable"), ("0.0.0.0", "http://10.0.0.1", "must be https"),
    ]

    @Test("Addresses that do not serve", arguments: addresses)
    func address(host: String, publicURL: String?, words: String) async throws {
        try await place { directory in
            try await expectRefusal(directory, words) {
                $0.host = host
                $0.publicURL = publicURL
            }
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test func aPortInUseIsNamed() async throws {
        try await used { directory in
            let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get()
            let port = try #require(listener.localAddress?.port)
            try await expectRefusal(directory, "port \(port) on 127.0.0.1 is in use") { $0.port = port }
            #expect(try files(directory)["server.json"] == nil)
            try await listener.close().get()
            try await expectWhole(directory) { $0.port = port }
        }
    }

    @Test func aMetricsPortInUseIsNamed() async throws {
        try await used { directory in
            let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get()
            let port = try #require(listener.localAddress?.port)
            // What it does first it may still do; then it ends.
            let error = await #expect(throws: StartError.self) {
                try await RunningServer.with(directory: directory) {
                    $0.metricsPort = port
                } _: { _ in
                    try await Task.sleep(for: .seconds(5))
                }
            }
            #expect(error == StartError("port \(port) on 127.0.0.1 is in use", hint: "choose another with --metrics-port"))
            try await listener.close().get()
            try await expectWhole(directory) { $0.metricsPort = port }
        }
    }

    @Test func aCAFileThatIsNoneIsRefused() async throws {
        try await used { directory in
            let file = directory + "-ca.pem"
            try write(Data("no certificate".utf8), file)
            try await expectRefusal(directory, "--ca-file") { $0.caFile = file }
            try await expectRefusal(directory, "--ca-file") { $0.caFile = file + "-nowhere" }
            try await expectWhole(directory)
        }
    }

    // MARK: Afterwards

    @Test func aRestartKeepsEverything() async throws {
        try await RunningProvider.with { provider in
            try await place { directory in
                let (before, key) = try await RunningServer.with(directory: directory) { server async throws in
                    let stage = Stage(server: server, provider: provider)
                    try await stage.add(provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
                    try await stage.connect("app", ["subject": "user-1"])
                    #expect(try await stage.refresh("app", "user-1").status == 200)
                    let key = try await server.makeKey(["name": "k", "role": "use", "connections": ["app"], "subjects": ["user-1"]])
                    return (try await stage.token("app", "subject=user-1").string("access_token"), key)
                }
                try await RunningServer.with(directory: directory) { server async throws in
                    let stage = Stage(server: server, provider: provider)
                    let token = try await stage.token("app", "subject=user-1", key: .other(key))
                    #expect(token["access_token"]?.string == before)
                    #expect(token["generation"]?.integer == 2)
                    #expect(try await stage.refresh("app", "user-1")["generation"]?.integer == 3)
                    #expect(try await stage.whoami(stage.token("app", "subject=user-1")) == "user-alice")
                    let actions = try await server.send(.get, "/v1/activity").items("action")
                    #expect(Set(actions).isSuperset(of: ["connection.created", "grant.created", "grant.refreshed", "token.read", "key.created"]))
                }
            }
        }
    }
}
