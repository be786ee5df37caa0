import CLibPQ
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

struct Row: StoredRow {
    fileprivate let answer: Answer
    fileprivate let number: Int32

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

    private static func isOther(_ type: UInt32) -> Bool { [TypeID.bool, TypeID.bytea, TypeID.int8, TypeID.int4].contains(type) }
}
