import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// Keys, webhooks, activity and settings at the console, and the links that agents ask for.
@Suite struct ConsoleAdminTests {
    // MARK: Keys

    @Test func aKeyIsMadeOnceAndShownOnce() async throws {  // SEC-52, SEC-106
        try await Stage.with { stage in
            let server = stage.server
            for id in ["app", "other"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            let browser = try await ConsoleBrowser.signedIn(server)
            let list = try await browser.get("/console/keys")
            #expect(list.status == 200, "\(list.body)")
            #expect(list.body.contains("key_admin") && list.body.contains("GRANTEE_ADMIN_KEY"))
            #expect(!list.body.contains("/console/keys/key_admin/remove"))

            let form = [
                ("csrf", try await browser.csrf()), ("form", "one"), ("name", " Web <b>app</b> "), ("role", "use"), ("bound", "some"), ("connections", "app"),
                ("subjects", "user-1\r\n\r\n user-2 "), ("requests_per_minute", "60"), ("expires_at", "2099-01-31"),
            ]
            let made = try await browser.post("/console/keys", form)
            #expect(made.status == 200, "\(made.body)")
            let secret = try #require(made.body.firstMatch(of: /gk_[A-Za-z0-9_-]{43}/).map { String($0.output) })
            #expect(made.body.contains("export GRANTEE_API_KEY=\(secret)"))
            #expect(made.body.contains("Web &lt;b&gt;app&lt;/b&gt;"))

            let again = try await browser.post("/console/keys", form)
            #expect(again.status == 200)
            #expect(again.body.contains("sent twice"))
            for page in [again, try await browser.get("/console/keys")] { #expect(!page.body.contains(secret)) }
            #expect(!server.log.text.contains(secret))

            let keys = try await server.send(.get, "/v1/keys")["items"]?.array ?? []
            #expect(keys.compactMap { $0["name"]?.string } == ["admin", "Web <b>app</b>"])
            let key = try #require(keys.last)
            let bounds: [JSONValue?] = [["app"], ["user-1", "user-2"], 60, "2099-01-31T23:59:59Z"]
            #expect(["connections", "subjects", "requests_per_minute", "expires_at"].map { key[$0] } == bounds)
            #expect(try await stage.token("app", "subject=user-1", key: .other(secret)).isProblem("not_connected", 409))
            #expect(try await stage.token("other", "subject=user-1", key: .other(secret)).isProblem("forbidden", 403))
        }
    }

    @Test func whatIsWrongIsToldAtItsFieldAndNothingTypedIsLost() async throws {
        try await RunningServer.with { server in
            let browser = try await ConsoleBrowser.signedIn(server)
            let wrong = try await browser.submit(
                "/console/keys",
                [("name", ""), ("bound", "some"), ("subjects", "user-<1>"), ("requests_per_minute", "many"), ("expires_at", "next week")])
            #expect(wrong.status == 422)
            for field in ["name", "role", "connections", "requests_per_minute", "expires_at"] { #expect(wrong.body.contains("href=\"#\(field)\""), "\(field)") }
            #expect(wrong.body.contains("user-&lt;1&gt;") && wrong.body.contains("value=\"many\"") && wrong.body.contains("value=\"next week\""))
            let rows: [(form: [(String, String)], words: String)] = [
                ([("subjects", "user-1\nuser 2")], "user 2: a subject is 1 to 255 visible ASCII characters"),
                ([("bound", "some"), ("connections", "nowhere")], "nowhere: there is no such connection"),
                ([("expires_at", "2001-01-01")], "lies in the past"), ([("requests_per_minute", "0")], "must be a whole number from 1"),
            ]
            for row in rows {
                let page = try await browser.submit("/console/keys", [("name", "k"), ("role", "agent")] + row.form)
                #expect(page.status == 422, "\(row.words)")
                #expect(page.body.contains(row.words), "\(row.words)")
            }
            #expect(try await server.send(.get, "/v1/keys").items("id") == ["key_admin"])
        }
    }

    @Test func aKeyIsRemovedAfterAQuestion() async throws {
        try await RunningServer.with { server in
            let browser = try await ConsoleBrowser.signedIn(server)
            let made = try await server.send(.post, "/v1/keys", body: ["name": "old", "role": "use"])
            let key = RunningServer.Key.other(made.string("key"))
            let path = "/console/keys/\(made.string("id"))/remove"
            let question = try await browser.get(path)
            #expect(question.status == 200 && question.body.contains("refused from its next request on"))
            #expect(try await server.send(.get, "/v1/connections", key: key).status == 200)
            let removed = try await browser.submit(path)
            #expect(ConsoleBrowser.path(removed, at: server) == "/console/keys?done=key-removed")
            #expect(try await server.send(.get, "/v1/connections", key: key).isProblem("unauthenticated", 401))
            #expect(try await browser.get(path).status == 404)
            let start = try await browser.get("/console/keys/key_admin/remove")
            #expect(start.status == 409 && start.body.contains("GRANTEE_ADMIN_KEY"))
            #expect(try await browser.submit("/console/keys/key_admin/remove").status == 409)
        }
    }

    @Test func keysTellWhenTheyWereUsed() async throws {  // SEC-106
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            let used = try await stage.server.makeKey(["name": "used", "role": "use"])
            _ = try await stage.server.makeKey(["name": "unused", "role": "use"])
            #expect(try await stage.token("machine", key: .other(used)).status == 200)
            // The log is written before it is read.
            _ = try await stage.server.send(.get, "/v1/activity")
            let keys = try await stage.server.send(.get, "/v1/keys")["items"]?.array ?? []
            func isUsed(_ name: String) -> Bool? { keys.first { $0["name"]?.string == name }.map { $0["last_used_at"]?.string != nil } }
            #expect(isUsed("used") == true)
            #expect(isUsed("unused") == false)
        }
    }

    // MARK: Webhooks

    @Test func aWebhookIsAddedLookedAtAndRemoved() async throws {
        try await RunningServer.with { server in
            let browser = try await ConsoleBrowser.signedIn(server)
            for (url, words) in [("http://10.0.0.1/hook", "--egress-allow"), ("nonsense", "href=\"#url\""), ("", "is required")] {
                let page = try await browser.submit("/console/webhooks", [("url", url), ("which", "all")])
                #expect(page.status == 422, "\(url)")
                #expect(page.body.contains(words), "\(url): \(page.body)")
            }
            let none = try await browser.submit("/console/webhooks", [("url", "http://127.0.0.1:9/hook"), ("which", "some")])
            #expect(none.status == 422 && none.body.contains("href=\"#events\"") && none.body.contains("value=\"http://127.0.0.1:9/hook\""))

            let form = [
                ("csrf", try await browser.csrf()), ("form", "one"), ("url", "http://127.0.0.1:9/hook"), ("which", "some"), ("events", "grant.created"),
            ]
            let made = try await browser.post("/console/webhooks", form)
            let secret = try #require(made.body.firstMatch(of: /whsec_[A-Za-z0-9+\/=]{40,}/).map { String($0.output) }, "\(made.body)")
            #expect(made.body.contains("webhook-signature"))
            let again = try await browser.post("/console/webhooks", form)
            #expect(again.status == 200 && !again.body.contains(secret))
            let webhooks = try await server.send(.get, "/v1/webhooks")
            #expect(webhooks.items("url") == ["http://127.0.0.1:9/hook"])
            let path = "/console/webhooks/" + (webhooks.items("id").first ?? "")
            for page in [try await browser.get("/console/webhooks"), try await browser.get(path)] {
                #expect(page.status == 200 && page.body.contains("http://127.0.0.1:9/hook") && page.body.contains("Grant made"))
                #expect(!page.body.contains(secret))
            }
            #expect(try await browser.get("/console/webhooks/wh_nothing").status == 404)
            #expect(ConsoleBrowser.path(try await browser.submit(path + "/replay", [("button", "failed")]), at: server) == path + "?done=nothing-to-replay")
            #expect(try await browser.submit(path + "/replay", [("button", "everything")]).status == 400)
            #expect(try await browser.get(path + "/remove").body.contains("127.0.0.1:9/hook"))
            #expect(ConsoleBrowser.path(try await browser.submit(path + "/remove"), at: server) == "/console/webhooks?done=webhook-removed")
            #expect(try await server.send(.get, "/v1/webhooks").items("id").isEmpty)
        }
    }

    @Test func deliveriesAreShownAndSentAgain() async throws {
        try await Stage.with { stage in
            let server = stage.server
            // Nobody listens there: each try fails.
            let webhook = try await server.send(.post, "/v1/webhooks", body: ["url": "http://127.0.0.1:9/hook", "events": ["grant.created"]]).string("id")
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.put("app", "user-%3C1%3E", ["access_token": "a"])
            let browser = try await ConsoleBrowser.signedIn(server)
            func delivery() async throws -> JSONValue? { try await server.send(.get, "/v1/webhooks/\(webhook)/deliveries")["items"]?.array?.first }
            try await eventually("a try that failed") { try await delivery()?["last_error"]?.string != nil }
            let id = try #require(try await delivery()?["id"]?.string)
            let page = try await browser.get("/console/webhooks/" + webhook)
            #expect(page.body.contains("Tried, will be tried again") && page.body.contains("user-&lt;1&gt;"))
            #expect(!(try await browser.get("/console/webhooks/\(webhook)?state=delivered").body.contains("user-&lt;1&gt;")))
            let sent = try await browser.submit("/console/webhooks/\(webhook)/replay", [("button", id)])
            #expect(ConsoleBrowser.path(sent, at: server) == "/console/webhooks/\(webhook)?done=replayed")
            #expect(try await browser.submit("/console/webhooks/\(webhook)/replay", [("button", "999999")]).status == 404)
        }
    }

    // MARK: Activity

    @Test func theLogIsShownInWordsAndFiltered() async throws {  // SEC-104
        try await Stage.with { stage in
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.put("app", "%22%3E%3Cimg%2Fsrc=x%3E", ["access_token": "a"])
            try await stage.put("app", "user-2", ["access_token": "a"])
            let all = try await browser.get("/console/activity")
            #expect(all.status == 200)
            #expect(all.body.contains("Tokens imported") && all.body.contains("Connection made") && all.body.contains("grantee activity verify"))
            #expect(all.body.contains("&lt;img/src=x&gt;") && !all.body.contains("<img"))
            let filtered = try await browser.get("/console/activity?action=grant.imported&subject=user-2&connection=app&key=key_admin&result=ok")
            #expect(filtered.body.contains("user-2") && !filtered.body.contains("img/src=x"))
            #expect(filtered.body.contains("value=\"grant.imported\" selected"))
            for query in ["result=forbidden", "key=key_nothing", "connection=other", "action=grant.revoked", "subject=user-3"] {
                let none = try await browser.get("/console/activity?" + query)
                #expect(none.status == 200 && none.body.contains("No entry fits"), "\(query)")
            }
            let refused = try await stage.server.makeKey(["name": "app", "role": "use"])
            #expect(try await stage.server.send(.get, "/v1/keys", key: .other(refused)).status == 403)
            #expect(try await browser.get("/console/activity?result=forbidden").body.contains("Request turned away"))
            #expect(try await browser.get("/console/activity?after=nonsense").body.contains("Tokens imported"))
        }
    }

    @Test func theLogIsTurnedPageByPage() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            for index in 0..<60 { try await stage.put("app", "user-\(index)", ["access_token": "a"]) }
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            var subjects: [String] = []
            var path: String? = "/console/activity?action=grant.imported"
            for _ in 0..<3 {
                guard let current = path else { break }
                let body = try await browser.get(current).body
                subjects += body.matches(of: /<td>(user-[0-9]+)<\/td>/).map { String($0.output.1) }
                path = body.firstMatch(of: /href="(\/console\/activity\?[^"]*after=[^"]*)"/).map { String($0.output.1.replacing("&amp;", with: "&")) }
            }
            #expect(path == nil)
            #expect(subjects.count == 60)
            #expect(Set(subjects) == Set((0..<60).map { "user-\($0)" }))
        }
    }

    @Test func everyActionThatIsNotedHasWords() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")
        var noted: Set<String> = []
        for module in ["Broker", "Vault", "Gateway"] {
            let folder = sources.appending(path: module).path
            for file in try FileManager.default.subpathsOfDirectory(atPath: folder) where file.hasSuffix(".swift") {
                let text = try String(contentsOfFile: folder + "/" + file, encoding: .utf8)
                for call in text.matches(of: /(?:\b(?:note|tally)\(|action: |static let \w+ = )[^\n,]*/) {
                    for name in call.output.matches(of: /"([a-z]+\.[a-z_]+)"/) { noted.insert(String(name.output.1)) }
                }
            }
        }
        #expect(noted.isSuperset(of: ["token.read", "api.called", "grant.created", "grant.reconnected", "request.refused", "connect.confirmed"]))
        let known = Set(ActivityWords.groups.flatMap(\.actions).map(\.code))
        #expect(noted.subtracting(known).isEmpty, "\(noted.subtracting(known).sorted())")
    }

    // MARK: Settings

    @Test func settingsTellHowTheServerIsSetUpAndNoPath() async throws {
        try await RunningServer.with {
            $0.forbidPasswordGrant = true
        } _: { server in
            let browser = try await ConsoleBrowser.signedIn(server)
            let page = try await browser.get("/console/settings")
            #expect(page.status == 200, "\(page.body)")
            for words in [server.url, "SQLite", "127.0.0.0/8", "Forbidden", "master key lies beside the database", "This one", "href=\"/metrics\""] {
                #expect(page.body.contains(words), "\(words)")
            }
            #expect(!page.body.contains(server.directory))
            #expect(!page.body.contains(server.adminKey))
        }
    }

    @Test func theVaultIsCheckedAtThePressOfAButton() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let checked = try await browser.submit("/console/settings/vault")
            #expect(checked.status == 200)
            #expect(checked.body.contains("Everything opens"), "\(checked.body)")
            let noted = try await stage.server.send(.get, "/v1/activity?action=vault.verified")
            #expect(noted.items("result") == ["ok"])
        }
    }

    @Test func sessionsAreSeenAndEnded() async throws {  // SEC-96
        try await RunningServer.with { server in
            let here = try await ConsoleBrowser.signedIn(server)
            let there = try await ConsoleBrowser.signedIn(server)
            func ids(_ page: Visitor.Page) -> [String] { page.body.matches(of: /value="(ses_[A-Za-z0-9_-]+)"/).map { String($0.output.1) } }
            let alone = try await ConsoleBrowser.signedIn(server)
            let all = ids(try await here.get("/console/settings"))
            #expect(all.count == 3)
            #expect(try await alone.submit("/console/sign-out").status < 400)
            let page = try await here.get("/console/settings")
            #expect(ids(page).count == 2)
            // The one in whose row "This one" stands is ours.
            let own = try #require(
                page.body.split(separator: "<tr>").first { $0.contains("This one") }.flatMap { $0.firstMatch(of: /value="(ses_[^"]+)"/)?.output.1 })
            let other = try #require(ids(page).first { $0 != own })
            #expect(
                ConsoleBrowser.path(try await here.submit("/console/settings/sessions", [("button", other)]), at: server)
                    == "/console/settings?done=session-ended")
            #expect(try await there.get("/console/settings").status == 401)
            #expect(try await here.submit("/console/settings/sessions", [("button", other)]).status == 404)
            let second = try await ConsoleBrowser.signedIn(server)
            #expect(
                ConsoleBrowser.path(try await here.submit("/console/settings/sessions", [("button", "all")]), at: server) == "/console/sign-in?done=signed-out")
            for browser in [here, second] { #expect(try await browser.get("/console/settings").status == 401) }
        }
    }

    @Test func aBoundKeySeesWhatIsItsOwn() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let key = try await stage.server.makeKey(["name": "bound", "role": "admin", "connections": ["app"]])
            let browser = try await ConsoleBrowser.signedIn(stage.server, key: key)
            let settings = try await browser.get("/console/settings")
            #expect(settings.status == 200 && settings.body.contains("This one") && !settings.body.contains("Check the vault"))
            for path in ["/console/keys", "/console/webhooks", "/console/activity"] { #expect(try await browser.get(path).status == 403, "\(path)") }
            #expect(try await browser.submit("/console/settings/vault").status == 403)
        }
    }

    // MARK: Kill switch

    @Test func manyAreRevokedWhenItIsMeant() async throws {  // SEC-66
        try await Stage.with { stage in
            let server = stage.server
            for id in ["app", "other"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            for id in ["app", "other"] { for subject in ["user-1", "user-2"] { try await stage.put(id, subject, ["access_token": "a"]) } }
            let browser = try await ConsoleBrowser.signedIn(server)
            let path = "/console/settings/revocations"
            #expect(try await browser.get(path).body.contains("What to revoke"))
            let question = try await browser.get(path + "?step=confirm&connection=app&subject=user-1&key_id=")
            #expect(question.body.contains("Every grant of the connection app and of the subject user-1 is revoked."))
            let all = try await browser.get(path + "?step=confirm")
            #expect(all.body.contains("Every grant of every connection") && all.body.contains("revoke everything"))

            // Without the word, and with the word for less than what is named.
            for form in [[("connection", "app")], [("connection", "app"), ("confirm", "yes")], [("confirm", "revoke")]] {
                #expect(try await browser.submit(path, form).status == 422)
            }
            #expect(try await server.send(.get, "/v1/revocations").items("id").isEmpty)

            let form = [
                ("csrf", try await browser.csrf()), ("form", "one"), ("connection", "app"), ("subject", ""), ("key_id", ""), ("confirm", "Revoke"),
            ]
            let done = try await browser.post(path, form)
            let report = try #require(ConsoleBrowser.path(done, at: server), "\(done.body)")
            #expect(ConsoleBrowser.path(try await browser.post(path, form), at: server) == report)
            #expect(try await server.send(.get, "/v1/revocations").items("id").count == 1)
            for subject in ["user-1", "user-2"] {
                #expect(try await stage.token("app", "subject=\(subject)").isProblem("not_connected", 409))
                #expect(try await stage.token("other", "subject=\(subject)").status == 200)
            }
            let page = try await browser.get(report)
            #expect(page.body.contains("<dt>Grants that are not served any more</dt><dd>2</dd>"), "\(page.body)")
            #expect(try await browser.get(path).body.contains(report))
            #expect(try await browser.submit(path, [("connection", "nowhere"), ("confirm", "revoke")]).status == 404)
            #expect(try await browser.submit(path, [("confirm", "revoke  EVERYTHING")]).status == 303)
            #expect(try await stage.token("other", "subject=user-1").isProblem("not_connected", 409))
        }
    }

    // MARK: An agent's link

    @Test func anAgentsLinkForTheSharedAccountIsConfirmedAtTheConsole() async throws {  // SEC-130
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(MCPTests.open(stage.provider.connection("app", "authorization_code")))
            let agent = try await server.makeKey(["name": "robot", "role": "agent"])
            let result = try await MCPTests.Client(server: server, key: .other(agent)).call("connect", ["connection": "app"])
            #expect(result.isError == false, "\(result.text)")
            let link = try #require(result["connect_url"]?.string)
            #expect(result.text.contains("confirms it at the console"))
            let path = String(link.dropFirst(server.url.count))
            let confirm = path.replacing("/connect/", with: "/console/confirm/")

            // Whoever gets the link learns where to go, and goes nowhere with it.
            let stranger = ConsoleBrowser(server)
            let shown = try await stranger.get(path)
            #expect(shown.status == 200 && shown.body.contains("href=\"\(confirm)\"") && shown.body.contains("robot"))
            #expect(!shown.body.contains("/continue"))
            #expect(try await stranger.get(path + "/continue").status == 403)
            #expect(try await stranger.get(confirm).status == 401)
            #expect(try await stranger.post(confirm, []).status == 401)

            // Looking is not confirming.
            let browser = try await ConsoleBrowser.signedIn(server)
            let question = try await browser.get(confirm)
            #expect(question.status == 200 && question.body.contains("robot") && question.body.contains("<code>read</code>"), "\(question.body)")
            #expect(try await browser.get(path + "/continue").status == 403)
            #expect(try await browser.post(confirm, []).status == 403)
            #expect(try await browser.get(path + "/continue").status == 403)

            let confirmed = try await browser.submit(confirm)
            #expect(ConsoleBrowser.path(confirmed, at: server) == path, "\(confirmed.body)")
            #expect(try await browser.get(path).body.contains("href=\"\(path)/continue\""))
            // In this browser alone.
            #expect(try await stranger.get(path + "/continue").status == 403)
            let left = try await browser.get(path + "/continue")
            let callback = try await stage.consent(to: try #require(left.headers[.location], "\(left.body)"), by: Visitor())
            let back = try await browser.get(String(callback.dropFirst(server.url.count)))
            #expect(ConsoleBrowser.path(back, at: server)?.hasPrefix("/console/connections/app?grantee_status=connected") == true, "\(back.body)")
            #expect(try await stage.grant("app")["state"]?.string == "active")

            #expect(try await browser.submit(confirm).status == 409)
            #expect(try await server.send(.get, "/v1/activity?action=connect.confirmed").items("key") == ["key_admin"])
        }
    }

    @Test func onlyWhoMayConnectItConfirms() async throws {  // SEC-130
        try await Stage.with { stage in
            let server = stage.server
            for id in ["app", "other"] { try await stage.add(MCPTests.open(stage.provider.connection(id, "authorization_code"))) }
            let link = try #require(try await MCPTests.Client(server: server).call("connect", ["connection": "app"])["connect_url"]?.string)
            let confirm = String(link.dropFirst(server.url.count)).replacing("/connect/", with: "/console/confirm/")
            for bounds in [["connections": ["other"]], ["subjects": ["user-1"]]] as [JSONObject] {
                var document = bounds
                document["name"] = "bound"
                document["role"] = "admin"
                let browser = try await ConsoleBrowser.signedIn(server, key: try await server.makeKey(.object(document)))
                #expect(try await browser.get(confirm).status == 403)
                #expect(try await browser.submit(confirm).status == 403)
            }
            // A link that needs nobody's word cannot be confirmed.
            let plain = try await stage.begin("app", ["subject": "user-1"])
            let browser = try await ConsoleBrowser.signedIn(server)
            #expect(try await browser.get("/console/confirm/" + plain.ticket).status == 404)
            #expect(try await browser.get("/console/confirm/nothing").status == 404)
        }
    }
}
