import Foundation

/// Copies everything that one store holds into another one that is empty, or goes on with such a copy where it ended.
///
/// Nothing is opened: rows go as they are, so no master key is needed. What is judged in the end is what the two stores hold, not
/// what was sent. The source is marked as moved, and only then is the target free to be served from: there is no moment at
/// which a server could start on both.
package struct StoreCopy: Sendable {
    package enum Phase: Sendable { case reading, copying, checking }
    package typealias Progress = @Sendable (_ phase: Phase, _ done: Int, _ total: Int) -> Void

    private static let pageSize = 500
    /// A hold is renewed when it is older than this.
    private static let holdAge: Duration = .seconds(2)
    /// The hold of a copy that died ends within this time.
    private static let patience: Duration = .seconds(8)
    /// They say something of the store itself, not of what it holds.
    private static let ownNotes: Set = [RunningMark.name, CopyMark.name, MovedMark.name]

    private let source: Held
    private let target: Held
    private let progress: Progress

    package init(from source: any CopyableStore, to target: any CopyableStore, progress: @escaping Progress) {
        self.source = Held(source, "the source")
        self.target = Held(target, "the target")
        self.progress = progress
    }

    /// - Parameter place: the target, as the source's mark names it.
    /// - Returns: what both hold.
    /// - Throws: ``CopyError``, ``StoreError``. What was copied stays, and a rerun goes on with it.
    package func run(at now: Timestamp, to place: String) async throws -> StoreDigest {
        try await holding {
            let begun = try await begunCopy()
            let wanted = try await digest(of: source, .reading)
            if let begun, begun.source != wanted.fingerprint {
                throw CopyError(
                    "the target holds an unfinished copy of something else, or of this source as it was before a server ran on it",
                    hint: "empty the target, then copy anew")
            }
            let mark = begun ?? CopyMark(source: wanted.fingerprint, table: StoredTable.all[0].name)
            if begun == nil { try await target.store.setMark(mark) }
            Failpoint.pass("copy.begun")
            try await copy(from: mark, rows: wanted.rows)
            let found = try await digest(of: target, .checking)
            guard found == wanted else {
                let wrong = zip(wanted.tables, found.tables).filter { $0 != $1 }.map(\.0.name)
                throw CopyError("the copy differs from the source in \(wrong.joined(separator: ", "))", hint: "empty the target, then copy anew")
            }
            try await source.requireUntouched()
            try await target.requireUntouched()
            Failpoint.pass("copy.checked")
            try await source.setMark(MovedMark(at: now, to: place))
            Failpoint.pass("copy.moved")
            try await target.store.changeMeta([CopyMark.name: nil])
            return found
        }
    }

    /// Copies nothing.
    package func compare() async throws -> (source: StoreDigest, target: StoreDigest) {
        try await holding {
            let digests = (try await digest(of: source, .reading), try await digest(of: target, .checking))
            try await source.requireUntouched()
            try await target.requireUntouched()
            return digests
        }
    }

    /// - Throws: ``CopyError`` where there is nothing to compare with.
    package func requireCopied() async throws {
        guard try await !source.store.dataKeys().isEmpty else {
            throw CopyError("the source holds no vault", hint: "no server has run on it; name another")
        }
        guard try await target.store.mark(CopyMark.self) == nil else {
            throw CopyError("the copy in the target is not finished", hint: "run the same command without --verify: it goes on where it ended")
        }
        guard try await !target.store.dataKeys().isEmpty else {
            throw CopyError("nothing was copied there: the target holds no vault", hint: "run the same command without --verify")
        }
    }

    /// Both are let go, however it ends; a hold that cannot be given back ends by itself.
    private func holding<R>(_ body: () async throws -> R) async throws -> R {
        do {
            try await source.take(patience: Self.patience)
            try await target.take(patience: Self.patience)
            let keepers = [source.keeper(every: Self.holdAge), target.keeper(every: Self.holdAge)]
            defer { for keeper in keepers { keeper.cancel() } }
            let result = try await body()
            try await source.letGo()
            try await target.letGo()
            return result
        } catch {
            try? await source.letGo()
            try? await target.letGo()
            throw error
        }
    }

    // MARK: Before

    /// - Returns: the mark of the copy that was begun in the target; `nil` = the target is empty.
    private func begunCopy() async throws -> CopyMark? {
        if try await source.store.mark(CopyMark.self) != nil {
            throw CopyError("the source is a copy itself that is not finished", hint: "finish that one first")
        }
        guard try await !source.store.dataKeys().isEmpty else {
            throw CopyError("the source holds no vault", hint: "no server has run on it; name another")
        }
        if let begun: CopyMark = try await target.store.mark() { return begun }
        if let moved: MovedMark = try await source.store.mark() {
            throw CopyError(
                "the source was moved to \(moved.to) at \(moved.at.rfc3339)",
                hint: "copy from there; if that one is lost, `grantee vault reopen` makes this one a backup of that time")
        }
        for table in StoredTable.all {
            let rows = try await target.store.rows(of: table, after: nil, limit: Self.ownNotes.count + 1)
            guard rows.allSatisfy({ Self.isOwnNote($0, of: table) }) else {
                throw CopyError("the target is not empty: there is something in \(table.name)", hint: "name a new file, or an empty database")
            }
        }
        return nil
    }

    private static func isOwnNote(_ row: [StoredValue], of table: StoredTable) -> Bool {
        guard table.name == "meta", case .text(let name)? = row.first else { return false }
        return ownNotes.contains(name)
    }

    // MARK: Copying

    private func copy(from mark: CopyMark, rows total: Int) async throws {
        guard let first = StoredTable.all.firstIndex(where: { $0.name == mark.table }) else {
            throw CopyError("the copy in the target was begun by another version", hint: "go on with that one, or empty the target")
        }
        var done = 0
        for table in StoredTable.all[..<first] { done += try await target.store.rowCount(of: table) }
        progress(.copying, done, total)
        for table in StoredTable.all[first...] {
            var mark = table.name == mark.table ? mark : CopyMark(source: mark.source, table: table.name)
            while true {
                let page = try await source.store.rows(of: table, after: mark.after, limit: Self.pageSize)
                guard let last = page.last else { break }
                mark.after = Array(last.prefix(table.key.count))
                try await target.store.insert(page.filter { !Self.isOwnNote($0, of: table) }, into: table, noting: mark)
                Failpoint.pass("copy.page")
                done += page.count
                progress(.copying, done, total)
            }
            if table.isNumbered { try await target.store.setLastNumber(of: table, to: try await source.store.lastNumber(of: table)) }
            Failpoint.pass("copy.table")
        }
    }

    // MARK: Comparing

    private func digest(of held: Held, _ phase: Phase) async throws -> StoreDigest {
        var total = 0
        for table in StoredTable.all { total += try await held.store.rowCount(of: table) }
        var done = 0
        progress(phase, done, total)
        var tables: [StoreDigest.Table] = []
        for table in StoredTable.all {
            var hash = RowHash()
            var after: [StoredValue]?
            while true {
                let page = try await held.store.rows(of: table, after: after, limit: Self.pageSize)
                guard let last = page.last else { break }
                for row in page where !Self.isOwnNote(row, of: table) { hash.add(row) }
                after = Array(last.prefix(table.key.count))
                done += page.count
                progress(phase, done, total)
            }
            let number = table.isNumbered ? try await held.store.lastNumber(of: table) : nil
            tables.append(.init(name: table.name, rows: hash.rows, lastNumber: number, sha256: hash.sha256))
        }
        return StoreDigest(tables: tables)
    }
}
