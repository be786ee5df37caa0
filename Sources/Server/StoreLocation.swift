import Foundation
import SQLiteStore
import Vault

#if PostgreSQL
    import PostgresStore
#endif

/// Where the records are: a file, or a database that many nodes share.
enum StoreLocation: Sendable {
    case sqlite(path: String)
    #if PostgreSQL
        case postgres(DatabaseURL)
    #endif

    /// - Parameter setting: where the text came from, for the error.
    /// - Throws: ``StartError``, without the text: a password may be in it.
    init(parsing text: String, setting: String = "--database-url") throws(StartError) {
        if text.hasPrefix("sqlite:") {
            let path = String(text.dropFirst("sqlite:".count))
            guard !path.isEmpty else { throw StartError("\(setting) names no file", hint: "write sqlite:PATH") }
            self = .sqlite(path: path)
            return
        }
        #if PostgreSQL
            guard DatabaseURL.isOne(text) else { throw StartError("\(setting) must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE") }
            do {
                self = .postgres(try DatabaseURL(text))
            } catch {
                throw StartError("\(setting) \(error.message)", hint: error.hint)
            }
        #else
            throw StartError("\(setting) must be sqlite:PATH", hint: "this program was built without PostgreSQL: build it with the trait PostgreSQL")
        #endif
    }

    var isShared: Bool {
        if case .sqlite = self { false } else { true }
    }

    /// Without a password.
    var shown: String {
        switch self {
        case .sqlite(let path): "sqlite:\(path)"
        #if PostgreSQL
            case .postgres(let url): url.shown
        #endif
        }
    }

    /// For reading and writing, its tables brought to this version's form.
    /// - Throws: ``StoreError``
    func open() async throws -> any Store {
        switch self {
        case .sqlite(let path): try SQLiteStore(path: path)
        #if PostgreSQL
            case .postgres(let url): try await PostgresStore(url)
        #endif
        }
    }

    /// For reading alone, also while servers write to it.
    /// - Throws: ``StoreError``
    func openReadOnly() async throws -> any Store {
        switch self {
        case .sqlite(let path): try SQLiteStore.openReadOnly(path: path)
        #if PostgreSQL
            case .postgres(let url): try await PostgresStore.openReadOnly(url)
        #endif
        }
    }
}

extension ServerConfiguration {
    /// `nil` = the file in the data directory.
    var storeLocation: StoreLocation? {
        get throws(StartError) {
            guard let databaseURL else { return nil }
            return try StoreLocation(parsing: databaseURL, setting: databaseSetting)
        }
    }

    /// Whether its store is its own: then it has a data directory.
    package var isAlone: Bool { databaseURL.map { $0.hasPrefix("sqlite:") } ?? true }
}
