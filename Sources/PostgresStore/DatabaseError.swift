import Vault

/// What PostgreSQL or libpq says of a statement that failed. Its words may hold values: they are not shown to anybody.
struct DatabaseError: Error {
    /// Five characters; `nil` when the server did not say.
    let state: String?
    let words: String
    /// Nothing more comes over this connection.
    let isLost: Bool

    /// Where it is known what kept a connection from coming about.
    let trouble: DatabaseTrouble?

    init(state: String?, words: String, isLost: Bool = false, trouble: DatabaseTrouble? = nil) {
        self.state = state
        self.words = words
        self.isLost = isLost
        self.trouble = trouble
    }

    /// No connection came about. libpq gives no code for that; of its words only those are used that are known.
    init(connecting words: String) {
        let trouble = DatabaseTrouble(connecting: words)
        self.init(state: trouble?.state ?? "08001", words: words, isLost: true, trouble: trouble)
    }

    func lostConnection() -> DatabaseError { DatabaseError(state: state, words: words, isLost: true, trouble: trouble) }

    /// The transaction may be done again: another one was in its way.
    var isConflictOfTransactions: Bool { state == "40001" || state == "40P01" }
    /// This side stood still in the middle of a transaction: the process was frozen, or had no processor.
    var wasIdleInTransaction: Bool { state == "25P03" }
    var isUniqueViolation: Bool { state == "23505" }
    var hasTooManyConnections: Bool { state == "53300" }
    var isAboutPrepared: Bool { tellsOfPooler || isStalePlan }
    /// A table has other columns than when the statement was planned.
    var isStalePlan: Bool { state == "0A000" }
    var tellsOfPooler: Bool { state == "26000" || state == "42P05" }
    /// A server that stops, that became a standby, or that a pooler put in its place.
    var endsConnection: Bool { isLost || state?.hasPrefix("57P0") == true || state?.hasPrefix("08") == true || state == "25006" || state == "25P03" }

    var asStoreError: StoreError {
        if let trouble { return trouble.asStoreError }
        return switch state {
        case "23505", "23503", "23514", "23502": .conflict
        case "53100": .unavailable("the disk of the database is full")
        case "53300": DatabaseTrouble.full.asStoreError
        case "53200": .unavailable("the database has no more memory")
        case "57014": .unavailable("the database took too long")
        case "55P03": .unavailable("another transaction was in the way for too long")
        case "25006": DatabaseTrouble.readOnly.asStoreError
        case "28P01", "28000": DatabaseTrouble.wrongPassword.asStoreError
        case "3D000": DatabaseTrouble.noSuchDatabase.asStoreError
        case "42501": DatabaseTrouble.mayNotUse.asStoreError
        case "3F000": DatabaseTrouble.noSchema.asStoreError
        case "XX001", "XX002": .damaged("the database is damaged")
        case let state? where !endsConnection: .unavailable("PostgreSQL answers \(state)")
        default: DatabaseTrouble.silent.asStoreError
        }
    }
}
