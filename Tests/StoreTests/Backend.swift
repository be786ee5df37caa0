import Foundation
import GRDB
import SQLiteStore
import TestSupport
import Vault

#if PostgreSQL
    import PostgresStore
#endif

/// Every store keeps every promise: each test of the suite takes a backend.
enum Backend: CaseIterable, Sendable {
    case sqlite
    #if PostgreSQL
        case postgres
    #endif

    static var allCases: [Backend] {
        #if PostgreSQL
            PostgresServer.isExpected ? [.sqlite, .postgres] : [.sqlite]
        #else
            [.sqlite]
        #endif
    }

    func open() async throws -> Opened {
        switch self {
        case .sqlite:
            let folder = FileManager.default.temporaryDirectory.appending(path: "store-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            return Opened(self, store: try SQLiteStore(path: folder.appending(path: "t.sqlite").path), place: folder.path)
        #if PostgreSQL
            case .postgres:
                let url = try await PostgresServer.shared.makeDatabase()
                return Opened(self, store: try await PostgresStore(DatabaseURL(url)), place: url)
        #endif
        }
    }
}

final class Opened: Sendable {
    let backend: Backend
    let store: any Store
    /// The folder of the file, or the URL of the database.
    private let place: String

    init(_ backend: Backend, store: any Store, place: String) {
        self.backend = backend
        self.store = store
        self.place = place
    }

    deinit {
        switch backend {
        case .sqlite: try? FileManager.default.removeItem(atPath: place)
        #if PostgreSQL
            case .postgres:
                // Or the server's folder would grow by eight megabytes with each test.
                Task { [store, place] in
                    try? await store.close()
                    try? await PostgresServer.shared.dropDatabase(place)
                }
        #endif
        }
    }

    /// Of SQLite's file.
    var folder: URL { URL(filePath: place) }
    var path: String { place + "/t.sqlite" }

    /// All bytes of all of SQLite's files: where a marker would be found.
    func bytes() throws -> Data {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil).reduce(into: Data()) { $0.append(try Data(contentsOf: $1)) }
    }

    /// What a statement selects, past the store.
    func texts(_ sql: String) async throws -> [String] {
        switch backend {
        case .sqlite:
            let queue = try DatabaseQueue(path: path)
            let texts = try await queue.read { try String.fetchAll($0, sql: sql) }
            try queue.close()
            return texts
        #if PostgreSQL
            case .postgres: return try await PostgresServer.shared.query(sql, in: place).split(separator: "\n").map(String.init)
        #endif
        }
    }

    /// Past the store, as whoever may write to the database could: without its foreign keys and its triggers.
    /// - Parameters:
    ///   - sql: bytes are `x'00ff'`.
    ///   - bytes: for `?`.
    func tamper(_ sql: String, _ bytes: [UInt8] = []) async throws {
        let sql = sql.replacing("?", with: "x'\(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())'")
        switch backend {
        case .sqlite:
            var configuration = Configuration()
            configuration.foreignKeysEnabled = false
            configuration.busyMode = .timeout(5)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            try await queue.write { try $0.execute(sql: sql) }
            try queue.close()
        #if PostgreSQL
            case .postgres:
                let statements = sql.replacing(/x'([0-9a-f]*)'/) { "'\\x\($0.output.1)'::bytea" }
                try await PostgresServer.shared.query("SET session_replication_role = replica; \(statements)", in: place)
        #endif
        }
    }
}

let now = Timestamp(milliseconds: 1_800_000_000_000)

func makeConnection(_ id: String) -> Connection {
    var settings = ConnectionSettings(name: id, oauth: OAuthSettings(grantType: .authorizationCode))
    settings.oauth.scopes = ["a", "b"]
    settings.variablePatterns = ["callback.shop": .init(kind: .label)]
    return Connection(
        uid: .make(at: now), id: id, settings: settings, clientSecret: Sealed(bytes: [1, 2]), health: .init(state: .ok, since: now), createdAt: now,
        updatedAt: now)
}

func makeGrant(_ connection: Connection, subject: String = "", generation: Int = 1, expiresAt: Timestamp? = nil) -> Grant {
    Grant(
        uid: .make(at: now), connectionUID: connection.uid, subject: subject, accessToken: Sealed(bytes: [1]), refreshToken: Sealed(bytes: [2]), scope: ["a"],
        requestedScope: ["a", "b"], captured: ["callback.shop": "x"], account: "acc", expiresAt: expiresAt, stateSince: now, tokenGeneration: generation,
        createdAt: now)
}

func makeSession(_ connection: Connection, id: String = "cs_1", ticket: [UInt8] = [9]) -> ConnectSession {
    ConnectSession(
        id: id, ticketHash: ticket, connectionUID: connection.uid, subject: "s", options: .init(returnURL: "https://app.example/", completion: .application),
        appName: "app", keyID: "key_1", createdAt: now, expiresAt: now + .seconds(1800))
}
