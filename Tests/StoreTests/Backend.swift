import Foundation
import SQLiteStore
import Vault

/// Every store keeps every promise: each test of the suite takes a backend.
enum Backend: CaseIterable, Sendable {
    case sqlite

    func open() throws -> Opened {
        switch self {
        case .sqlite:
            let folder = FileManager.default.temporaryDirectory.appending(path: "store-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            return Opened(store: try SQLiteStore(path: folder.appending(path: "t.sqlite").path), folder: folder)
        }
    }
}

final class Opened: Sendable {
    let store: any Store
    let folder: URL
    init(store: any Store, folder: URL) {
        self.store = store
        self.folder = folder
    }
    deinit { try? FileManager.default.removeItem(at: folder) }

    /// All bytes of all files: where a marker would be found.
    func bytes() throws -> Data {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil).reduce(into: Data()) { $0.append(try Data(contentsOf: $1)) }
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
