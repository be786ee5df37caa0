import Vault

/// What keeps a database from being opened, where it can be told. Its words are those of ``StoreError/unavailable(_:)``; whoever
/// starts a server finds what to do by them.
package enum DatabaseTrouble: String, Sendable, CaseIterable {
    case unknownName = "the database does not answer: its host's name is not known"
    case refused = "the database does not answer: nobody listens at its host and port"
    case noSocket = "the database does not answer: it has no socket there"
    case silent = "the database does not answer"
    case noTLS = "the server speaks no TLS"
    case unknownAuthority = "the server's certificate is of an authority that is not known here"
    case wrongName = "the server's certificate is for another host"
    case noRoots = "the file of sslrootcert holds no certificate"
    case badParameter = "a parameter of the database URL has a value that cannot be"
    case wrongPassword = "the database refuses the user or the password"
    case notAdmitted = "the database admits nobody with this user, database and address"
    case noSuchDatabase = "the database does not exist"
    case noSuchUser = "the database's user does not exist"
    case mayNotConnect = "the user has no right to connect to the database"
    case mayNotUse = "the database's user may not do this: a right is missing"
    case noSchema = "the database has no schema that its user may make tables in"
    case full = "the database takes no more connections"
    case readOnly = "the database takes no writes"
    case wrongEncoding = "the database's encoding is not UTF8"
    case tooOld = "PostgreSQL is older than version 13"

    var asStoreError: StoreError { .unavailable(rawValue) }

    /// What to do about it.
    package var hint: String {
        switch self {
        case .unknownName: "check the host in the database URL, and that this machine can resolve it"
        case .refused: "check host and port in the database URL, and that PostgreSQL runs there and listens on that address"
        case .noSocket: "check the folder in the database URL's host=, and that PostgreSQL runs on this machine"
        case .silent: "check that PostgreSQL runs there, and that no firewall is in between"
        case .noTLS: "turn it on at the server (ssl = on, with a certificate): to another machine nothing is sent without TLS"
        case .unknownAuthority: "name the certificate of the authority that signed it with sslrootcert=FILE in the database URL"
        case .wrongName: "write the host in the database URL as the certificate has it; an address can be given beside it with hostaddr="
        case .noRoots: "name a PEM file: -----BEGIN CERTIFICATE-----"
        case .badParameter: "check what stands behind the ? of the database URL"
        case .wrongPassword: "check the user and the password in the database URL"
        case .notAdmitted: "add a line for them to the server's pg_hba.conf"
        case .noSuchDatabase: "make it with `createdb`, or check the database's name in the URL"
        case .noSuchUser: "make it with `createuser`, or check the user in the database URL"
        case .mayNotConnect: "as its owner: GRANT CONNECT ON DATABASE … TO …"
        case .mayNotUse:
            "let the user own the database, or as its owner: GRANT USAGE, CREATE ON SCHEMA public TO …; docs/operations.md has the whole of it"
        case .noSchema: "as the database's owner: CREATE SCHEMA … AUTHORIZATION …, in the user's search_path; docs/operations.md has the whole of it"
        case .full: "raise max_connections at the server, or set a smaller pool_size in the database URL of each node"
        case .readOnly: "name the primary: a standby takes no writes"
        case .wrongEncoding: "make one with `createdb --encoding UTF8 --template template0`"
        case .tooOld: "upgrade PostgreSQL"
        }
    }

    /// By libpq's words when no connection came about: it gives no code. Those of several hosts come together, and what says most
    /// is looked for first.
    init?(connecting words: String) {
        let known: [(String, DatabaseTrouble)] = [
            ("too many clients", .full), ("remaining connection slots", .full), ("too many connections", .full), ("no more connections allowed", .full),
            ("password authentication failed", .wrongPassword), ("no password supplied", .wrongPassword), ("authentication failed for user", .wrongPassword),
            ("permission denied for database", .mayNotConnect), ("is not permitted to log in", .wrongPassword),
            ("invalid port number", .badParameter), ("connection option \"", .badParameter),
            ("certificate verify failed", .unknownAuthority), ("does not match host name", .wrongName), ("host name from server certificate", .wrongName),
            ("root certificate", .noRoots), ("does not support SSL", .noTLS), ("pg_hba.conf", .notAdmitted),
            ("session is read-only", .readOnly), ("session is not read-write", .readOnly),
            ("could not translate host name", .unknownName), ("could not parse network address", .badParameter),
        ]
        if let found = known.first(where: { words.contains($0.0) }) {
            self = found.1
        } else if words.contains(/invalid (\w+ value|SSL protocol version)/) {
            self = .badParameter
        } else if words.contains(/database "[^"]*" does not exist/) {
            self = .noSuchDatabase
        } else if words.contains(/role "[^"]*" does not exist/) {
            self = .noSuchUser
        } else if words.contains(/socket "[^"]*" failed: (No such file|Connection refused)/) {
            self = .noSocket
        } else if words.contains("Connection refused") {
            self = .refused
        } else {
            return nil
        }
    }

    /// As the server itself numbers it; for counting.
    var state: String {
        switch self {
        case .full: "53300"
        case .wrongPassword: "28P01"
        case .notAdmitted, .noSuchUser: "28000"
        case .noSuchDatabase: "3D000"
        case .mayNotConnect, .mayNotUse: "42501"
        case .noSchema: "3F000"
        case .noTLS, .unknownAuthority, .wrongName, .noRoots: "08P01"
        case .readOnly: "25006"
        case .unknownName, .refused, .noSocket, .silent, .badParameter, .wrongEncoding, .tooOld: "08001"
        }
    }
}
