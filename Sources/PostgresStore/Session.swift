import CLibPQ
import Crypto
import Foundation
import Synchronization
import Vault

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// One connection to the database. Belongs to one thread, on which its calls wait.
///
/// Everything waits until a deadline and no longer, whatever the server or the network does: a connection that missed one is
/// closed, and its statement's outcome is for whoever asked to find out.
final class Session {
    private let connection: OpaquePointer
    private let allowsNamedStatements: NamedStatements
    /// What was prepared on this connection.
    private var prepared: Set<String> = []
    /// When the statement that runs has to have ended.
    var deadline: ContinuousClock.Instant
    private(set) var isBroken = false

    /// Blocks for as long as libpq's own `connect_timeout`.
    init(_ url: DatabaseURL, namedStatements: NamedStatements) throws(DatabaseError) {
        _ = Self.forgottenEnvironment
        let names = url.parameters.keys.sorted()
        let opened = Self.withCStrings(names) { names in
            Self.withCStrings(url.parameters.sorted { $0.key < $1.key }.map(\.value)) { values in PQconnectdbParams(names, values, 0) }
        }
        guard let opened else { throw DatabaseError(state: nil, words: "out of memory") }
        connection = opened
        allowsNamedStatements = namedStatements
        deadline = .now + .seconds(10)
        guard PQstatus(connection) == CONNECTION_OK else {
            let error = DatabaseError(connecting: String(cString: PQerrorMessage(connection)))
            PQfinish(connection)
            throw error
        }
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        PQsetnonblocking(connection, 1)
        do throws(DatabaseError) {
            try run("SET lock_timeout = 8000")
            try allowUsualTime()
        } catch {
            PQfinish(connection)
            throw error
        }
    }

    private static func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return (copies.map { UnsafePointer<CChar>($0) } + [nil]).withUnsafeBufferPointer { body($0.baseAddress!) }
    }

    /// Once; nothing may be asked afterwards.
    func close() {
        isBroken = true
        PQfinish(connection)
    }

    /// So that the server, too, gives up what nobody waits for any more. A transaction says its own time.
    func allowUsualTime() throws(DatabaseError) { try run("SET statement_timeout = 9500") }

    /// libpq takes from the environment what it is not told: another address, another service file, options. None of it is meant.
    private static let forgottenEnvironment: Void = {
        for name in ProcessInfo.processInfo.environment.keys where name.hasPrefix("PG") { unsetenv(name) }
    }()

    /// Whether it may be used for other work: nothing of what was begun on it is open.
    var isIdle: Bool { !isBroken && PQtransactionStatus(connection) == PQTRANS_IDLE }

    // MARK: Statements

    func rows(_ sql: String, _ parameters: [any Bindable] = []) throws(DatabaseError) -> [Row] { try answer(to: sql, parameters).rows }
    func row(_ sql: String, _ parameters: [any Bindable] = []) throws(DatabaseError) -> Row? { try answer(to: sql, parameters).rows.first }
    /// How many rows were inserted, updated or deleted.
    func change(_ sql: String, _ parameters: [any Bindable] = []) throws(DatabaseError) -> Int { try answer(to: sql, parameters).count }
    func execute(_ sql: String, _ parameters: [any Bindable] = []) throws(DatabaseError) { _ = try answer(to: sql, parameters) }

    /// Several statements in one text, without parameters and without rows.
    @discardableResult
    func run(_ text: String) throws(DatabaseError) -> Answer {
        guard PQsendQuery(connection, text) == 1 else { throw lost() }
        return try answer()
    }

    /// - Parameter parameters: for `$1`, `$2` …
    func answer(to sql: String, _ parameters: [any Bindable]) throws(DatabaseError) -> Answer {
        let parameters = parameters.map(\.parameter)
        guard allowsNamedStatements.isOn else { return try send(sql, parameters, name: nil) }
        let name = Self.name(sql, parameters)
        if !prepared.contains(name) {
            let types = parameters.map(\.type)
            guard PQsendPrepare(connection, name, sql, Int32(types.count), types) == 1 else { throw lost() }
            try answer()
            prepared.insert(name)
        }
        return try send(sql, parameters, name: name)
    }

    /// By what it says: behind a pooler another client's statement may have the name, and then it is the same one.
    private static func name(_ sql: String, _ parameters: [Parameter]) -> String {
        var hash = SHA256()
        hash.update(data: Data(sql.utf8))
        for parameter in parameters { withUnsafeBytes(of: parameter.type.bigEndian) { hash.update(bufferPointer: $0) } }
        return hash.finalize().prefix(12).reduce(into: "g") { $0 += ($1 < 16 ? "0" : "") + String($1, radix: 16) }
    }

    private func send(_ sql: String, _ parameters: [Parameter], name: String?) throws(DatabaseError) -> Answer {
        let types = parameters.map(\.type)
        let lengths = parameters.map { Int32($0.bytes?.count ?? 0) }
        let formats = parameters.map { _ in Int32(1) }
        // One buffer for all: each value is a place in it.
        let bytes = parameters.compactMap(\.bytes).joined() + [0]
        let sent = bytes.withUnsafeBufferPointer { buffer -> Int32 in
            var place = buffer.baseAddress!
            let values = parameters.map { parameter -> UnsafePointer<CChar>? in
                guard let content = parameter.bytes else { return nil }
                defer { place += content.count }
                return UnsafeRawPointer(place).assumingMemoryBound(to: CChar.self)
            }
            let count = Int32(parameters.count)
            return if let name {
                PQsendQueryPrepared(connection, name, count, values, lengths, formats, 1)
            } else {
                PQsendQueryParams(connection, sql, count, types, values, lengths, formats, 1)
            }
        }
        guard sent == 1 else { throw lost() }
        return try answer()
    }

    // MARK: Waiting

    /// The last answer of what was sent; all of it is read, also behind a failure.
    @discardableResult
    private func answer() throws(DatabaseError) -> Answer {
        while true {
            let left = PQflush(connection)
            if left == 0 { break }
            guard left == 1 else { throw lost() }
            try wait(for: Int16(POLLIN | POLLOUT))
            guard PQconsumeInput(connection) == 1 else { throw lost() }
        }
        var last: OpaquePointer?
        var failure: DatabaseError?
        while true {
            while PQisBusy(connection) == 1 {
                do throws(DatabaseError) {
                    try wait(for: Int16(POLLIN))
                } catch {
                    PQclear(last)
                    throw error
                }
                guard PQconsumeInput(connection) == 1 else {
                    PQclear(last)
                    throw lost()
                }
            }
            guard let result = PQgetResult(connection) else { break }
            PQclear(last)
            last = result
            let status = PQresultStatus(result)
            if status != PGRES_COMMAND_OK, status != PGRES_TUPLES_OK, status != PGRES_EMPTY_QUERY, failure == nil {
                failure = DatabaseError(
                    state: PQresultErrorField(result, Self.sqlState).map { String(cString: $0) },
                    words: PQresultErrorField(result, Self.primaryMessage).map { String(cString: $0) } ?? "the connection was lost")
            }
        }
        guard PQstatus(connection) == CONNECTION_OK else {
            PQclear(last)
            isBroken = true
            throw failure.map { $0.lostConnection() } ?? lost()
        }
        if let failure {
            PQclear(last)
            if failure.endsConnection { isBroken = true }
            if failure.isAboutPrepared { forgetPrepared(failure) }
            throw failure
        }
        guard let last else { throw lost() }
        return Answer(last)
    }

    private static let sqlState = Int32(UInt8(ascii: "C"))
    private static let primaryMessage = Int32(UInt8(ascii: "M"))

    /// A pooler gives this connection another server connection between transactions, or a table changed its form.
    private func forgetPrepared(_ failure: DatabaseError) {
        prepared = []
        if failure.tellsOfPooler { allowsNamedStatements.turnOff() } else { isBroken = true }
    }

    private func wait(for events: Int16) throws(DatabaseError) {
        while true {
            let left = deadline - .now
            guard left > .zero else {
                isBroken = true
                throw DatabaseError(state: nil, words: "the database does not answer", isLost: true)
            }
            var descriptor = pollfd(fd: PQsocket(connection), events: events, revents: 0)
            let ready = poll(&descriptor, 1, Int32(min(left.milliseconds + 1, 60_000)))
            if ready > 0 { return }
            if ready < 0, errno != EINTR { throw lost() }
        }
    }

    private func lost() -> DatabaseError {
        isBroken = true
        return DatabaseError(state: nil, words: "the connection to the database was lost", isLost: true)
    }
}

/// Whether statements keep a name on their connection, so that they are planned once. A pooler that gives each transaction
/// another connection may not bear it; the first that says so turns them off for all.
final class NamedStatements: Sendable {
    private let state = Mutex(true)
    var isOn: Bool { state.withLock { $0 } }
    func turnOff() { state.withLock { $0 = false } }
}
