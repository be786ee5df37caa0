import Egress
import OAuth
import SQLiteStore
import Testing
import Vault

@testable import Broker

@Suite struct ConnectionRulesTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let pointer: String
        let change: @Sendable (inout ConnectionSettings) -> Void
        var testDescription: String { pointer }
        init(_ pointer: String, _ change: @escaping @Sendable (inout ConnectionSettings) -> Void) {
            self.pointer = pointer
            self.change = change
        }
    }

    static let rows: [Row] = [
        Row("/oauth/token_url") { $0.oauth.tokenURL = nil },
        Row("/oauth/token_url") { $0.oauth.tokenURL = "not a url" },
        Row("/oauth/token_url") { $0.oauth.tokenURL = "https://user@as.example/" },
        Row("/oauth/token_url") { $0.oauth.tokenURL = "https://{nowhere}.example/" },
        Row("/oauth/token_url") { $0.oauth.tokenURL = "https://{token_response.x}.example/" },
        Row("/oauth/authorization_url") { $0.oauth.authorizationURL = nil },
        Row("/oauth/authorization_url") { $0.oauth.authorizationURL = "javascript:alert(1)" },
        Row("/oauth/authorization_url") { $0.oauth.authorizationURL = "https://as.example/a#b" },
        Row("/oauth/client_id") { $0.oauth.clientID = nil },
        Row("/oauth/redirect_uri") { $0.oauth.redirectURI = "http://app.example/cb" },
        Row("/oauth/pkce") { $0.oauth.pkce = "s256" },
        Row("/oauth/client_authentication") { $0.oauth.clientAuthentication = "magic" },
        Row("/oauth/scopes/0") { $0.oauth.scopes = ["a b"] },
        Row("/oauth/username") { $0.oauth.username = "alice" },
        Row("/oauth/authorization_params/state") { $0.oauth.profile.authorizationParams = ["state": "x"] },
        Row("/oauth/authorization_params/Client_ID") { $0.oauth.profile.authorizationParams = ["Client_ID": "x"] },
        Row("/oauth/authorization_params/code_challenge_method") { $0.oauth.profile.authorizationParams = ["code_challenge_method": "plain"] },
        Row("/oauth/token_params/redirect_uri") { $0.oauth.profile.tokenParams = ["redirect_uri": "x"] },
        Row("/oauth/refresh_params/refresh_token") { $0.oauth.profile.refreshParams = ["refresh_token": "x"] },
        Row("/oauth/token_headers/Authorization") { $0.oauth.profile.tokenHeaders = ["Authorization": "x"] },
        Row("/oauth/token_headers/host") { $0.oauth.profile.tokenHeaders = ["host": "x"] },
        Row("/oauth/token_headers/X-A") { $0.oauth.profile.tokenHeaders = ["X-A": "a\r\nX-B: b"] },
        Row("/oauth/token_headers/X-A") { $0.oauth.profile.tokenHeaders = ["X-A": "a\u{0}b"] },  // SEC-79
        Row("/headers/X A") { $0.headers = ["X A": "x"] },
        Row("/headers/X-A") { $0.headers = ["X-A": "a\r\nX-B: b"] },  // SEC-79
        Row("/headers/X-A") { $0.headers = ["X-A": "a\u{7F}"] },
        Row("/headers/Cookie") { $0.headers = ["Cookie": "x"] },
        Row("/headers/content_length") { $0.headers = ["content_length": "0"] },  // SEC-81, SEC-92
        Row("/headers/Transfer_Encoding") { $0.headers = ["Transfer_Encoding": "chunked"] },
        Row("/headers/X-Forwarded-Host") { $0.headers = ["X-Forwarded-Host": "evil.example"] },
        Row("/headers/x_http_method_override") { $0.headers = ["x_http_method_override": "DELETE"] },
        Row("/headers/Sec-Fetch-Site") { $0.headers = ["Sec-Fetch-Site": "same-origin"] },
        Row("/oauth/token_request_format") { $0.oauth.profile.tokenRequestFormat = "xml" },
        Row("/return_origins/0") { $0.returnOrigins = ["https://app.example/path"] },
        Row("/return_origins/0") { $0.returnOrigins = ["http://app.example"] },
        Row("/variables/tenant") { $0.variables = ["tenant": "a.b/c"] },
        Row("/variable_patterns/shop") { $0.variablePatterns = ["shop": .init(kind: .label)] },
        Row("/variable_patterns/callback.shop/pattern") { $0.variablePatterns = ["callback.shop": .init(kind: .regex, pattern: "(")] },
        Row("/variable_patterns/token_response.u/hosts/0") { $0.variablePatterns = ["token_response.u": .init(kind: .origin, hosts: ["*.com"])] },
        Row("/base_url") { $0.baseURL = "https://{callback.shop}.example" },
        Row("/authentication_instructions") { $0.authenticationInstructions = "Host: <token>" },  // SEC-92
        Row("/authentication_instructions") { $0.authenticationInstructions = "?access_token=<token>" },  // SEC-91
        Row("/authentication_instructions") { $0.authenticationInstructions = "X-Shop: <callback.shop>" },
        Row("/authentication_instructions") {
            $0.authenticationInstructions = "X-Client: <client_id>"
            $0.oauth.grantType = .password
            $0.oauth.clientID = nil
        },
        Row("/authentication_instructions") {
            $0.authenticationInstructions = "Ask somebody."
            $0.agentAccess.enabled = true
        },
        Row("/headers/x_key") {
            $0.authenticationInstructions = "X-Key: <token>"
            $0.headers = ["x_key": "fixed"]
        },
        Row("/base_url") { $0.agentAccess.enabled = true },
        Row("/agent_access/methods/0") { $0.agentAccess.methods = ["TRACE"] },
    ]

    @Test("Each wrong field is named", arguments: rows)
    func namesTheField(row: Row) async throws {
        let bench = try await Bench()
        do {
            try await bench.connection("c", .authorizationCode, change: row.change)
            Issue.record("it was saved")
        } catch let problem as Problem {
            #expect(problem.code == .invalidRequest)
            #expect(problem.errors.map(\.pointer).contains(row.pointer), "\(problem.errors)")
        }
        #expect(try await bench.store.connection(id: "c") == nil)
    }

    @Test func instructionsAreNamedByLineAndReason() async throws {
        let bench = try await Bench()
        do {
            try await bench.connection("c", .authorizationCode) { $0.authenticationInstructions = "Read this.\nHost: <token>\n?a=<token>" }
            Issue.record("it was saved")
        } catch let problem as Problem {
            #expect(problem.errors.map(\.pointer) == ["/authentication_instructions"])
            #expect(problem.errors.first?.detail.hasPrefix("line 2: Host cannot be set by a rule") == true)
        }
    }

    @Test func whatInstructionsNeedCanBeGiven() async throws {
        let bench = try await Bench()
        try await bench.connection("query", .authorizationCode) {
            $0.authenticationInstructions = "?access_token=<token>"
            $0.allowTokenInQuery = true
        }
        try await bench.connection("captured", .authorizationCode) {
            $0.authenticationInstructions = "X-Shop: <callback.shop> <token>"
            $0.variablePatterns = ["callback.shop": .init(kind: .label)]
        }
        try await bench.connection("agents", .authorizationCode) {
            $0.baseURL = "https://api.example"
            $0.agentAccess.enabled = true
            $0.agentAccess.paths = ["/repos/*"]
        }
        // Guidance alone is enough while no agent calls.
        try await bench.connection("guidance", .authorizationCode) { $0.authenticationInstructions = "Ask somebody." }
    }

    @Test(arguments: ["http://as.example/", "http://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://localhost/x"])
    func aURLThatMayNotBeReachedIsRefusedWhenSaved(url: String) async throws {  // SEC-67, SEC-70
        let bench = try await Bench(egressAllow: [])
        #expect(await bench.code { try await bench.connection("c", .authorizationCode) { $0.oauth.tokenURL = url } } == .egressBlocked)
    }

    @Test func loopbackIsReachedWhereTheOperatorAllowsIt() async throws {  // SEC-71
        let bench = try await Bench(egressAllow: ["127.0.0.0/8"])
        try await bench.connection("c", .authorizationCode) { $0.oauth.tokenURL = "http://127.0.0.1:9999/token" }
    }

    @Test func aMovedTokenURLNeedsTheSecretAnewAndVoidsGrants() async throws {  // SEC-37
        let bench = try await Bench()
        let connection = try await bench.connection("c", .authorizationCode)
        try await bench.importGrant("c")
        var settings = connection.settings
        settings.oauth.tokenURL = "https://collector.example/token"
        func update(_ secret: Broker.SecretChange<SecretKind.ClientSecret>) async throws {
            _ = try await bench.broker.updateConnection(
                id: "c", settings: settings, clientSecret: secret, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
        }
        #expect(await bench.code { try await update(.keep) } == .invalidRequest)
        try await update(.set(ClientSecret("again")))
        #expect(await bench.code { _ = try await bench.token("c") } == .reauthorizationRequired)
        #expect(bench.provider.seen.isEmpty)
        // Moving back revives nothing.
        settings.oauth.tokenURL = "https://as.example/token"
        try await update(.set(ClientSecret("again")))
        #expect(await bench.code { _ = try await bench.token("c") } == .reauthorizationRequired)
    }

    @Test(arguments: [false, true])
    func aMovedBaseURLVoidsGrantsUnlessTheyAreKept(keep: Bool) async throws {  // SEC-37
        let bench = try await Bench()
        let connection = try await bench.connection("c", .authorizationCode) { $0.baseURL = "https://api.example" }
        try await bench.importGrant("c")
        #expect(try await bench.token("c").text == "at-0")
        var settings = connection.settings
        settings.baseURL = "https://elsewhere.example"
        _ = try await bench.broker.updateConnection(
            id: "c", settings: settings, clientSecret: .keep, password: .keep, keepGrants: keep, expectedRevision: nil, by: bench.admin)
        #expect(await bench.code { _ = try await bench.token("c") } == (keep ? nil : .reauthorizationRequired))
    }

    @Test func twoEditorsDoNotOverwriteEachOther() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("c", .authorizationCode)
        let codes = await withTaskGroup(of: Problem.Code?.self) { group in
            for index in 0..<10 {
                group.addTask {
                    var settings = connection.settings
                    settings.name = "editor \(index)"
                    return await bench.code {
                        _ = try await bench.broker.updateConnection(
                            id: "c", settings: settings, clientSecret: .keep, password: .keep, keepGrants: false,
                            expectedRevision: connection.revision, by: bench.admin)
                    }
                }
            }
            return await group.reduce(into: [Problem.Code?: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(codes == [nil: 1, .preconditionFailed: 9])
    }

    @Test func whatIsMadeAnewUnderAnIDInheritsNothing() async throws {
        let bench = try await Bench()
        let first = try await bench.connection("c", .authorizationCode)
        try await bench.importGrant("c")
        _ = try await bench.token("c")
        try await bench.broker.deleteConnection(id: "c", by: bench.admin)
        #expect(await bench.code { _ = try await bench.token("c") } == .notFound)
        let second = try await bench.connection("c", .authorizationCode)
        #expect(first.uid != second.uid)
        #expect(await bench.code { _ = try await bench.token("c") } == .notConnected)
    }
}
