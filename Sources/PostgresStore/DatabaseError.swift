import Vault

/// What PostgreSQL or libpq says of a statement that failed. Its words may hold values: they are not shown to anybody.
struct DatabaseError: Error {
    /// Five characters; `nil` when the server did not say.
    let state: String?
    let words: String
    /// Nothing more comes over this connection.
    let isLost: Bool

    init(state: String?, words: String, isLost: Bool = false) {
        self.state = state
        self.words = words
        self.isLost = isLost
    }

    /// No connection came about. libpq gives no code for that; of its words only those are used that are known.
    init(connecting words: String) {
        let known: [(String, String)] = [
            ("too many clients", "53300"), ("remaining connection slots", "53300"), ("too many connections", "53300"),
            ("no more connections allowed", "53300"), ("password authentication failed", "28P01"), ("no password supplied", "28P01"),
            ("does not exist", "3D000"), ("certificate verify failed", "08P01"), ("does not match host name", "08P01"), ("root certificate", "08P01"),
            ("does not support SSL", "08P01"), ("session is read-only", "25006"), ("session is not read-write", "25006"), ("pg_hba.conf", "28000"),
        ]
        self.init(state: known.first { words.contains($0.0) }?.1 ?? "08001", words: words, isLost: true)
    }

    func lostConnection() -> DatabaseError { DatabaseError(state: state, words: words, isLost: true) }

    /// The transaction may be done again: another one was in its way.
    var isConflictOfTransactions: Bool { state == "40001" || state == "40P01" }
    /// This side stood still in the middle of a transaction: the process was frozen, or had no processor.
    var wasIdleInTransaction: Bool { state == "25P03" }
    var isUniqueViolation: Bool { state == "23505" }
    var hasTooManyConnections: Bool { state == "53300" }
    var isAboutPrepared: Bool { tellsOfPooler || state == "0A000" }
    var tellsOfPooler: Bool { state == "26000" || state == "42P05" }
    /// A server that stops, that became a standby, or that a pooler put in its place.
    var endsConnection: Bool { isLost || state?.hasPrefix("57P0") == true || state?.hasPrefix("08") == true || state == "25006" || state == "25P03" }

    var asStoreError: StoreError {
        switch state {
        case "23505", "23503", "23514", "23502": .conflict
        case "53100": .unavailable("the disk of the database is full")
        case "53300": .unavailable("the database takes no more connections")
        case "53200": .unavailable("the database has no more memory")
        case "57014": .unavailable("the database took too long")
        case "55P03": .unavailable("another transaction was in the way for too long")
        case "25006": .unavailable("the database takes no writes")
        case "28P01", "28000": .unavailable("the database refuses the user or the password")
        case "3D000": .unavailable("the database or the user does not exist")
        case "08P01": .unavailable("the database does not prove who it is: its certificate was not accepted")
        case "42501": .unavailable("the database's user may not do this")
        case "XX001", "XX002": .damaged("the database is damaged")
        case let state? where !endsConnection: .unavailable("PostgreSQL answers \(state)")
        default: .unavailable("the database does not answer")
        }
    }
}
