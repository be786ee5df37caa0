import Crypto
import Foundation

/// What a store holds, in short: two stores have the same digest when every row of every table is the same.
package struct StoreDigest: Sendable, Hashable {
    package struct Table: Sendable, Hashable {
        package let name: String
        package let rows: Int
        /// The highest number that it has given, where it gives any.
        package let lastNumber: Int64?
        /// Of its rows in the order of the key, SHA-256 in hexadecimal.
        package let sha256: String
    }

    /// In the order of ``StoredTable/all``.
    package let tables: [Table]

    package var rows: Int { tables.reduce(0) { $0 + $1.rows } }

    /// All of it in one word.
    package var fingerprint: String {
        var hash = SHA256()
        for table in tables { hash.update(data: Data("\(table.name) \(table.rows) \(table.lastNumber ?? 0) \(table.sha256)\n".utf8)) }
        return hexadecimal(hash.finalize())
    }

    package init(tables: [Table]) { self.tables = tables }
}

/// Takes the rows of one table, one after the other.
struct RowHash {
    private var hash = SHA256()
    private(set) var rows = 0

    mutating func add(_ row: [StoredValue]) {
        rows += 1
        for value in row { add(value) }
    }

    /// No two rows are the same bytes: each value begins with its kind, and what has no fixed length with its length.
    private mutating func add(_ value: StoredValue) {
        switch value {
        case .null: hash.update(data: [0])
        case .integer(let number): add(1, number)
        case .text(let text):
            add(2, Int64(text.utf8.count))
            hash.update(data: Data(text.utf8))
        case .bytes(let bytes):
            add(3, Int64(bytes.count))
            hash.update(data: bytes)
        }
    }

    private mutating func add(_ kind: UInt8, _ number: Int64) {
        hash.update(data: [kind])
        withUnsafeBytes(of: number.bigEndian) { hash.update(bufferPointer: $0) }
    }

    var sha256: String { hexadecimal(hash.finalize()) }
}

private func hexadecimal(_ digest: SHA256Digest) -> String { digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
