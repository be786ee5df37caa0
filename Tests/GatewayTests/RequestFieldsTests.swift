import Broker
import NIOHTTP1
import Testing
import Vault

@testable import Gateway

@Suite struct RequestFieldsTests {
    static func policy(headers: [String] = []) -> AgentPolicy {
        var access = AgentAccess()
        access.enabled = true
        access.paths = ["/**"]
        access.headers = headers
        return AgentPolicy(access, connection: "github")
    }

    /// What goes on of `fields`, a line each.
    static func forwarded(_ fields: [(String, String)], injected: Set<String> = [], policy: AgentPolicy? = nil) throws -> [String] {
        try RequestFields.forwarded(HTTPHeaders(fields), injected: injected, policy: policy).map { "\($0.name): \($0.value)" }
    }

    /// As it is, in capitals, in small letters, and as a server that makes variables of names would read it too.
    static func spellings(_ name: String) -> [String] {
        let written = [name, name.uppercased(), name.lowercased()]
        return written + written.map { $0.replacing("-", with: "_") } + [name.replacing("-", with: ".")]
    }

    static let credentials = [
        "Authorization", "Cookie", "Cookie2", "Set-Cookie", "Proxy", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Anything",
        "Grantee-Subject", "Grantee-Problem", "Grantee-New",
    ]
    static let hopByHop = [
        "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Host", "Content-Length",
        "Expect", "Alt-Used", "Early-Data", "Max-Forwards",
    ]
    static let forwarding = [
        "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Scheme",
        "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-By", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
        "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded", "X-Forward-For",
        "X-Forwarder-For", "Forwarded", "Forwarded-For", "Forwarded-Host", "X-Real-IP", "X-Real-Host", "X-Original-URL", "X-Original-URI",
        "X-Original-Host", "X-Original-Forwarded-For", "X-Original-Method", "X-Rewrite-URL", "X-Rewrite-Query", "X-Host", "X-Backend-Host",
        "X-Server-Name", "X-Client-IP", "X-Client-Scheme", "X-Cluster-Client-IP", "Cluster-Client-IP", "Client-IP", "True-Client-IP",
        "X-True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Pseudo-IPv4", "CF-Visitor", "Fastly-Client-IP", "Incap-Client-IP",
        "X-Azure-ClientIP", "X-Azure-SocketIP", "X-Remote-IP", "X-Remote-Addr", "Remote-Addr", "X-Originating-IP", "X-ProxyUser-IP",
        "WL-Proxy-Client-IP", "X-Proxy-URL", "X-Override-URL", "X-Scheme", "X-URL-Scheme", "Front-End-Https", "X-Envoy-Original-Path",
        "X-Envoy-External-Address", "Via", "CDN-Loop",
    ]
    static let overrides = [
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Method", "X-HTTP-Host-Override", "X-HTTP-Path-Override",
    ]
    static let browser = ["Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-CH-UA", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-GPC"]

    @Test func theTableIsLong() { #expect(Self.forwarding.count >= 60) }

    @Test(arguments: credentials + hopByHop + forwarding + overrides + browser)
    func whatNobodyMaySendIsDropped(name: String) throws {  // SEC-80, SEC-84, SEC-89, SEC-90
        for spelling in Self.spellings(name) {
            let fields = [("Accept", "a"), (spelling, "x"), (spelling, "y"), ("Content-Type", "b")]
            #expect(try Self.forwarded(fields) == ["Accept: a", "Content-Type: b"], "\(spelling)")
            #expect(try Self.forwarded(fields, policy: Self.policy()) == ["Accept: a", "Content-Type: b"], "\(spelling)")
            // Not even if it had been saved.
            #expect(try Self.forwarded(fields, policy: Self.policy(headers: [spelling])) == ["Accept: a", "Content-Type: b"], "\(spelling)")
        }
    }

    @Test(
        arguments: [
            "close, authorization", "AUTHORIZATION", "X-Token, close", "x-token", " X-TOKEN ,\tkeep-alive", ",,x_token,,", "Keep-Alive, X-Token",
            "close,x-token,close", "x-other, x-token",
        ])
    func whatConnectionListsIsDropped(options: String) throws {  // SEC-84
        for name in ["Connection", "connection", "CONNECTION"] {
            let fields = [("X-Token", "1"), (name, options), ("Authorization", "Bearer theirs"), ("x_token", "2"), ("X-Tokens", "3")]
            let sent = try Self.forwarded(fields)
            let listsIt = options.lowercased().replacing("_", with: "-").contains("x-token")
            #expect(sent == (listsIt ? ["X-Tokens: 3"] : ["X-Token: 1", "x_token: 2", "X-Tokens: 3"]), "\(name)")
        }
    }

    @Test func severalConnectionFieldsCount() throws {  // SEC-84
        let sent = try Self.forwarded([("Connection", "x-a"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3"), ("connection", "close, X-B")])
        #expect(sent == ["X-C: 3"])
    }

    @Test func hugeConnectionListsTakeNoLongerThanTheyMust() throws {
        let options = (0..<10_000).map { "x-\($0)" }.joined(separator: ",")
        let fields = (0..<1_000).map { ("X-\($0)", "1") } + [("Connection", options), ("X-Kept", "1")]
        #expect(try Self.forwarded(fields) == ["X-Kept: 1"])
    }

    @Test(arguments: ["X-Api-Key", "x-api-key", "X_API_KEY", "x_Api-Key", "X.Api.Key"])
    func theCallerSendsNoFieldThatIsPutIn(name: String) throws {  // SEC-80, SEC-84
        #expect(
            try Self.forwarded([(name, "theirs"), ("X-Api-Key2", "kept"), ("X-Api-Ke", "kept")], injected: ["authorization", "x-api-key"]) == [
                "X-Api-Key2: kept", "X-Api-Ke: kept",
            ])
        #expect(try Self.forwarded([(name, "theirs")], injected: ["x-api-key"], policy: Self.policy(headers: ["X-Api-Key"])) == [])
    }

    @Test func applicationsSendEverythingElse() throws {
        let fields = [
            ("X-Anything", "1"), ("Accept-Encoding", "br"), ("Range", "bytes=0-1"), ("If-Range", "e"), ("Origin", "https://app.example"),
            ("Referer", "r"), ("traceparent", "t"), ("X-Request-Id", "i"), ("Destination", "/b"), ("Depth", "1"), ("X-Anything", "2"), ("x-odd", ""),
            ("Content-MD5", "m"),
        ]
        #expect(try Self.forwarded(fields) == fields.map { "\($0.0): \($0.1)" })
    }

    // MARK: Agents

    @Test(
        arguments: [
            "Accept", "Accept-Language", "Content-Type", "Content-Language", "Content-Encoding", "If-Match", "If-None-Match", "If-Modified-Since",
            "If-Unmodified-Since", "Prefer", "Cache-Control", "Pragma", "User-Agent", "Idempotency-Key", "ACCEPT", "content-type",
        ])
    func knownFieldsOfAgentsPass(name: String) throws {  // SEC-90
        #expect(try Self.forwarded([(name, "x")], policy: Self.policy()) == ["\(name): x"])
    }

    @Test(
        arguments: [
            "Accept-Encoding", "Range", "If-Range", "Accept-Charset", "Priority", "DNT", "Origin", "Referer", "traceparent", "tracestate", "baggage",
            "b3", "X-B3-TraceId", "x-datadog-trace-id", "sentry-trace", "X-Request-ID", "X-Correlation-ID", "X-Amzn-Trace-Id", "Save-Data",
            "Upgrade-Insecure-Requests", "X-Stainless-Lang", "ORIGIN", "accept_encoding",
        ])
    func whatClientsAddByThemselvesIsDropped(name: String) throws {  // SEC-87, SEC-90
        #expect(try Self.forwarded([("Accept", "a"), (name, "x")], policy: Self.policy()) == ["Accept: a"])
    }

    @Test func whatIsDroppedUnaskedMayBeNamed() throws {
        let named = Self.policy(headers: ["Origin", "Range", "Accept-Encoding"])
        #expect(try Self.forwarded([("origin", "o"), ("Range", "r"), ("Accept-Encoding", "e")], policy: named) == ["origin: o"])
    }

    @Test(
        arguments: [
            "X-Anything", "Destination", "X-Api-Key", "accept_language", "Content_Type", "Accept.", "Acceptx", "Accep", "X-GitHub-Api-Version2",
            "x_github_api_version", "From-X",
        ])
    func anyOtherFieldOfAnAgentIsRefused(name: String) {  // SEC-90, SEC-131
        let policy = Self.policy(headers: ["X-GitHub-Api-Version"])
        let problem = #expect(throws: Problem.self) {
            try Self.forwarded([("Accept", "a"), (name, "secret-value"), ("X-GitHub-Api-Version", "v")], policy: policy)
        }
        #expect(problem?.code == .forbidden)
        #expect(
            problem?.detail
                == "agents may not send the header field \(name): "
                + "agent_access.headers of the connection github does not name it: it names x-github-api-version")
        #expect(problem?.fix == "leave it out, or have an admin extend the list: PATCH /v1/connections/github (agent_access.headers)")
    }

    @Test func allRefusedFieldsAreNamedAtOnce() {
        let problem = #expect(throws: Problem.self) { try Self.forwarded([("X-A", "1"), ("Accept", "a"), ("X-B", "2")], policy: Self.policy()) }
        #expect(problem?.detail.hasPrefix("agents may not send the header fields X-A, X-B: ") == true)
    }

    @Test func namedFieldsOfAgentsPass() throws {
        let policy = Self.policy(headers: ["X-GitHub-Api-Version"])
        #expect(try Self.forwarded([("x-github-api-version", "v")], policy: policy) == ["x-github-api-version: v"])
    }

    // MARK: What is no field

    @Test(arguments: ["", "X A", "X:A", ":path", "X\r\nA", "X\u{0}", "\u{e9}", "X(A)", "X/A", "X\"", " X", "X\t", "[x]", "@", "{"])
    func aNameThatIsNoneIsRefused(name: String) {  // SEC-85
        for policy in [nil, Self.policy(headers: [name])] {
            let problem = #expect(throws: Problem.self) { try Self.forwarded([(name, "x")], policy: policy) }
            #expect(problem?.code == .invalidRequest)
        }
    }

    @Test(arguments: ["a\r\nX-B: c", "a\n", "\r", "\u{0}", "a\u{b}", "a\u{1b}[0m", "a\u{7f}"])
    func aValueThatIsNoneIsRefused(value: String) {  // SEC-85
        let problem = #expect(throws: Problem.self) { try Self.forwarded([("Accept", value)]) }
        #expect(problem?.code == .invalidRequest)
        #expect(problem?.detail == "the header field Accept holds a control character")
    }

    @Test(arguments: ["", " ", "a\tb", "é", "\u{1F600}", "\"x\"; q=0.5"])
    func otherValuesPassAsTheyAre(value: String) throws {
        #expect(try Self.forwarded([("Accept", value)]) == ["Accept: \(value)"])
    }
}
