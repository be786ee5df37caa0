#if PostgreSQL
    import Foundation
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import Server
    import TestSupport
    import Testing

    /// What a server on PostgreSQL says: of itself, of its database, and when that is away.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct SharedDatabaseTests {
        private static let masterKeys = "k1:" + Base64URL.encode((0..<32).map { _ in UInt8.random(in: .min ... .max) })
        private static let adminKey = "an-admin-key-of-more-than-32-characters"

        private static func set(_ configuration: inout ServerConfiguration, _ url: String, _ node: String) {
            configuration.databaseURL = url
            configuration.masterKeys = masterKeys
            configuration.adminKey = adminKey
            configuration.node = node
        }

        private func withDatabase<R: Sendable>(_ body: (PostgresServer, _ url: String) async throws -> R) async throws -> R {
            let server = try await PostgresServer.shared
            let url = try await server.makeDatabase()
            let result = try await body(server, url)
            try await server.dropDatabase(url)
            return result
        }

        private static func lines(_ server: RunningServer, _ leads: [String]) -> [String] {
            server.log.text.split(separator: "\n").map(String.init).filter { line in leads.contains { line.hasPrefix($0) } }
        }

        // MARK: Who it is

        @Test func settingsTellWhichDatabaseItIsAndWhoSharesIt() async throws {
            try await withDatabase { _, url in
                try await RunningServer.with {
                    Self.set(&$0, url, "node-one")
                } _: { one async throws in
                    try await RunningServer.with {
                        Self.set(&$0, url, "node-two")
                    } _: { _ async throws in
                        let page = try await ConsoleBrowser.signedIn(one).get("/console/settings")
                        #expect(page.status == 200, "\(page.body)")
                        let parts = try #require(URLComponents(string: url))
                        let place = "postgres://127.0.0.1:\(parts.port ?? 0)\(parts.path)"
                        for words in ["PostgreSQL at", place, "MiB", "This node", "Nodes at work", "node-one", "node-two", "pg_dump"] {
                            #expect(page.body.contains(words), "\(words)")
                        }
                        for words in ["SQLite", "vault backup", try #require(parts.password)] { #expect(!page.body.contains(words), "\(words)") }
                    }
                }
            }
        }

        @Test func aStartSaysWhoItIs() async throws {
            try await withDatabase { _, url in
                try await RunningServer.with {
                    Self.set(&$0, url, "node-one")
                } _: { one async throws in
                    let started = Self.lines(one, ["info started"])
                    #expect(started.count == 1)
                    for words in ["node=node-one", "database=postgres://127.0.0.1:", "version="] {
                        #expect(started.first?.contains(words) == true, "\(started)")
                    }
                    #expect(Self.lines(one, ["notice another node"]).isEmpty)
                    // It sees that the other one is at work, and takes another name.
                    try await RunningServer.with {
                        Self.set(&$0, url, "node-one")
                    } _: { two async throws in
                        #expect(Self.lines(two, ["notice a node with this name was at work just now"]).count == 1)
                        #expect(Self.lines(two, ["notice another node has this node's name"]).first?.contains("node=node-one-2") == true)
                        #expect(Self.lines(two, ["info started"]).first?.contains("node=node-one-2") == true)
                    }
                    let password = try #require(URLComponents(string: url)?.password)
                    #expect(!one.log.text.contains(password))
                }
            }
        }

        // MARK: What goes wrong

        @Test func anOutageIsSaidOnceWhenItBeginsAndOnceWhenItEnds() async throws {
            try await PostgresServer.with { postgres in
                let url = try await postgres.makeDatabase()
                try await RunningServer.with {
                    Self.set(&$0, url, "node-one")
                } _: { server async throws in
                    let before = Self.lines(server, ["error", "warning", "critical"])
                    await postgres.stop()
                    try await eventually("it is cut off") { try await server.send(.get, "/v1/connections").status == 503 }
                    for _ in 0..<20 { #expect(try await server.send(.get, "/v1/connections").status == 503) }
                    // Each of the jobs in the background has had its turn.
                    try await Task.sleep(for: .seconds(3))
                    let said = Self.lines(server, ["error", "warning", "critical"]).dropFirst(before.count)
                    #expect(said.count == 1 && said.first?.hasPrefix("error the database does not answer: nothing is served from memory") == true, "\(said)")
                    try await postgres.restart()
                    try await eventually("it is back") { try await server.send(.get, "/v1/connections").status == 200 }
                    try await eventually("that is said") { Self.lines(server, ["notice the database answers again"]).count == 1 }
                    #expect(Self.lines(server, ["error", "warning", "critical"]).count == before.count + 1)
                }
            }
        }

        @Test func anErrorBeforeTheHandlerHasOneIDToo() async throws {
            try await withDatabase { postgres, url in
                try await RunningServer.with {
                    Self.set(&$0, url, "node-one")
                } _: { server async throws in
                    try await postgres.query("UPDATE api_key SET connections = 'x'; INSERT INTO change (kind) VALUES ('key')", in: url)
                    var answer = try await server.send(.get, "/v1/connections")
                    try await eventually("the keys cannot be read") {
                        answer = try await server.send(.get, "/v1/connections")
                        return answer.status == 500
                    }
                    let id = try #require(answer.headers[.named("Request-Id")])
                    #expect(answer["detail"]?.string?.hasSuffix(" \(id)") == true, "\(answer.text)")
                    #expect(server.log.text.contains("request_id=\(id)"))
                    try await postgres.query("UPDATE api_key SET connections = NULL", in: url)
                }
            }
        }

        // MARK: What keeps it from starting

        private struct Refusal: Sendable, CustomTestStringConvertible {
            let words: String
            let hint: String
            let change: @Sendable (inout URLComponents) -> Void
            var testDescription: String { words }
        }

        private static let refusals = [
            Refusal(words: "the database refuses the user or the password", hint: "check the user and the password in the database URL") {
                $0.password = "wrong"
            },
            Refusal(words: "nobody listens at its host and port", hint: "check host and port in the database URL") { $0.port = 1 },
            Refusal(words: "the database does not exist", hint: "make it with `createdb`") { $0.path = "/nowhere" },
            Refusal(words: "the server speaks no TLS", hint: "turn it on at the server") { $0.query = "sslmode=verify-full" },
        ]

        @Test("What a database refuses has something to do about it", arguments: refusals)
        private func refused(_ refusal: Refusal) async throws {
            try await withDatabase { _, url in
                var parts = try #require(URLComponents(string: url))
                refusal.change(&parts)
                let wrong = try #require(parts.string)
                let error = await #expect(throws: StartError.self) {
                    try await RunningServer.with {
                        Self.set(&$0, wrong, "node-one")
                    } _: { _ in
                    }
                }
                let message = error?.message ?? ""
                #expect(message.hasPrefix("postgres://127.0.0.1:") && message.hasSuffix(refusal.words), "\(message)")
                #expect(error?.hint?.hasPrefix(refusal.hint) == true, "\(error?.hint ?? "")")
            }
        }

        @Test func anErrorNamesTheSettingThatTheURLCameFrom() async {
            let error = await #expect(throws: StartError.self) {
                try await RunningServer.with {
                    Self.set(&$0, "postgres://grantee:secret@localhost", "node-one")
                    $0.databaseSetting = "GRANTEE_DATABASE_URL_FILE"
                } _: { _ in
                }
            }
            #expect(error?.message == "GRANTEE_DATABASE_URL_FILE names no database")
        }

        @Test func noAdminKeyIsMadeHere() async {
            let error = await #expect(throws: StartError.self) {
                try await RunningServer.with {
                    Self.set(&$0, "postgres://grantee@localhost/grantee", "node-one")
                    $0.adminKey = "short"
                } _: { _ in
                }
            }
            #expect(error?.message.hasPrefix("the admin API key must be at least 32") == true)
            #expect(error?.hint?.contains("leave it out") == false)
        }
    }
#endif
