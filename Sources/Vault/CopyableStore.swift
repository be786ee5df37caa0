/// A ``Store`` whose rows can be copied as they are: sealed values stay sealed, ids and numbers stay what they are.
package protocol CopyableStore: Store {
    /// In the order of the key, those behind `after`, each in the order of the table's columns.
    func rows(of table: StoredTable, after: [StoredValue]?, limit: Int) async throws -> [[StoredValue]]
    func rowCount(of table: StoredTable) async throws -> Int
    /// Leaves alone what is there; notes in the same transaction how far the copy has come. The next commit that is waited for
    /// brings all before it to stable storage.
    func insert(_ rows: [[StoredValue]], into table: StoredTable, noting mark: CopyMark) async throws
    /// The highest number that a numbered table has given.
    func lastNumber(of table: StoredTable) async throws -> Int64
    /// Numbers that the table gives from now on are above `number`.
    func setLastNumber(of table: StoredTable, to number: Int64) async throws

    /// Takes the store for a copy alone, or goes on holding it: to be called every few seconds.
    /// - Parameter owner: another one's hold ends by itself some seconds after its last call.
    /// - Returns: what stays the same as long as nobody else writes to it.
    /// - Throws: ``CopyError`` when it is in use.
    func hold(for owner: String) async throws -> String
    /// Sets a mark, if the store is still held as it was when ``hold(for:)`` gave this. - Returns: whether it is.
    func setMark(_ mark: some VaultMark, held stamp: String) async throws -> Bool
    func letGo(_ owner: String) async throws
    /// Whether a copy holds it.
    func isHeld() async throws -> Bool
}

/// Why there is no copy: one clear sentence, and what to do.
package struct CopyError: Error, Sendable, Hashable {
    package let message: String
    package let hint: String?
    /// It may go by itself within seconds: another copy holds the store, or one that died.
    package let isPassing: Bool
    package init(_ message: String, hint: String? = nil, isPassing: Bool = false) {
        self.message = message
        self.hint = hint
        self.isPassing = isPassing
    }
}

/// In a store that a copy has begun to fill: how far it is whole. No server may start on it.
package struct CopyMark: VaultMark, Hashable {
    package static let name = "copy"
    /// The contents that are copied, ``StoreDigest/fingerprint``.
    package var source: String
    /// Those before it are copied.
    package var table: String
    /// The last key of the table that is copied; `nil` = none.
    package var after: [StoredValue]?
    package init(source: String, table: String, after: [StoredValue]? = nil) {
        self.source = source
        self.table = table
        self.after = after
    }
}

/// In a store whose contents were moved elsewhere. No server may start on it: its refresh tokens are spent there.
package struct MovedMark: VaultMark, Hashable {
    package static let name = "moved"
    package var at: Timestamp
    /// The other store, as it is shown.
    package var to: String
    package init(at: Timestamp, to: String) {
        self.at = at
        self.to = to
    }
}
