package import Vault
/// The Store on SQLite: WAL, synchronous=FULL, one file.
package final class SQLiteStore {
    /// - Throws: ``StoreError``
    package init(path: String) throws { fatalError("stub") }
}
