import CLibPQ
import Foundation
import Vault

/// The answer to a statement.
final class Answer {
    private let result: OpaquePointer
    private lazy var columns: [String: Int32] = {
        let names = (0..<PQnfields(result)).map { (String(cString: PQfname(result, $0)), $0) }
        return Dictionary(names) { first, _ in first }
    }()

    /// Takes the result over.
    init(_ result: OpaquePointer) { self.result = result }
    deinit { PQclear(result) }

    var rows: [Row] { (0..<PQntuples(result)).map { Row(answer: self, number: $0) } }

    /// How many rows the statement inserted, updated, deleted or returned.
    var count: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

    /// `COMMIT`, or `ROLLBACK` where nothing could be committed.
    var command: String { String(cString: PQcmdStatus(result)) }

    fileprivate func content(_ row: Int32, _ column: String) -> (type: UInt32, bytes: UnsafeRawBufferPointer)? {
        guard let number = columns[column], PQgetisnull(result, row, number) == 0, let start = PQgetvalue(result, row, number) else { return nil }
        return (PQftype(result, number), UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, number))))
    }
}

/// One row, by the names of its columns. A row that makes no sense is damage, not a trap.
struct Row {
    fileprivate let answer: Answer
    fileprivate let number: Int32

    func text(_ column: String) throws(StoreError) -> String {
        guard let value = optionalText(column) else { throw Self.damaged(column) }
        return value
    }
    func integer(_ column: String) throws(StoreError) -> Int {
        guard let value = optionalInteger(column) else { throw Self.damaged(column) }
        return value
    }
    func bytes(_ column: String) throws(StoreError) -> [UInt8] {
        guard let value = optionalBytes(column) else { throw Self.damaged(column) }
        return value
    }
    func boolean(_ column: String) throws(StoreError) -> Bool {
        guard let value = optionalBoolean(column) else { throw Self.damaged(column) }
        return value
    }

    /// What is of another type is as good as not there.
    func optionalText(_ column: String) -> String? {
        guard let (type, bytes) = answer.content(number, column), !Self.isOther(type) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
    func optionalInteger(_ column: String) -> Int? {
        guard let (type, bytes) = answer.content(number, column) else { return nil }
        switch type {
        case TypeID.int8 where bytes.count == 8: return Int(Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)))
        case TypeID.int4 where bytes.count == 4: return Int(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
        default: return nil
        }
    }
    func optionalBytes(_ column: String) -> [UInt8]? {
        guard let (type, bytes) = answer.content(number, column), type == TypeID.bytea else { return nil }
        return Array(bytes)
    }
    func optionalBoolean(_ column: String) -> Bool? {
        guard let (type, bytes) = answer.content(number, column), type == TypeID.bool else { return nil }
        return bytes.first == 1
    }

    func time(_ column: String) throws(StoreError) -> Timestamp { Timestamp(milliseconds: Int64(try integer(column))) }
    func optionalTime(_ column: String) -> Timestamp? { optionalInteger(column).map { Timestamp(milliseconds: Int64($0)) } }
    func uid(_ column: String) throws(StoreError) -> UID { UID(text: try text(column)) }
    func optionalUID(_ column: String) -> UID? { optionalText(column).map(UID.init(text:)) }
    func optionalSealed(_ column: String) -> Sealed? { optionalBytes(column).map(Sealed.init(bytes:)) }

    func json<T: Decodable>(_ column: String, as type: T.Type = T.self) throws(StoreError) -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(try text(column).utf8))
        } catch {
            throw Self.damaged(column)
        }
    }
    func optionalJSON<T: Decodable>(_ column: String) throws(StoreError) -> T? { optionalText(column) == nil ? nil : try json(column) }
    func choice<T: RawRepresentable<String>>(_ column: String, as type: T.Type = T.self) throws(StoreError) -> T {
        guard let value = T(rawValue: try text(column)) else { throw Self.damaged(column) }
        return value
    }

    private static func isOther(_ type: UInt32) -> Bool { [TypeID.bool, TypeID.bytea, TypeID.int8, TypeID.int4].contains(type) }
    private static func damaged(_ column: String) -> StoreError { .damaged("a record's \(column) makes no sense") }
}

func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
