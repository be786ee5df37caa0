import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import Synchronization
import TestSupport
import Testing

/// Marked secrets in every place that takes or gets one; then a search of all that the server said and kept.
@Suite struct SecrecyTests {
    /// A secret with a core that every encoding leaves recognisable.
    struct Marker: Sendable {
        let name: String
        let text: String
        private let forms: [Data]

        /// - Parameter around: what stands before and behind the core, for encoders to change.
        init(_ name: String, around: (String, String) = ("", "")) {
            let core = UUID().uuidString.replacing("-", with: "")
            self.name = name
            text = around.0 + core + around.1
            forms = Self.forms(of: core)
        }

        /// One that was met on the way.
        init(_ name: String, found: String) {
            self.name = name
            text = found
            forms = Self.forms(of: found)
        }

        /// As it is, in Base64 and base64url wherever it begins in the encoded text, percent-encoded, and in hex.
        private static func forms(of core: String) -> [Data] {
            let bytes = Array(core.utf8)
            let hex = bytes.map { String($0, radix: 16) }
            var texts = [core, hex.joined(), hex.joined().uppercased(), hex.map { "%" + $0 }.joined(), hex.map { "%" + $0.uppercased() }.joined()]
            for offset in 0..<3 {
                let encoded = Array(Base64URL.encode([UInt8](repeating: 0, count: offset) + bytes))
                // Only characters that no neighbour has a part in.
                let whole = String(encoded[((offset * 8 + 5) / 6)..<((offset + bytes.count) * 8 / 6)])
                texts += [whole, whole.replacing("-", with: "+").replacing("_", with: "/")]
            }
            return texts.map { Data($0.utf8) }
        }

        func isIn(_ data: Data) -> Bool { forms.contains { data.range(of: $0) != nil } }
        func isIn(_ text: String) -> Bool { isIn(Data(text.utf8)) }
    }

    /// What the server answered.
    private final class Record: Sendable {
        private let answers = Mutex<[(what: String, text: String)]>([])
        var all: [(what: String, text: String)] { answers.withLock { $0 } }

        func add(_ what: String, _ text: String, _ headers: HTTPFields = [:]) {
            let fields = headers.map { "\($0.name.rawName): \($0.value)" }.joined(separator: "\n")
            answers.withLock { $0.append((what, fields + "\n" + text)) }
        }
    }

    @Test func aMarkerIsFoundInEachOfItsForms() {
        let marker = Marker("m", around: ("+/ ", "=%"))
        let bytes = Array(marker.text.utf8)
        for prefix in ["", "a", "ab", "abc"] {
            let text = Array(prefix.utf8) + bytes + Array("zz".utf8)
            #expect(marker.isIn(Base64URL.encode(text)))
            #expect(marker.isIn(Data(text).base64EncodedString()))
        }
        #expect(marker.isIn("x=" + Form.encode(marker.text)))
        #expect(marker.isIn(bytes.map { "%" + String($0, radix: 16) }.joined()))
        #expect(!marker.isIn(Data(Marker("other").text.utf8)))
    }

    @Test func noSecretIsSaidOrKeptInTheClear() async throws {  // SEC-07, SEC-51, SEC-52, SEC-106, SEC-110
        let clientSecret = Marker("client secret", around: ("s%+", "/= "))
        let newSecret = Marker("new client secret", around: ("n&", "#"))
        let password = Marker("stored password", around: ("p w+", "%"))
        let typed = Marker("typed password", around: ("t \"", "\\"))
        let access = (0..<5).map { Marker("access token \($0)", around: ("a.", "~/+=")) }
        let refresh = (0..<5).map { Marker("refresh token \($0)", around: ("r/", "-_.")) }
        let refused = Marker("refused token", around: ("x ", ""))
        let wrongKey = Marker("wrong API key", around: ("gk_", ""))
        let wrongCode = Marker("code for nobody")
        let wrongState = Marker("state of nobody")
        var markers = [clientSecret, newSecret, password, typed, refused, wrongKey, wrongCode, wrongState] + access + refresh

        try await Stage.with { stage in
            let server = stage.server
            let record = Record()
            @discardableResult
            func api(
                _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, key: RunningServer.Key = .admin
            ) async throws -> RunningServer.Answer {
                let answer = try await server.send(method, path, body: body, key: key)
                record.add("\(method) \(path)", answer.text, answer.headers)
                return answer
            }
            /// The client's next answers hold these tokens.
            func give(_ index: Int) async throws {
                let body: JSONValue = [
                    "access_token": .string(access[index].text), "refresh_token": .string(refresh[index].text), "token_type": "Bearer", "expires_in": 3600,
                ]
                let text = String(decoding: body.serialized(), as: UTF8.self)
                try await stage.faults("marked", ["fault": "answer", "value": ["body": .string(text)]])
            }
            func connection(_ id: String, _ grantType: String, _ oauth: JSONObject = [:]) async throws {
                var document = stage.provider.connection(id, grantType, client: "marked", secret: clientSecret.text, oauth: oauth).object ?? [:]
                document["return_origins"] = [.string(stage.provider.url)]
                #expect(try await api(.post, "/v1/connections", .object(document)).status == 201)
            }
            try await stage.provider.client(["id": "marked", "secret": .string(clientSecret.text)])

            // Stored password, typed password, code.
            try await connection("stored", "password", ["username": "alice", "password": .string(password.text)])
            try await give(0)
            #expect(try await stage.token("stored")["access_token"]?.string == access[0].text)
            try await connection("typed", "password")
            try await give(1)
            let form = try await stage.begin("typed", ["subject": "user-1"])
            let formPage = try await Visitor().connect(form.url, password: typed.text)
            record.add("form", formPage.body, formPage.headers)
            #expect(try await stage.token("typed", "subject=user-1")["access_token"]?.string == access[1].text)

            try await connection("code", "authorization_code", ["pkce": "plain"])
            try await give(2)
            let visitor = Visitor()
            let link = try await stage.begin("code", ["subject": "user-1"])
            let shown = try await visitor.open(link.url)
            let binding = try #require(shown.headers[.setCookie]?.split(separator: ";").first?.split(separator: "=").last)
            let left = try await stage.leave(link, by: visitor)
            let sent = try parameters(of: left)
            let back = try await stage.consent(to: left, by: visitor)
            let result = try await visitor.open(back)
            record.add("result", result.body, result.headers)
            #expect(try await stage.token("code", "subject=user-1")["access_token"]?.string == access[2].text)
            // The reload of a callback.
            let reloaded = try await visitor.open(back)
            record.add("reloaded", reloaded.body, reloaded.headers)

            // A code that waits for the application.
            let waiting = try await stage.begin(
                "code", ["subject": "user-2", "return_url": .string(stage.provider.url + "/"), "completion": "application"])
            let other = Visitor()
            let start = try await other.request(.get, waiting.url)
            let parked = try #require(start.headers[.location])
            let parkedBack = try await stage.consent(to: parked, by: other)
            _ = try await other.open(parkedBack)
            #expect(try await stage.session(waiting)["state"]?.string == "pending")

            // A nonce.
            try await stage.add(
                stage.provider.connection("openid", "authorization_code", oauth: ["scopes": ["openid"], "issuer": .string(stage.provider.url)]))
            let third = Visitor()
            let identity = try await stage.begin("openid")
            let asked = try await stage.leave(identity, by: third)
            _ = try await third.open(try await stage.consent(to: asked, by: third))

            let answered = try parameters(of: back)
            let parkedSent = try parameters(of: parked)
            let parkedAnswer = try parameters(of: parkedBack)
            let met: [(String, String?)] = [
                ("ticket", link.ticket), ("other ticket", waiting.ticket), ("binding", String(binding)), ("admin key", server.adminKey),
                ("state", sent["state"]), ("verifier", sent["code_challenge"]), ("code", answered["code"]), ("parked state", parkedSent["state"]),
                ("parked verifier", parkedSent["code_challenge"]), ("parked code", parkedAnswer["code"]), ("nonce", try parameters(of: asked)["nonce"]),
            ]
            for (name, text) in met {
                let text = try #require(text, "\(name)")
                #expect(text.utf8.count >= 22, "\(name)")
                markers.append(Marker(name, found: text))
            }

            // Imports, refreshes, and a provider that misbehaves.
            try await api(
                .put, "/v1/connections/code/grants/user-3",
                ["access_token": .string(access[3].text), "refresh_token": .string(refresh[3].text), "expires_in": 3600])
            try await give(4)
            #expect(try await api(.post, "/v1/connections/code/grants/user-1/refresh").status == 200)
            #expect(try await stage.token("code", "subject=user-1")["access_token"]?.string == access[4].text)
            let faults: [JSONValue] = [
                "html", "status_500", "dropped_before", "dropped_after", "big_body", ["fault": "error", "value": "invalid_grant"],
                ["fault": "answer", "value": ["body": "{\"access_token\":"]], ["fault": "redirect", "value": "http://localhost:1/x"],
            ]
            for fault in faults {
                try await stage.faults("marked", fault)
                try await api(.post, "/v1/connections/stored/grants/-/refresh")
                try await api(.post, "/v1/connections/typed/grants/user-1/refresh")
                try await api(.post, "/v1/connections/code/grants/user-3/refresh")
                let failing = try await stage.begin("typed", ["subject": "user-4"])
                let page = try await Visitor().connect(failing.url, password: typed.text)
                record.add("failing form", page.body, page.headers)
                try await api(.patch, "/v1/connections/stored", ["name": "Stored"])
                try await api(.patch, "/v1/connections/typed", ["name": "Typed"])
                try await api(.patch, "/v1/connections/code", ["name": "Code"])
            }

            // Requests that are refused with secrets in them.
            let secret = JSONValue.string(clientSecret.text)
            try await api(.post, "/v1/connections", ["name": 7, "oauth": ["grant_type": "password", "client_secret": secret, "password": [secret]]])
            try await api(.patch, "/v1/connections/code", ["oauth": ["token_url": "https://collector.example/token", "client_secret": ["a": secret]]])
            try await api(.patch, "/v1/connections/code", ["oauth": ["token_url": "https://collector.example/token"]])
            try await api(.post, "/v1/connections/code/connect", ["username": "alice", "password": .string(typed.text)])
            try await api(.put, "/v1/connections/code/grants/user-5", ["access_token": .string(refused.text)])
            try await api(.put, "/v1/connections/stored/grants/-", ["access_token": 7, "refresh_token": .string(refresh[0].text)])
            #expect(try await api(.patch, "/v1/connections/code", ["oauth": ["client_secret": .string(newSecret.text)]]).status == 200)
            _ = try await api(.get, "/v1/keys", key: .other(wrongKey.text))
            let nobody = try await Visitor().open(server.url + "/oauth/callback/code?code=\(wrongCode.text)&state=\(wrongState.text)")
            record.add("callback of nobody", nobody.body, nobody.headers)
            // Here the caller's own path and query come back at most to the caller; the log has neither.
            for path in ["/v1/connections/\(wrongKey.text)", "/connect/\(wrongKey.text)", "/nowhere/\(wrongKey.text)", "/v1/keys?key=\(wrongKey.text)"] {
                #expect(try await server.send(.get, path).status >= 400)
            }

            try await stage.provider.client(["id": "marked", "secret": .string(newSecret.text)])

            // A revocation that the provider cannot do now leaves the tokens behind, sealed.
            try await stage.faults("marked", ["fault": "revocation_status", "value": 503])
            #expect(try await api(.delete, "/v1/connections/code/grants/user-3")["provider"]?.string == "pending")

            // Everything there is to read, for each role.
            let made = try await server.send(.post, "/v1/keys", body: ["name": "use", "role": "use"])
            let agent = try await server.makeKey(["name": "agent", "role": "agent"])
            markers.append(Marker("use key", found: made.string("key")))
            markers.append(Marker("agent key", found: agent))
            let paths = [
                "/v1/connections", "/v1/connections/stored", "/v1/connections/code", "/v1/grants", "/v1/connections/code/grants",
                "/v1/connections/stored/grants/-", "/v1/connect-sessions/\(link.session)", "/v1/connect-sessions/\(waiting.session)",
                "/v1/activity?limit=200", "/v1/keys", "/v1/presets", "/metrics", "/openapi.json", "/health/ready", "/connect/result/\(link.session)", "/",
            ]
            for key in [RunningServer.Key.admin, .other(made.string("key")), .other(agent), .none] {
                for path in paths { try await api(.get, path, key: key) }
            }

            // The search.
            #expect(record.all.count > 100)
            for (what, text) in record.all {
                let data = Data(text.utf8)
                for marker in markers { #expect(!marker.isIn(data), "the \(marker.name) is in the answer to \(what)") }
            }
            let log = Data(server.log.text.utf8)
            #expect(log.count > 1000)
            for marker in markers { #expect(!marker.isIn(log), "the \(marker.name) is in the log") }
            let files = try FileManager.default.subpathsOfDirectory(atPath: server.directory)
            #expect(files.contains("grantee.sqlite-wal"))
            for file in files where !["admin.key", "master.key"].contains(file) {
                let data = try Data(contentsOf: URL(fileURLWithPath: server.directory + "/" + file))
                for marker in markers { #expect(!marker.isIn(data), "the \(marker.name) is in \(file)") }
            }
            #if os(Linux)
                let arguments = try Data(contentsOf: URL(fileURLWithPath: "/proc/self/cmdline"))
                for marker in markers { #expect(!marker.isIn(arguments), "the \(marker.name) is in the process list") }
            #endif
        }
    }

    @Test func filesAreTheirOwnersAlone() async throws {  // SEC-55
        try await RunningServer.with { server in
            func mode(_ path: String) throws -> Int? { try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int }
            #expect(try mode(server.directory) == 0o700)
            let files = try FileManager.default.subpathsOfDirectory(atPath: server.directory)
            #expect(Set(files).isSuperset(of: ["grantee.sqlite", "master.key", "admin.key", "server.json", "lock"]))
            for file in files { #expect(try mode(server.directory + "/" + file) == 0o600, "\(file)") }
        }
    }

    @Test func manyTripsOfOneConnectionDoNotMeet() async throws {  // SEC-07
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let ended = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
                for number in 0..<30 {
                    group.addTask {
                        let link = try await stage.begin("app", ["subject": .string("user-\(number)")])
                        _ = try await Visitor().connect(link.url, username: number % 2 == 0 ? "alice" : "bob")
                        return (number, try await stage.whoami(stage.token("app", "subject=user-\(number)")))
                    }
                }
                return try await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
            }
            #expect(ended.count == 30)
            for (number, account) in ended { #expect(account == (number % 2 == 0 ? "user-alice" : "user-bob")) }
        }
    }

    @Test func whatWasForgottenIsNotInTheFiles() async throws {  // SEC-53
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            let token = try await stage.token("app", "subject=user-1")
            #expect(try await stage.server.send(.delete, "/v1/connections/app").status == 204)
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_found", 404))
            #expect(try await stage.whoami(token) == nil)
            // Made anew, it inherits nothing.
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            #expect(try await stage.grant("app", "user-1").isProblem("not_found", 404))
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))
        }
    }
}
