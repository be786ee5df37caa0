import OAuth
import SQLiteStore
import Testing
import Vault

@testable import Broker

/// Who is signed in at the console, and for how long. SEC-95, SEC-96, SEC-98.
@Suite struct ConsoleSessionTests {
    private static let browser = Broker.Newcomer(userAgent: "Browser/1", address: "192.0.2.1", token: nil)

    private func signIn(_ bench: Bench, key: String = Bench.adminKey, token: String? = nil) async throws -> (session: Broker.SignedIn, token: String) {
        var newcomer = Self.browser
        newcomer.token = token
        let (signedIn, token) = try await bench.broker.signIn(key: key, by: newcomer)
        return (signedIn, token)
    }

    private func isIn(_ bench: Bench, _ token: String) async throws -> Bool { try await bench.broker.consoleSession(token: token) != nil }

    private func code(of link: String) -> String { String(link.split(separator: "/").last ?? "") }

    private func activity(_ bench: Bench) async throws -> [Activity] {
        try await bench.broker.activity(connection: nil, subject: nil, before: nil, limit: 200, for: bench.admin).filter { $0.action.hasPrefix("console.") }
            .reversed()
    }

    // MARK: Beginning

    @Test func aSessionHasTheRightsOfItsKey() async throws {
        let bench = try await Bench()
        let (session, token) = try await signIn(bench)
        #expect(session.caller.key.id == "key_admin")
        #expect(Base64URL.decode(token)?.count == 32)
        #expect(session.session.id.hasPrefix("ses_") && session.session.userAgent == "Browser/1" && session.session.address == "192.0.2.1")
        let found = try #require(try await bench.broker.consoleSession(token: token))
        #expect(found.session == session.session && found.caller.key == session.caller.key)
        #expect(session.session.tokenHash != Array(token.utf8))
        for wrong in ["", token.lowercased(), String(token.dropLast()), session.session.id] { #expect(try await isIn(bench, wrong) == false) }
    }

    @Test func onlyAdminKeysSignIn() async throws {
        let bench = try await Bench()
        for role in [APIKey.Role.use, .agent] {
            let (_, key) = try await bench.broker.addKey(.init(name: "k", role: role), by: bench.admin)
            #expect(await bench.code { _ = try await signIn(bench, key: key) } == .forbidden)
        }
        for key in ["", "gk_unknown", Bench.adminKey + " ", Bench.adminKey.uppercased()] {
            #expect(await bench.code { _ = try await signIn(bench, key: key) } == .unauthenticated)
        }
        #expect(try await bench.store.consoleSessions(key: nil).isEmpty)
        let refused = try await activity(bench)
        #expect(
            refused.map { "\($0.action) \($0.result) \($0.count)" }.sorted() == [
                "console.refused forbidden 1", "console.refused forbidden 1", "console.refused unauthenticated 4",
            ])
    }

    @Test func signingInAnewEndsWhatTheBrowserBrought() async throws {
        let bench = try await Bench()
        let (_, first) = try await signIn(bench)
        let (_, other) = try await signIn(bench)
        let (_, second) = try await signIn(bench, token: first)
        #expect(first != second)
        #expect(try await isIn(bench, first) == false)
        for token in [other, second] { #expect(try await isIn(bench, token)) }
        // A token that somebody made up does no harm, and does not become one.
        let made = String(repeating: "A", count: 43)
        let (_, third) = try await signIn(bench, token: made)
        #expect(third != made)
        #expect(try await isIn(bench, made) == false)
    }

    // MARK: Links

    @Test func aLinkSignsInOnceWithTheRightsOfItsKey() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .clientCredentials)
        let (bound, key) = try await bench.broker.addKey(.init(name: "bound", role: .admin, connections: ["app"]), by: bench.admin)
        let caller = try #require(bench.broker.authenticate(key))
        let (url, expiresAt) = try await bench.broker.makeSignInLink(by: caller)
        #expect(url.hasPrefix("http://127.0.0.1:8080/console/sign-in/"))
        #expect(Base64URL.decode(code(of: url))?.count == 32)
        #expect(expiresAt == bench.time.wall.now() + .seconds(300))
        let (signedIn, token) = try #require(try await bench.broker.signIn(code: code(of: url), by: Self.browser))
        #expect(signedIn.caller.key.id == bound.id && signedIn.caller.key.connections == [connection.uid])
        #expect(try await isIn(bench, token))
        for spent in [code(of: url), "", "nonsense"] { #expect(try await bench.broker.signIn(code: spent, by: Self.browser) == nil) }
        #expect(await bench.code { _ = try await bench.broker.makeSignInLink(by: try #require(try await useKey(bench))) } == .forbidden)
    }

    private func useKey(_ bench: Bench) async throws -> Caller? {
        bench.broker.authenticate(try await bench.broker.addKey(.init(name: "use", role: .use), by: bench.admin).1)
    }

    @Test func aLinkLivesFiveMinutesAndNoLongerThanItsKey() async throws {
        let bench = try await Bench()
        let (late, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        bench.time.advance(.seconds(299))
        let (early, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        bench.time.advance(.seconds(1))
        #expect(try await bench.broker.signIn(code: code(of: late), by: Self.browser) == nil)
        #expect(try await bench.broker.signIn(code: code(of: early), by: Self.browser) != nil)

        let (key, text) = try await bench.broker.addKey(.init(name: "doomed", role: .admin), by: bench.admin)
        let (orphan, _) = try await bench.broker.makeSignInLink(by: try #require(bench.broker.authenticate(text)))
        try await bench.broker.removeKey(id: key.id, by: bench.admin)
        #expect(try await bench.broker.signIn(code: code(of: orphan), by: Self.browser) == nil)

        let end = bench.time.wall.now() + .seconds(60)
        let (_, short) = try await bench.broker.addKey(.init(name: "short", role: .admin, expiresAt: end), by: bench.admin)
        let (dead, _) = try await bench.broker.makeSignInLink(by: try #require(bench.broker.authenticate(short)))
        bench.time.advance(.seconds(60))
        #expect(try await bench.broker.signIn(code: code(of: dead), by: Self.browser) == nil)
    }

    // MARK: Ending

    @Test func aSessionEndsAfterHalfAnHourOfNothing() async throws {
        let bench = try await Bench()
        let (_, token) = try await signIn(bench)
        bench.time.advance(.seconds(1799))
        #expect(try await isIn(bench, token))
        bench.time.advance(.seconds(1799))
        #expect(try await isIn(bench, token))
        bench.time.advance(.seconds(1800))
        #expect(try await isIn(bench, token) == false)
        #expect(try await bench.broker.consoleSessions(for: bench.admin).isEmpty)
        // Asking does not wake it.
        #expect(try await isIn(bench, token) == false)
    }

    @Test func aSessionEndsAfterTwelveHoursWhateverIsDone() async throws {
        let bench = try await Bench()
        let (_, token) = try await signIn(bench)
        for _ in 0..<47 {
            bench.time.advance(.seconds(900))
            #expect(try await isIn(bench, token))
        }
        bench.time.advance(.seconds(899))
        #expect(try await isIn(bench, token))
        bench.time.advance(.seconds(1))
        #expect(try await isIn(bench, token) == false)
    }

    @Test func theLastSightIsWrittenOnceAMinute() async throws {
        let bench = try await Bench()
        let (_, token) = try await signIn(bench)
        let begun = bench.time.wall.now()
        func stored() async throws -> Duration { try #require(try await bench.store.consoleSessions(key: nil).first).lastSeenAt - begun }
        for (seconds, written) in [(59, 0), (1, 60), (30, 60), (29, 60), (1, 120)] {
            bench.time.advance(.seconds(seconds))
            #expect(try await isIn(bench, token))
            #expect(try await stored() == .seconds(written))
            let listed = try #require(try await bench.broker.consoleSessions(for: bench.admin).first)
            #expect(listed.lastSeenAt == bench.time.wall.now())
        }
    }

    @Test func whoOnlyLooksIsLetInWhenNothingCanBeWritten() async throws {
        let bench = try await Bench()
        let (_, token) = try await signIn(bench)
        bench.time.advance(.seconds(120))
        try await bench.store.set(isWritable: false)
        #expect(try await isIn(bench, token))
        try await bench.store.set(isWritable: true)
    }

    @Test func aSessionEndsWithItsKey() async throws {
        let bench = try await Bench()
        let (key, text) = try await bench.broker.addKey(.init(name: "removed", role: .admin), by: bench.admin)
        let (leaked, other) = try await bench.broker.addKey(.init(name: "leaked", role: .admin), by: bench.admin)
        let end = bench.time.wall.now() + .seconds(60)
        let (_, short) = try await bench.broker.addKey(.init(name: "short", role: .admin, expiresAt: end), by: bench.admin)
        let tokens = try await [signIn(bench, key: text), signIn(bench, key: other), signIn(bench, key: short), signIn(bench)].map(\.token)
        for token in tokens { #expect(try await isIn(bench, token)) }
        try await bench.broker.removeKey(id: key.id, by: bench.admin)
        #expect(try await isIn(bench, tokens[0]) == false)
        _ = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: leaked.id, by: bench.admin)
        #expect(try await isIn(bench, tokens[1]) == false)
        #expect(try await isIn(bench, tokens[2]))
        bench.time.advance(.seconds(60))
        #expect(try await isIn(bench, tokens[2]) == false)
        #expect(try await isIn(bench, tokens[3]))
        #expect(try await bench.broker.consoleSessions(for: bench.admin).map(\.keyID) == ["key_admin"])
    }

    @Test func signingOutEndsThatSessionAlone() async throws {
        let bench = try await Bench()
        let (session, token) = try await signIn(bench)
        let (_, other) = try await signIn(bench)
        bench.time.advance(.seconds(1))
        try await bench.broker.signOut(session)
        #expect(try await isIn(bench, token) == false)
        #expect(try await isIn(bench, other))
        // Twice is no fault, and one entry.
        try await bench.broker.signOut(session)
        #expect(try await activity(bench).map(\.action) == ["console.signed_in", "console.signed_in", "console.signed_out"])
    }

    @Test func whoIsBoundSeesAndEndsNobodyElse() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .clientCredentials)
        let (_, text) = try await bench.broker.addKey(.init(name: "bound", role: .admin, connections: ["app"]), by: bench.admin)
        let bound = try #require(bench.broker.authenticate(text))
        let (own, ownToken) = try await signIn(bench, key: text)
        bench.time.advance(.seconds(1))
        let (foreign, foreignToken) = try await signIn(bench)
        #expect(try await bench.broker.consoleSessions(for: bound).map(\.id) == [own.session.id])
        #expect(try await bench.broker.consoleSessions(for: bench.admin).map(\.id) == [foreign.session.id, own.session.id])
        for id in [foreign.session.id, "ses_none"] {
            #expect(await bench.code { try await bench.broker.endConsoleSession(id: id, by: bound) } == .notFound)
        }
        let (link, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        #expect(try await bench.broker.endAllConsoleSessions(by: bound) == 1)
        #expect(try await isIn(bench, ownToken) == false)
        #expect(try await isIn(bench, foreignToken))
        #expect(try await bench.broker.signIn(code: code(of: link), by: Self.browser) != nil)

        let use = try #require(try await useKey(bench))
        #expect(await bench.code { _ = try await bench.broker.consoleSessions(for: use) } == .forbidden)
        #expect(await bench.code { try await bench.broker.endConsoleSession(id: foreign.session.id, by: use) } == .forbidden)
        #expect(await bench.code { try await bench.broker.endAllConsoleSessions(by: use) } == .forbidden)
    }

    @Test func anAdminEndsAnySessionAndAllOfThem() async throws {
        let bench = try await Bench()
        let (_, text) = try await bench.broker.addKey(.init(name: "other", role: .admin), by: bench.admin)
        let (first, firstToken) = try await signIn(bench, key: text)
        try await bench.broker.endConsoleSession(id: first.session.id, by: bench.admin)
        #expect(try await isIn(bench, firstToken) == false)
        #expect(await bench.code { try await bench.broker.endConsoleSession(id: first.session.id, by: bench.admin) } == .notFound)

        let tokens = try await [signIn(bench, key: text), signIn(bench), signIn(bench)].map(\.token)
        let (link, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        #expect(try await bench.broker.endAllConsoleSessions(by: bench.admin) == 3)
        for token in tokens { #expect(try await isIn(bench, token) == false) }
        #expect(try await bench.broker.signIn(code: code(of: link), by: Self.browser) == nil)
        let ended = try await activity(bench).filter { $0.action == "console.signed_out" }
        #expect(ended.count == 4 && ended.allSatisfy { $0.key == "key_admin" && $0.detail?.hasPrefix("ses_") == true })
    }

    @Test func aBackupBringsNoSessionBack() async throws {
        let bench = try await Bench()
        let (_, token) = try await signIn(bench)
        let (link, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        try await bench.store.changeMeta([BackupMark.name: try BackupMark(at: bench.time.wall.now()).bytes])
        try await bench.broker.noteRestore()
        #expect(try await isIn(bench, token) == false)
        #expect(try await bench.broker.signIn(code: code(of: link), by: Self.browser) == nil)
    }

    @Test func whatIsWrittenDownOpensNothing() async throws {
        let bench = try await Bench()
        let (first, token) = try await signIn(bench)
        bench.time.advance(.seconds(1))
        let (link, _) = try await bench.broker.makeSignInLink(by: bench.admin)
        bench.time.advance(.seconds(1))
        let (second, other) = try #require(try await bench.broker.signIn(code: code(of: link), by: Self.browser))
        bench.time.advance(.seconds(1))
        try await bench.broker.signOut(second)
        let entries = try await activity(bench)
        #expect(
            entries.map { [$0.action, $0.result, $0.key, $0.detail] } == [
                ["console.signed_in", "ok", "key_admin", "\(first.session.id), by key"], ["console.link_made", "ok", "key_admin", nil],
                ["console.signed_in", "ok", "key_admin", "\(second.session.id), by link"], ["console.signed_out", "ok", "key_admin", second.session.id],
            ])
        for secret in [token, other, code(of: link), Bench.adminKey] { #expect(!"\(entries)".contains(secret)) }
    }
}
