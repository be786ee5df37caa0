import Foundation

/// One row of a store, by the names of its columns. A row that makes no sense is damage, not a trap.
package protocol StoredRow {
    // NULL, and what is of another type, is as good as not there.
    func optionalText(_ column: String) -> String?
    func optionalInteger(_ column: String) -> Int?
    func optionalBytes(_ column: String) -> [UInt8]?
    func optionalBoolean(_ column: String) -> Bool?
}

extension StoredRow {
    package func text(_ column: String) throws(StoreError) -> String {
        guard let value = optionalText(column) else { throw Self.damaged(column) }
        return value
    }
    package func integer(_ column: String) throws(StoreError) -> Int {
        guard let value = optionalInteger(column) else { throw Self.damaged(column) }
        return value
    }
    package func bytes(_ column: String) throws(StoreError) -> [UInt8] {
        guard let value = optionalBytes(column) else { throw Self.damaged(column) }
        return value
    }
    package func boolean(_ column: String) throws(StoreError) -> Bool {
        guard let value = optionalBoolean(column) else { throw Self.damaged(column) }
        return value
    }

    package func time(_ column: String) throws(StoreError) -> Timestamp { Timestamp(milliseconds: Int64(try integer(column))) }
    package func optionalTime(_ column: String) -> Timestamp? { optionalInteger(column).map { Timestamp(milliseconds: Int64($0)) } }
    package func uid(_ column: String) throws(StoreError) -> UID { UID(text: try text(column)) }
    package func optionalUID(_ column: String) -> UID? { optionalText(column).map(UID.init(text:)) }
    package func optionalSealed(_ column: String) -> Sealed? { optionalBytes(column).map(Sealed.init(bytes:)) }

    package func json<T: Decodable>(_ column: String, as type: T.Type = T.self) throws(StoreError) -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(try text(column).utf8))
        } catch {
            throw Self.damaged(column)
        }
    }
    package func optionalJSON<T: Decodable>(_ column: String) throws(StoreError) -> T? { optionalText(column) == nil ? nil : try json(column) }
    package func choice<T: RawRepresentable<String>>(_ column: String, as type: T.Type = T.self) throws(StoreError) -> T {
        guard let value = T(rawValue: try text(column)) else { throw Self.damaged(column) }
        return value
    }

    private static func damaged(_ column: String) -> StoreError { .damaged("a record's \(column) makes no sense") }
}

/// As columns hold what has no column of its own.
package func storedJSON(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
