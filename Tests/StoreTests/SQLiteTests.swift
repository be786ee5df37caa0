import Foundation
import GRDB
import SQLiteStore
import Testing
import Vault

@Suite struct SQLiteTests {
    private func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appending(path: "sqlite-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        return folder
    }

    @Test func everythingIsThereAfterReopening() async throws {
        let path = try folder().appending(path: "t.sqlite").path
        let store = try SQLiteStore(path: path)
        try await store.insert(makeConnection("a"))
        try await store.close()
        #expect(try await SQLiteStore(path: path).connection(id: "a") != nil)
    }

    @Test func filesAreTheOwnersOnly() async throws {  // SEC-55
        let folder = try folder()
        let store = try SQLiteStore(path: folder.appending(path: "t.sqlite").path)
        try await store.insert(makeConnection("a"))
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names.count == 3)
        for name in names {
            let mode = try FileManager.default.attributesOfItem(atPath: folder.appending(path: name).path)[.posixPermissions] as? Int
            #expect(mode == 0o600, "\(name)")
        }
    }

    @Test func aFileThatIsNoDatabaseIsRefusedInWords() throws {
        let path = try folder().appending(path: "t.sqlite").path
        try Data(String(repeating: "not a database ", count: 500).utf8).write(to: URL(filePath: path))
        #expect(throws: StoreError.damaged("the file is not a SQLite database")) { try SQLiteStore(path: path) }
        #expect(throws: StoreError.unavailable("the database path is a folder")) { try SQLiteStore(path: folder().path) }
    }

    @Test func aNewerSchemaIsRefused() async throws {
        let path = try folder().appending(path: "t.sqlite").path
        try await SQLiteStore(path: path).close()
        try await DatabaseQueue(path: path).write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('v9-future')") }
        #expect(throws: StoreError.newerSchema("v9-future")) { try SQLiteStore(path: path) }
    }

    @Test func whatWasDeletedIsInNoFile() async throws {  // SEC-53
        let opened = try await Backend.sqlite.open()
        var connection = makeConnection("a")
        connection.clientSecret = Sealed(bytes: Array("MARKER-IN-A-ROW".utf8))
        try await opened.store.insert(connection)
        #expect(try opened.bytes().range(of: Data("MARKER-IN-A-ROW".utf8)) != nil)
        try await opened.store.deleteConnection(connection.uid)
        #expect(try opened.bytes().range(of: Data("MARKER-IN-A-ROW".utf8)) == nil)
    }
}

@Suite struct DataDirectoryTests {
    private func path() -> String { FileManager.default.temporaryDirectory.appending(path: "data-\(UUID().uuidString)").path }

    @Test func keysAreMadeOnceAndForTheOwnerOnly() throws {
        let path = path()
        let first: [String]
        do {
            let directory = try DataDirectory(path: path)
            first = [try directory.masterKeys(databasePath: directory.databasePath), try directory.adminKey { "k" }]
            for name in ["master.key", "admin.key", "lock"] {
                #expect(try FileManager.default.attributesOfItem(atPath: path + "/" + name)[.posixPermissions] as? Int == 0o600)
            }
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o700)
        }
        let again = try DataDirectory(path: path)
        #expect([try again.masterKeys(databasePath: again.databasePath), try again.adminKey { "other" }] == first)
    }

    @Test func aSecondServerIsRefused() throws {
        let path = path()
        let first = try DataDirectory(path: path)
        let error = #expect(throws: DataDirectoryError.self) { try DataDirectory(path: path) }
        #expect(error?.message.contains("another server") == true)
        _ = first.path
    }

    @Test func anOpenFolderOrKeyIsRefused() throws {
        let path = path()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o777])
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        #expect(throws: DataDirectoryError.self) { try DataDirectory(path: path) }
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        let directory = try DataDirectory(path: path)
        _ = try directory.masterKeys(databasePath: directory.databasePath)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path + "/master.key")
        #expect(throws: DataDirectoryError.self) { try directory.masterKeys(databasePath: directory.databasePath) }
    }

    @Test func noNewKeyIsMadeForAnOldDatabase() throws {
        let directory = try DataDirectory(path: path())
        _ = FileManager.default.createFile(atPath: directory.databasePath, contents: Data([1]))
        let error = #expect(throws: DataDirectoryError.self) { try directory.masterKeys(databasePath: directory.databasePath) }
        #expect(error?.message.contains("missing") == true)
    }
}
