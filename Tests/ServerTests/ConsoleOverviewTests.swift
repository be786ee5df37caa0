import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing
import Vault

@testable import Server

/// The overview of the connections, and what is asked before one is removed.
@Suite struct ConsoleOverviewTests {
    /// The ids of the connections that a page shows, in its order.
    private func shown(_ page: Visitor.Page) -> [String] {
        page.body.matches(of: /<h2><a href="\/console\/connections\/([a-z0-9-]+)">/).map { String($0.output.1) }
    }

    @Test func theFirstVisitTeaches() async throws {
        try await Stage.with { stage in
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let page = try await browser.get("/console")
            #expect(page.status == 200)
            #expect(page.body.contains("A connection is one external API"))
            #expect(page.body.contains("href=\"/console/new\""))
            #expect(!page.body.contains("name=\"q\""))
        }
    }

    @Test func troubleComesFirstInWords() async throws {
        try await Stage.with { stage in
            for id in ["a-fine", "b-lost", "c-new"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            try await stage.add(stage.provider.connection("d-broken", "client_credentials", client: "machine", secret: "wrong"))
            try await stage.connect("a-fine", ["subject": "user-1"])
            try await stage.put("b-lost", "user-1", ["access_token": "ended", "expires_in": 0])
            #expect(try await stage.token("d-broken").status != 200)
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let page = try await browser.get("/console")
            #expect(shown(page) == ["d-broken", "b-lost", "a-fine", "c-new"])
            let told = ["Needs a fix", "Connect again", "Works", "Not connected", "1 to connect again", "1 active", "2 need attention", "Client Credentials"]
            for words in told {
                #expect(page.body.contains(words), "\(words)")
            }
            #expect(shown(try await browser.get("/console?show=trouble")) == ["d-broken", "b-lost"])
            #expect(shown(try await browser.get("/console?q=FINE")) == ["a-fine"])
            #expect(try await browser.get("/console?q=nowhere").body.contains("No connection is called that"))
            #expect(shown(try await browser.get("/console?after=b-lost")) == ["d-broken", "c-new"])
        }
    }

    @Test func namesAndSearchesAreText() async throws {  // SEC-104
        try await Stage.with { stage in
            var document = stage.provider.connection("app", "authorization_code").object ?? [:]
            document["name"] = #"<img src=x onerror=alert(1)>"'"#
            try await stage.add(.object(document))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            for path in ["/console", "/console?q=%3Cimg", "/console/connections/app/remove"] {
                let page = try await browser.get(path)
                #expect(page.body.contains("&lt;img"), "\(path)")
                #expect(!page.body.contains("<img"), "\(path)")
            }
        }
    }

    @Test func aConnectionInUseIsRemovedWithItsName() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let path = "/console/connections/app/remove"
            let unused = try await browser.get(path)
            #expect(unused.status == 200 && !unused.body.contains("name=\"id\""))
            try await stage.connect("app", ["subject": "user-1"])
            let asked = try await browser.get(path)
            #expect(asked.status == 200)
            #expect(asked.body.contains("Its grant is forgotten") && asked.body.contains("name=\"id\""))
            for typed in ["", "App", "other"] {
                let refused = try await browser.submit(path, [("id", typed)])
                #expect(refused.status == 422, "\(typed)")
                #expect(refused.body.contains("id=\"word-error\""), "\(typed)")
                #expect(refused.body.contains("value=\"\(typed)\""), "\(typed)")
            }
            #expect(try await stage.grant("app", "user-1").status == 200)
            let done = try await browser.submit(path, [("id", " app ")])
            #expect(done.status == 303)
            #expect(ConsoleBrowser.path(done, at: stage.server) == "/console?done=connection-removed")
            #expect(try await stage.server.send(.get, "/v1/connections/app").status == 404)
            #expect(try await browser.get("/console?done=connection-removed").body.contains("The connection is removed"))
            #expect(try await browser.submit(path, [("id", "app")]).status == 404)
        }
    }

    @Test(arguments: [
        (0, "just now"), (9, "just now"), (10, "10 seconds ago"), (60, "1 minute ago"), (119, "1 minute ago"), (120, "2 minutes ago"),
        (3600, "1 hour ago"), (86_399, "23 hours ago"), (86_400, "1 day ago"), (2_592_000, "1 month ago"), (31_536_000, "1 year ago"),
        (-5, "just now"), (-11, "in 11 seconds"), (-7200, "in 2 hours"),
    ])
    func timesAreSaidInWords(seconds: Int, words: String) {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let moment = now + .seconds(-seconds)
        #expect(TimeText.ago(moment, from: now) == words)
        #expect(TimeText.value(moment, from: now)["datetime"] as? String == moment.rfc3339)
    }

    @Test func theTimeAheadIsSaidTheOtherWayRound() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        #expect(TimeText.ahead(now + .seconds(9), from: now) == "in a moment")
        #expect(TimeText.ahead(now + .seconds(3600), from: now) == "in 1 hour")
        #expect(TimeText.ahead(now + .seconds(-60), from: now) == "1 minute ago")
    }
}
