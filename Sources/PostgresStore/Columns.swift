import Vault

/// A record as a row: the value of each column. Statements name their columns, so that a newer version may add some.
struct Columns: ExpressibleByDictionaryLiteral, Sendable {
    let names: [String]
    let values: [any Bindable & Sendable]

    init(dictionaryLiteral elements: (String, any Bindable & Sendable)...) {
        names = elements.map(\.0)
        values = elements.map(\.1)
    }

    /// For `INSERT INTO …`: the columns, and `$1`, `$2` … for their values.
    var insertion: String {
        "(\(names.joined(separator: ", "))) VALUES (\(names.indices.map { "$\($0 + 1)" }.joined(separator: ", ")))"
    }

    /// For `UPDATE … SET`: all but the first column, the key, with the places that ``insertion`` gives their values.
    var assignments: String { names.indices.dropFirst().map { "\(names[$0]) = $\($0 + 1)" }.joined(separator: ", ") }

    /// For `ON CONFLICT … DO UPDATE SET`: all but the first column, the key, as they were to be inserted.
    var replacement: String { names.dropFirst().map { "\($0) = excluded.\($0)" }.joined(separator: ", ") }
}
