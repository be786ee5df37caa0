#if PostgreSQL
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// The log may be large: whatever it is asked, one index leads.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresActivityTests {
        struct Question: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let filter: ActivityFilter
            /// Any of them.
            let indexes: [String]
        }

        private static let questions = [
            Question(testDescription: "all", filter: .init(), indexes: ["activity_pkey"]),
            Question(testDescription: "connection", filter: .init(connection: "c1"), indexes: ["activity_connection"]),
            Question(testDescription: "subject", filter: .init(subject: "s1"), indexes: ["activity_subject"]),
            Question(testDescription: "key", filter: .init(key: "key_1"), indexes: ["activity_key"]),
            Question(testDescription: "rare action", filter: .init(action: "grant.created"), indexes: ["activity_action"]),
            Question(testDescription: "rare actions", filter: .init(actions: ["grant.created", "grant.refreshed"]), indexes: ["activity_action"]),
            Question(testDescription: "frequent action", filter: .init(action: "token.read"), indexes: ["activity_pkey"]),
            Question(testDescription: "failure", filter: .init(result: "provider_down"), indexes: ["activity_failed"]),
            Question(testDescription: "success", filter: .init(result: "ok"), indexes: ["activity_pkey"]),
            Question(testDescription: "key of a connection", filter: .init(connection: "c1", key: "key_1"), indexes: ["activity_key", "activity_connection"]),
            Question(testDescription: "subject's calls", filter: .init(subject: "s1", action: "token.read"), indexes: ["activity_subject"]),
        ]

        /// Of many entries some match, none of them among the newest: an index that does not lead to them reads everything.
        private static let filling = """
            INSERT INTO activity (uid, at, action, connection_uid, connection, subject, key, result, count)
            SELECT lpad(n::text, 20, '0'), n,
                CASE WHEN n > 15000 THEN 'token.read' WHEN n % 100 = 0 THEN 'grant.refreshed' WHEN n % 100 = 50 THEN 'grant.created' ELSE 'token.read' END,
                'c', CASE WHEN n > 15000 THEN 'c0' ELSE 'c' || n % 20 END, CASE WHEN n > 15000 THEN 's0' ELSE 's' || n % 500 END,
                CASE WHEN n > 15000 THEN 'key_0' ELSE 'key_' || n % 5 END, CASE WHEN n < 15000 AND n % 1000 = 1 THEN 'provider_down' ELSE 'ok' END, 1
            FROM generate_series(1, 20000) AS n;
            ANALYZE activity
            """

        @Test("Each question is answered along an index, also by a plan that does not know its values", arguments: [false, true])
        func plans(isGeneric: Bool) async throws {
            try await withDatabase { url, server in
                let store = try await PostgresStore(DatabaseURL(url))
                try await server.query(Self.filling, in: url)
                let session = try rawSession(url)
                defer { session.close() }
                try session.run("SET plan_cache_mode = \(isGeneric ? "force_generic_plan" : "force_custom_plan")")
                for (number, question) in Self.questions.enumerated() {
                    for before in [nil, UID(text: "00000000000000010000")] {
                        session.deadline = .now + .seconds(60)
                        let query = ActivityQuery(question.filter, before: before, limit: 50)
                        // A statement that was prepared forgets its values; one that is explained with them does not.
                        let name = "question\(number)_\(before == nil ? 0 : 1)"
                        if isGeneric { try session.run("PREPARE \(name) AS \(query.sql)") }
                        let nothing = query.parameters.map { _ in "NULL" }.joined(separator: ", ")
                        let explained =
                            isGeneric
                            ? try session.rows("EXPLAIN (COSTS OFF) EXECUTE \(name)(\(nothing))")
                            : try session.rows("EXPLAIN (COSTS OFF) " + query.sql, query.parameters)
                        let plan = try explained.map { try $0.text("QUERY PLAN") }
                        // Few rows are sorted rather than read in order: along the same index.
                        let isLed = question.indexes.contains { index in
                            plan.contains { $0.contains("using \(index) on activity") || $0.hasSuffix("Index Scan on \(index)") }
                        }
                        #expect(isLed && !plan.contains { $0.contains("Seq Scan") }, "\(question.testDescription): \(plan)")
                        // What is found is what a filter by hand finds, the newest first.
                        let found = try await store.activity(filter: question.filter, before: before, limit: 50)
                        #expect(found.map(\.uid) == found.map(\.uid).sorted(by: >))
                        #expect(found.allSatisfy { $0.uid < before ?? UID(text: "1") }, "\(question.testDescription)")
                        let all = try await store.activity(filter: .init(), before: before, limit: 20_000)
                        #expect(found == Array(all.filter { Self.matches($0, question.filter) }.prefix(50)), "\(question.testDescription)")
                    }
                }
                try await store.close()
            }
        }

        private static func matches(_ entry: Activity, _ filter: ActivityFilter) -> Bool {
            func isSo(_ wanted: String?, _ value: String?) -> Bool { wanted == nil || wanted == value }
            return isSo(filter.connection, entry.connection) && isSo(filter.subject, entry.subject) && isSo(filter.key, entry.key)
                && isSo(filter.action, entry.action) && isSo(filter.result, entry.result) && filter.actions?.contains(entry.action) != false
        }

        @Test func aThousandEntriesGoInAtOnce() async throws {
            let opened = try await Backend.postgres.open()
            let entries = (1...1_100).map { number in
                Activity(
                    uid: .make(at: now + .seconds(number)), at: now, action: "x", connectionUID: number % 2 == 0 ? UID(text: "c") : nil,
                    subject: number % 3 == 0 ? "ü,{\"\\}" : nil, count: number, detail: number % 5 == 0 ? "" : nil,
                    link: number % 7 == 0 ? nil : ActivityLink(node: "main", sequence: number, mac: [0, UInt8(number % 256)]))
            }
            try await opened.store.append(entries)
            #expect(try await opened.store.activity(filter: .init(), before: nil, limit: 2_000) == entries.reversed())
            #expect(try await opened.store.unlinkedActivity() == 157)
            #expect(try await opened.store.writtenActivity(entries.map(\.uid)).count == 1_100)
        }
    }
#endif
