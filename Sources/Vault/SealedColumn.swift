import OAuth

/// Where each sealed value lives: what its ciphertext is bound to.
extension Keyring.Place {
    package static func clientSecret(of uid: UID) -> Self { .init(table: "connection", uid: uid.text, field: "client_secret") }
    package static func password(of uid: UID) -> Self { .init(table: "connection", uid: uid.text, field: "password") }
    package static func accessToken(_ grant: UID, generation: Int) -> Self {
        .init(table: "grant", uid: grant.text, field: "access_token", generation: generation)
    }
    package static func refreshToken(_ grant: UID, generation: Int) -> Self {
        .init(table: "grant", uid: grant.text, field: "refresh_token", generation: generation)
    }
    package static func pending(stateHash: [UInt8]) -> Self { .init(table: "attempt", uid: Base64URL.encode(stateHash), field: "pending") }
    package static func code(session: String) -> Self { .init(table: "completion", uid: session, field: "code") }
    package static func orphan(_ uid: UID, field: String) -> Self { .init(table: "orphan", uid: uid.text, field: field) }
    package static func webhookSecret(_ id: String) -> Self { .init(table: "webhook", uid: id, field: "secret") }
    package static let activityChain = Self(table: "meta", uid: "activity", field: "chain")
}

/// A column of ciphertexts: how its rows are found, and what each ciphertext is bound to. What reseals, counts and
/// verifies goes by the one list of them, ``all``: a new sealed column needs a line there.
package struct SealedColumn: Sendable {
    /// Whose data key seals it.
    package enum Owner: Sendable {
        /// The connection whose uid this column holds.
        case connection(String)
        /// The connection of the connect session whose id this column holds.
        case session(String)
        /// Nobody: the common data key.
        case nobody
    }

    package let table: String
    package let column: String
    /// The column that names a row.
    package let key: String
    package let owner: Owner
    /// The columns by which one connection's rows are gone through; together they differ from row to row.
    package let order: [String]
    /// The column with the generation that its ciphertexts are bound to.
    package let generation: String?
    /// The column with the uid of the grant that a ciphertext was sealed for, before it was moved here.
    package let origin: String?
    /// The one row that is meant, in a table that holds other things too.
    package let row: String?
    package let place: @Sendable (SealedValue) -> Keyring.Place

    /// What it is called where people read it.
    package var record: String { table == "meta" ? "activity_chain" : table }

    private init(
        _ table: String, _ column: String, key: String, owner: Owner, order: [String]? = nil, generation: String? = nil, origin: String? = nil,
        row: String? = nil, place: @escaping @Sendable (SealedValue) -> Keyring.Place
    ) {
        self.table = table
        self.column = column
        self.key = key
        self.owner = owner
        self.order = order ?? [key]
        self.generation = generation
        self.origin = origin
        self.row = row
        self.place = place
    }

    package static let all: [SealedColumn] = [
        SealedColumn("connection", "client_secret", key: "uid", owner: .connection("uid")) { .clientSecret(of: $0.uid) },
        SealedColumn("connection", "password", key: "uid", owner: .connection("uid")) { .password(of: $0.uid) },
        // In the order of the index that finds a grant: a connection may have a hundred thousand of them.
        SealedColumn(
            "grant", "access_token", key: "uid", owner: .connection("connection_uid"), order: ["subject", "slot"], generation: "token_generation"
        ) { .accessToken($0.uid, generation: $0.generation ?? 0) },
        SealedColumn(
            "grant", "refresh_token", key: "uid", owner: .connection("connection_uid"), order: ["subject", "slot"], generation: "token_generation"
        ) { .refreshToken($0.uid, generation: $0.generation ?? 0) },
        // Tokens of a grant that was revoked keep the seals that they had there.
        SealedColumn(
            "orphan_token", "access_token", key: "uid", owner: .connection("connection_uid"), generation: "generation", origin: "grant_uid"
        ) { value in
            value.origin.map { .accessToken($0, generation: value.generation ?? 0) } ?? .orphan(value.uid, field: "access_token")
        },
        SealedColumn(
            "orphan_token", "refresh_token", key: "uid", owner: .connection("connection_uid"), generation: "generation", origin: "grant_uid"
        ) { value in
            value.origin.map { .refreshToken($0, generation: value.generation ?? 0) } ?? .orphan(value.uid, field: "refresh_token")
        },
        SealedColumn("authorization_attempt", "pending", key: "state_hash", owner: .connection("connection_uid")) { .pending(stateHash: $0.key.bytes) },
        SealedColumn("completion", "code", key: "session_id", owner: .session("session_id")) { .code(session: $0.key.text) },
        SealedColumn("webhook", "secret", key: "id", owner: .nobody) { .webhookSecret($0.key.text) },
        SealedColumn("meta", "value", key: "name", owner: .nobody, row: "activity_chain") { _ in .activityChain },
    ]
}

/// One ciphertext of a ``SealedColumn``, as it was read.
package struct SealedValue: Sendable {
    package enum Key: Sendable, Hashable {
        case text(String)
        case bytes([UInt8])

        /// Fit to show.
        package var text: String {
            switch self {
            case .text(let text): text
            case .bytes(let bytes): Base64URL.encode(bytes)
            }
        }
        package var bytes: [UInt8] {
            switch self {
            case .text(let text): Array(text.utf8)
            case .bytes(let bytes): bytes
            }
        }
    }
    package var key: Key
    /// Where it stands among those it was read with: the next page begins behind the last one's.
    package var position: [Key]
    package var connectionUID: UID?
    package var sealed: Sealed
    package var generation: Int?
    package var origin: UID?

    package init(key: Key, position: [Key], connectionUID: UID?, sealed: Sealed, generation: Int?, origin: UID?) {
        self.key = key
        self.position = position
        self.connectionUID = connectionUID
        self.sealed = sealed
        self.generation = generation
        self.origin = origin
    }

    package var uid: UID { UID(text: key.text) }
}

/// A ciphertext to be put in the place of the one that was read.
package struct SealedReplacement: Sendable {
    package var value: SealedValue
    package var sealed: Sealed
    package init(_ value: SealedValue, with sealed: Sealed) {
        self.value = value
        self.sealed = sealed
    }
}
