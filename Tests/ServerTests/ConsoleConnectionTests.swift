import Broker
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing
import Vault

@testable import Server

/// A connection's pages and its grants', as a builder uses them.
@Suite struct ConsoleConnectionTests {
    // MARK: Words and pictures

    @Test func everyStateHasWordsAndWhatToDo() {
        for reason in ["invalid_grant", "no_refresh_token", "outcome_unknown", "host_changed", "account_mismatch", "something_new", nil] {
            let words = StateWords.grant("reauthorization_required", reason)
            #expect(words.kind == .bad && words.fix?.contains("Connect again") == true, "\(reason ?? "nil")")
            #expect(words.sentence.hasSuffix(".") && !words.sentence.contains("invalid_grant"), "\(words.sentence)")
        }
        #expect(StateWords.grant("reauthorization_required", "something_new").sentence.contains("something_new"))
        #expect(StateWords.grant("active", nil).kind == .good)
        #expect(StateWords.grant("expired", nil, canRefresh: true).kind == .info)
        #expect(StateWords.grant("expired", nil, canRefresh: false).kind == .bad)
        #expect(StateWords.grant("revoked", nil).label == "Disconnected")
        let refused = [
            "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_grant", "status_401", "status_302", "odd_code", nil,
        ]
        let sentences = refused.map { StateWords.health("misconfigured", $0) }
        #expect(sentences.allSatisfy { $0.kind == .bad && $0.fix != nil && $0.sentence.hasSuffix("until the connection is changed.") })
        #expect(Set(sentences.map(\.sentence)).count == refused.count)
        for reason in ["rate_limited", "provider_unreachable", "provider_error", "egress_blocked", nil] {
            #expect(StateWords.health("provider_down", reason).kind == .warn, "\(reason ?? "nil")")
        }
    }

    @Test func aPictureKeepsTheOrderOfTimeAndStaysInItsFrame() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let grant = Grant(
            uid: .make(at: now), connectionUID: .make(at: now), subject: "s", refreshToken: Sealed(bytes: [1]), expiresAt: now + .seconds(3000),
            stateSince: now,
            tokenGeneration: 2, nextRefreshAt: now + .seconds(2400), createdAt: now + .seconds(-90 * 86_400), refreshedAt: now + .seconds(-600),
            diesAt: now + .seconds(30 * 86_400))
        let life = LifeLine(GrantView(grant, connectionID: "a", now: now), entries: [], keepAlive: false, now: now)
        #expect(life.past.map(\.title) == ["Made", "Refreshed"])
        #expect(life.ahead.map(\.title) == ["Refresh", "The access token ends", "The refresh token ends"])
        let picture = LifePicture(life)
        let moments = life.past.map(\.at) + [now] + life.ahead.map(\.at)
        let places = moments.map(picture.place)
        #expect(places == places.sorted() && Set(places).count == places.count)
        #expect(places.allSatisfy { (0...LifePicture.width).contains($0) })
        // What is said in the picture is said in the list.
        let dots = (picture.values["dots"] as? [[String: Any]])?.compactMap { $0["event"] as? String }
        #expect(dots == life.past.map(\.title) + life.ahead.map(\.title))
        for tick in picture.values["ticks"] as? [[String: Any]] ?? [] { #expect((tick["label"] as? String)?.contains(/^in | ago$/) == true) }
    }

    @Test func aGrantThatStoppedSaysSoInItsLife() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let grant = Grant(
            uid: .make(at: now), connectionUID: .make(at: now), subject: "", state: .reauthorizationRequired, stateReason: "host_changed",
            stateSince: now + .seconds(-60), tokenGeneration: 1, createdAt: now + .seconds(-3600))
        let life = LifeLine(GrantView(grant, connectionID: "a", now: now), entries: [], keepAlive: true, now: now)
        #expect(life.ahead.isEmpty)
        #expect(life.past.last?.mark == .bad && life.past.last?.detail?.contains("another host") == true)
    }

    @Test func aRequestIsRefusedAtItsField() throws {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        var settings = ConnectionSettings(name: "a", oauth: OAuthSettings(grantType: .clientCredentials))
        settings.baseURL = "https://api.example/v1"
        let connection = Connection(uid: .make(at: now), id: "a", settings: settings, health: .init(state: .ok, since: now), createdAt: now, updatedAt: now)
        func faults(_ pairs: [(String, String)]) -> [String] {
            // Of a name that stands twice the first counts.
            let all = (pairs + [("method", "GET"), ("path", "/me")]).map { (name: $0.0, value: $0.1) }
            switch TryForm(ConsoleForm(all)).call(of: connection) {
            case .success: return []
            case .failure(let faults): return faults.list.map(\.field)
            }
        }
        #expect(faults([]) == [])
        #expect(faults([("path", "https://api.example/v1/me?x=1")]) == [])
        for path in ["", "me", "https://evil.example/me", "//evil.example/me", "/me#top"] { #expect(faults([("path", path)]) == ["path"], "\(path)") }
        #expect(faults([("method", "CONNECT")]) == ["method"])
        for headers in ["no colon", "Authorization: Bearer x", "Cookie: a=b", "Host: evil.example", "Accept-Encoding: gzip", "X-A: \u{e9}", "X A: b"] {
            #expect(faults([("headers", headers)]) == ["headers"], "\(headers)")
        }
        #expect(faults([("headers", "Accept: application/json\r\n\r\nX-Extra:  1 ")]) == [])
    }

    // MARK: Connecting

    @Test func aPersonConnectsAndComesBackHere() async throws {
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let browser = try await ConsoleBrowser.signedIn(server)
            let fresh = try await browser.get("/console/connections/app")
            #expect(fresh.status == 200, "\(fresh.body)")
            #expect(fresh.body.contains("Not connected") && fresh.body.contains(server.url + "/oauth/callback/app"))
            #expect(!fresh.body.contains("conf-secret"))

            let begun = try await browser.submit("/console/connections/app/connect", [("subject", "user-1"), ("login_hint", "alice")])
            let link = try #require(ConsoleBrowser.path(begun, at: server))
            #expect(begun.status == 303 && link.hasPrefix("/connect/"), "\(link)")
            let end = try await Visitor().connect(server.url + link)
            // Whoever has no session sees the sign-in page there, and nothing of the connection.
            #expect(end.status == 401 && !end.body.contains("user-alice"))
            let back = String(end.url.dropFirst(server.url.count))
            #expect(back.hasPrefix("/console/connections/app?grantee_status=connected&grantee_session=cs_"), "\(back)")

            let page = try await browser.get(back)
            #expect(page.status == 200)
            for text in ["user-1 is connected", "Works", "/console/connections/app/grants/user-1", "<code>read</code>"] {
                #expect(page.body.contains(text), "\(text)")
            }
            #expect(try await stage.grant("app", "user-1").string("state") == "active")
        }
    }

    @Test func aRefusalIsToldWithWhatToDo() async throws {
        try await Stage.with { stage in
            let server = stage.server
            for id in ["app", "other"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            let browser = try await ConsoleBrowser.signedIn(server)
            let begun = try await browser.submit("/console/connections/app/connect")
            let end = try await Visitor().connect(server.url + (ConsoleBrowser.path(begun, at: server) ?? ""), approve: false)
            let back = String(end.url.dropFirst(server.url.count))
            #expect(back.contains("grantee_status=failed&grantee_error=access_denied"))
            let page = try await browser.get(back)
            #expect(page.body.contains("Access was not granted") && page.body.contains("/console/connections/app/doctor"))
            // The query is believed in nothing: the session says how it ended, and only at its own connection.
            let lie = try await browser.get(back.replacing("grantee_status=failed", with: "grantee_status=connected"))
            #expect(lie.body.contains("Access was not granted"))
            let elsewhere = try await browser.get(back.replacing("/connections/app", with: "/connections/other"))
            #expect(elsewhere.status == 200 && !elsewhere.body.contains("Access was not granted"))
            #expect(try await browser.get("/console/connections/app?grantee_session=cs_unknown").status == 200)
        }
    }

    @Test func anotherAccountIsTakenOnPurposeOnly() async throws {
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(
                stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["openid", "read"], "issuer": .string(stage.provider.url)]))
            let browser = try await ConsoleBrowser.signedIn(server)
            func connect(as user: String, _ form: [(String, String)] = []) async throws -> Visitor.Page {
                let begun = try await browser.submit("/console/connections/app/connect", [("subject", "user-1")] + form)
                let end = try await Visitor().connect(server.url + (ConsoleBrowser.path(begun, at: server) ?? ""), username: user)
                return try await browser.get(String(end.url.dropFirst(server.url.count)))
            }
            #expect(try await connect(as: "alice").body.contains("user-1 is connected"))
            let refused = try await connect(as: "bob")
            #expect(refused.body.contains("Another account") && refused.body.contains("name=\"allow_account_change\" value=\"yes\""))
            #expect(try await stage.grant("app", "user-1").string("account").hasSuffix("user-alice"))
            #expect(try await connect(as: "bob", [("allow_account_change", "yes")]).body.contains("user-1 is connected"))
            #expect(try await stage.grant("app", "user-1").string("account").hasSuffix("user-bob"))
        }
    }

    @Test func onlyTheConsoleSendsPeopleToTheConsole() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let back: JSONValue = ["return_url": .string(stage.server.url + "/console/connections/app")]
            let refused = try await stage.server.send(.post, "/v1/connections/app/connect", body: back)
            #expect(refused.isProblem("invalid_request", 400) && refused.pointers == ["/return_url"])
        }
    }

    @Test func aWrongSubjectIsToldAtItsField() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let wrong = try await browser.submit("/console/connections/app/connect", [("subject", "user <1>")])
            #expect(wrong.status == 422)
            #expect(wrong.body.contains("id=\"subject-error\"") && wrong.body.contains("value=\"user &lt;1&gt;\""))
            #expect(try await browser.submit("/console/connections/nowhere/connect").status == 404)
        }
    }

    @Test func aMachineFetchesItsTokenAtOnce() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            try await stage.add(stage.provider.connection("broken", "client_credentials", client: "machine", secret: "not-the-secret"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let before = try await browser.get("/console/connections/machine")
            #expect(before.body.contains("Fetch a token now") && !before.body.contains("name=\"subject\""))
            let fetched = try await browser.submit("/console/connections/machine/connect")
            #expect(ConsoleBrowser.path(fetched, at: stage.server) == "/console/connections/machine?done=fetched")
            let after = try await browser.get("/console/connections/machine?done=fetched")
            #expect(after.body.contains("Last token just now.") && after.body.contains("The provider gave a token."))

            let refused = try await browser.submit("/console/connections/broken/connect")
            #expect(refused.status == 502, "\(refused.status)")
            for text in ["No token was fetched", "invalid_client", "/console/connections/broken/doctor", "Needs a fix"] {
                #expect(refused.body.contains(text), "\(text)")
            }
            #expect(!refused.body.contains("not-the-secret"))
        }
    }

    // MARK: Grants

    @Test func aGrantIsRefreshedAndItsLifeIsShown() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user/1"])
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let path = "/console/connections/app/grants/user%2F1"
            #expect(try await browser.get("/console/connections/app").body.contains("href=\"\(path)\""))
            let refreshed = try await browser.submit(path + "/refresh")
            #expect(ConsoleBrowser.path(refreshed, at: stage.server) == path + "?done=refreshed", "\(refreshed.body)")
            #expect(try await stage.grant("app", "user%2F1")["generation"]?.integer == 2)
            let page = try await browser.get(path + "?done=refreshed")
            for text in ["Refreshed: the provider gave a new access token.", "Grant made", "The access token ends", "<svg", "role=\"img\""] {
                #expect(page.body.contains(text), "\(text)")
            }
            let token = try await stage.token("app", "subject=user%2F1").string("access_token")
            #expect(!token.isEmpty && !page.body.contains(token))

            try await stage.faults("conf", ["fault": "error", "value": "invalid_grant", "on": "refresh_token"])
            let refused = try await browser.submit(path + "/refresh")
            #expect(refused.status == 409)
            for text in ["The token was not refreshed", "Connect again", ">Reconnect<", "The provider refused the refresh token"] {
                #expect(refused.body.contains(text), "\(text)")
            }
        }
    }

    @Test func aSharedGrantHasItsOwnLife() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app")
            try await stage.connect("app", ["subject": "user-1"])
            _ = try await stage.refresh("app", "user-1")
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let shared = try await browser.get("/console/connections/app/grants/-")
            #expect(shared.body.contains("Shared by the whole app") && shared.body.contains("Grant made"))
            // The other one's refresh is not its own.
            #expect(!shared.body.contains("<strong>Refreshed</strong>"))
            #expect(try await browser.get("/console/connections/app/grants/user-1").body.contains("<strong>Refreshed</strong>"))
            #expect(try await browser.get("/console/connections/app/grants/nobody").status == 404)
        }
    }

    @Test func disconnectingSaysWhatTheProviderDid() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.add(stage.provider.connection("silent", "authorization_code", oauth: ["revocation_url": .null]))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            for (id, outcome, words) in [("app", "revoked", "the provider has revoked them"), ("silent", "unsupported", "The provider was not told")] {
                try await stage.connect(id, ["subject": "user-1"])
                let path = "/console/connections/\(id)/grants/user-1/disconnect"
                let question = try await browser.get(path)
                #expect(question.status == 200 && question.body.contains("The grant of user-1"))
                #expect(try await stage.grant(id, "user-1").string("state") == "active")
                let done = try await browser.submit(path)
                #expect(ConsoleBrowser.path(done, at: stage.server) == "/console/connections/\(id)?done=disconnected-\(outcome)")
                #expect(try await browser.get("/console/connections/\(id)?done=disconnected-\(outcome)").body.contains(words))
                #expect(try await stage.grant(id, "user-1").string("state") == "revoked")
            }
        }
    }

    @Test func acrossConnectionsTheWorstComesFirst() async throws {
        try await Stage.with { stage in
            for id in ["app", "other"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            try await stage.put("app", "user-fine", ["access_token": "a-token", "refresh_token": "r-token", "expires_in": 3600])
            try await stage.put("other", "user-ends", ["access_token": "b-token", "expires_in": 600])
            try await stage.put("other", "user-over", ["access_token": "c-token", "expires_in": 0])
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            func order(_ path: String) async throws -> [String] {
                let page = try await browser.get(path)
                #expect(page.status == 200, "\(page.body)")
                for token in ["a-token", "b-token", "c-token", "r-token"] { #expect(!page.body.contains(token)) }
                return page.body.matches(of: /<th scope="row"><a href="[^"]*">([^<]*)<\/a>/).map { String($0.output.1) }
            }
            #expect(try await order("/console/grants") == ["user-over", "user-ends", "user-fine"])
            #expect(try await order("/console/grants?state=expired") == ["user-over"])
            #expect(try await order("/console/grants?connection=app") == ["user-fine"])
            #expect(try await order("/console/grants?subject=user-ends&state=") == ["user-ends"])
            #expect(try await order("/console/grants?connection=nowhere") == [])
            #expect(try await browser.get("/console/connections/other").body.contains("Partly works"))
        }
    }

    @Test func manyGrantsAreOnPages() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            for index in 0..<55 { try await stage.put("app", "user-\(index)", ["access_token": "t", "refresh_token": "r", "expires_in": 3600]) }
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            for path in ["/console/connections/app", "/console/grants"] {
                var seen: Set<String> = []
                var next: String? = path
                var pages = 0
                while let path = next {
                    let page = try await browser.get(path)
                    seen.formUnion(page.body.matches(of: /<th scope="row"><a href="[^"]*">([^<]*)<\/a>/).map { String($0.output.1) })
                    next = page.body.firstMatch(of: /href="([^"]*)" rel="next"/).map { String($0.output.1).replacing("&amp;", with: "&") }
                    pages += 1
                }
                #expect(seen.count == 55 && pages == 2, "\(path): \(seen.count) on \(pages)")
            }
        }
    }

    // MARK: Try it

    @Test func aRequestIsSentAndItsTokenIsNeverShown() async throws {  // SEC-52, SEC-127
        try await Stage.with { stage in
            var document = stage.provider.connection("app", "authorization_code").object ?? [:]
            // The API's echo tells what it got: of a second field with the token, too.
            document["authentication_instructions"] = "Authorization: Bearer <token>\nX-Api-Token: <token>"
            try await stage.add(.object(document))
            try await stage.connect("app", ["subject": "user-1"])
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let form = try await browser.get("/console/connections/app/try")
            // One click: who is connected, and a path that is likely to work.
            #expect(form.body.contains("name=\"subject\" value=\"user-1\"") && form.body.contains("name=\"path\" value=\"/me\""))
            let me = try await browser.submit("/console/connections/app/try", [("method", "GET"), ("path", "/me"), ("subject", "user-1")])
            #expect(me.status == 200, "\(me.body)")
            for text in ["200 It works", "user-alice", "GET /api/me HTTP/1.1", "Authorization: Bearer ***"] { #expect(me.body.contains(text), "\(text)") }

            let echo = try await browser.submit(
                "/console/connections/app/try",
                [
                    ("method", "POST"), ("path", "/echo"), ("query", "q=two words"), ("headers", "X-Extra: yes\nPrefer: a=b"), ("body", "{\"a\":1}"),
                    ("subject", "user-1"),
                ])
            let token = try await stage.token("app", "subject=user-1").string("access_token")
            #expect(!token.isEmpty && !echo.body.contains(token) && !me.body.contains(token))
            for text in ["q=two%20words", "X-Extra", "application/json", "x-api-token", "********"] {
                #expect(echo.body.lowercased().contains(text.lowercased()), "\(text): \(echo.body)")
            }
            // Recorded as the person's own call, not as an agent's.
            let calls = try await stage.server.send(.get, "/v1/activity?connection=app&action=api.called")
            #expect((calls["items"]?.array ?? []).allSatisfy { $0["key"]?.string == "key_admin" && $0["result"]?.string == "ok" })
            #expect(calls["items"]?.array?.isEmpty == false)
        }
    }

    @Test func whatCannotBeSentIsExplained() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            var away = stage.provider.connection("away", "client_credentials", client: "machine", secret: "machine-secret").object ?? [:]
            away["base_url"] = "http://127.0.0.1:1/api"
            try await stage.add(.object(away))
            var mute = stage.provider.connection("mute", "client_credentials", client: "machine", secret: "machine-secret").object ?? [:]
            mute["base_url"] = .null
            try await stage.add(.object(mute))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let form = [("method", "GET"), ("path", "/me"), ("headers", "X-Kept: yes")]
            let rows = [("app", 409, "Go to Connect"), ("away", 504, "No answer came"), ("mute", 409, "/console/connections/mute/edit")]
            for (id, status, words) in rows {
                let page = try await browser.submit("/console/connections/\(id)/try", form)
                #expect(page.status == status && page.body.contains(words), "\(id): \(page.status) \(page.body)")
                #expect(page.body.contains("X-Kept: yes"), "\(id)")
            }
            let wrong = try await browser.submit("/console/connections/app/try", [("method", "GET"), ("path", "me"), ("headers", "Authorization: mine")])
            #expect(wrong.status == 422 && wrong.body.contains("href=\"#path\"") && wrong.body.contains("href=\"#headers\""))
            let subject = try await browser.submit("/console/connections/away/try", [("method", "GET"), ("path", "/me"), ("subject", "user-1")])
            #expect(subject.status == 422 && subject.body.contains("has only the shared grant"))
        }
    }

    // MARK: Use it, agents, activity

    @Test func snippetsAndPromptAreReadyToCopy() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let page = try await browser.get("/console/connections/app/use?subject=user-7")
            #expect(page.status == 200)
            for text in ["\(stage.server.url)/gateway/app/", "Grantee-Subject: user-7", "# How to call app", "data-copy=\"prompt\"", "subject=user-7"] {
                #expect(page.body.contains(text), "\(text)")
            }
            let wrong = try await browser.get("/console/connections/app/use?subject=a%20b")
            #expect(wrong.status == 200 && wrong.body.contains("id=\"subject-error\""))
        }
    }

    @Test func agentsMayDoWhatIsNamedAndNothingElse() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let path = "/console/connections/machine/agents"
            let page = try await browser.get(path)
            #expect(page.body.contains("Nothing, unless it is named here") && page.body.contains(stage.server.url + "/mcp"))
            let etag = try #require(page.field("etag"))
            let good = [("enabled", "yes"), ("methods", "GET"), ("methods", "POST"), ("paths", "/me\r\n/repos/** "), ("headers", "X-Extra")]

            let wrong = try await browser.submit(
                path, [("etag", etag), ("enabled", "yes"), ("methods", "GET"), ("paths", "/me\nrepos"), ("headers", "Cookie")])
            #expect(wrong.status == 422)
            for text in ["repos must begin with /", "Cookie carries credentials", "href=\"#paths\"", "/me\nrepos"] {
                #expect(wrong.body.contains(text), "\(text)")
            }

            #expect(try await browser.submit(path, [("etag", etag)] + good).status == 303)
            let access = try await stage.server.send(.get, "/v1/connections/machine")["agent_access"]
            #expect(access == ["enabled": true, "methods": ["GET", "POST"], "paths": ["/me", "/repos/**"], "headers": ["X-Extra"]])
            // Its secret is still there.
            #expect(try await stage.token("machine").status == 200)

            // Whoever looked before that does not undo it unawares.
            let late = try await browser.submit(path, [("etag", etag), ("paths", "/late")])
            #expect(late.status == 412)
            #expect(late.body.contains("Somebody else changed the connection") && late.body.contains("/repos/**") && late.body.contains("/late"))
            let now = try #require(late.field("etag"))
            #expect(now != etag)
            #expect(try await browser.submit(path, [("etag", now), ("paths", "/late")]).status == 303)
            #expect(try await stage.server.send(.get, "/v1/connections/machine")["agent_access"]?["enabled"]?.bool == false)
        }
    }

    @Test func aConnectionsActivityIsItsOwn() async throws {
        try await Stage.with { stage in
            for id in ["machine", "other"] {
                try await stage.add(stage.provider.connection(id, "client_credentials", client: "machine", secret: "machine-secret"))
            }
            _ = try await stage.token("machine")
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            /// The table alone: the filter names every action.
            func rows(_ query: String) async throws -> Substring {
                let page = try await browser.get("/console/connections/machine/activity" + query)
                #expect(page.status == 200, "\(page.body)")
                return page.body.firstRange(of: "<tbody>").map { page.body[$0.upperBound...] } ?? ""
            }
            let all = try await rows("")
            #expect(all.contains("Grant made") && all.contains("Token handed out"))
            let some = try await rows("?action=grant.created&result=ok&subject=")
            #expect(some.contains("Grant made") && !some.contains("Token handed out"))
            #expect(try await browser.get("/console/connections/other/activity?action=grant.created").body.contains("No entry fits the filter."))
        }
    }

    // MARK: Hostile text

    @Test func whatOthersNamedIsShownAsText() async throws {  // SEC-104
        try await Stage.with { stage in
            let hostile = #"<script>alert(1)</script>"'><img src=x>{{7*7}}"#
            var document = stage.provider.connection("app", "authorization_code").object ?? [:]
            document["name"] = .string(hostile)
            try await stage.add(.object(document))
            let subject = #"<svg/onload=alert(3)>"'&"#
            try await stage.connect("app", ["subject": .string(subject)])
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let grant = "/console/connections/app/grants/" + Form.percentEncode(subject)
            let pages =
                ["", "/try", "/use", "/agents", "/activity"].map { "/console/connections/app" + $0 } + [grant, grant + "/disconnect", "/console/grants"]
            for path in pages {
                let page = try await browser.get(path)
                #expect(page.status == 200, "\(path): \(page.status)")
                for forbidden in ["<script>alert", "<img src=x", "<svg/onload", " style=", " onclick=", "href=\"javascript:"] {
                    #expect(!page.body.contains(forbidden), "\(path): \(forbidden)")
                }
                #expect(page.body.contains("{{7*7}}"), "\(path)")
            }
            #expect(try await browser.get("/console/connections/app").body.contains("&lt;svg/onload=alert(3)&gt;&quot;&#39;&amp;"))
        }
    }
}
