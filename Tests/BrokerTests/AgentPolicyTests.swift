import Testing
import Vault

@testable import Broker

@Suite struct AgentPolicyTests {
    static func access(methods: [String] = ["GET"], paths: [String] = ["/repos/*"], headers: [String] = []) -> AgentAccess {
        var access = AgentAccess()
        access.enabled = true
        access.methods = methods
        access.paths = paths
        access.headers = headers
        return access
    }

    static func policy(methods: [String] = ["GET"], paths: [String] = ["/repos/*"], headers: [String] = []) -> AgentPolicy {
        AgentPolicy(access(methods: methods, paths: paths, headers: headers), connection: "github")
    }

    @Test func aNewConnectionGivesAgentsNothing() {  // SEC-131
        let policy = AgentPolicy(AgentAccess(), connection: "github")
        let denial = policy.denial(method: "GET", path: "/")
        #expect(denial?.code == .forbidden)
        #expect(denial?.detail == "agents may not call the connection github: its agent_access is off")
        #expect(denial?.fix?.contains("PATCH /v1/connections/github") == true)
        #expect(!policy.allows(header: "X-Anything"))
    }

    @Test func switchedOnItStillAllowsNoPath() {  // SEC-131
        var access = AgentAccess()
        access.enabled = true
        let denial = AgentPolicy(access, connection: "github").denial(method: "GET", path: "/user")
        #expect(denial?.detail == "the path /user is covered by none of agent_access.paths of the connection github: it names none")
        #expect(denial?.fix == "have an admin extend the list: PATCH /v1/connections/github (agent_access.paths)")
    }

    @Test func whatIsNamedIsAllowed() {
        #expect(Self.policy().denial(method: "GET", path: "/repos/a") == nil)
        #expect(Self.policy(methods: ["GET", "POST"]).denial(method: "POST", path: "/repos/a") == nil)
    }

    @Test(arguments: ["POST", "get", "Get", "HEAD", "", "GET ", "G\u{0}ET", "DELETE"])
    func anotherMethodIsDenied(method: String) {  // SEC-89, SEC-131
        let denial = Self.policy().denial(method: method, path: "/repos/a")
        #expect(denial?.code == .forbidden)
        #expect(denial?.detail.hasSuffix("is not among agent_access.methods of the connection github: it names GET") == true)
        #expect(denial?.fix == "use an allowed method, or have an admin extend the list: PATCH /v1/connections/github (agent_access.methods)")
    }

    @Test func methodsAreComparedAsBytes() {
        // The Kelvin sign is canonically equal to K.
        #expect(Self.policy(methods: ["LOCK"]).denial(method: "LOC\u{212A}", path: "/repos/a") != nil)
    }

    @Test(
        arguments: [
            "/repos/a/../../user", "/REPOS/x", "/repos/", "/repos", "/repos/a/b", "/repos/a/", "/user", "/", "", "https://evil.example/repos/a",
        ])
    func anotherPathIsDenied(path: String) {  // SEC-131
        let denial = Self.policy().denial(method: "GET", path: path)
        #expect(denial?.code == .forbidden)
        #expect(denial?.detail.hasSuffix("is covered by none of agent_access.paths of the connection github: it names /repos/*") == true)
    }

    @Test(
        arguments: [
            ("/", ["/", ""], ["/a", "//"]),
            ("/user", ["/user"], ["/use", "/users", "/user/", "/User", "/user/a"]),
            ("/user/", ["/user/"], ["/user", "/user/a"]),
            ("/*", ["/a", "/a.b", "/%20"], ["/", "", "/a/", "/a/b", "/a%2Fb", "/a%252Fb", "/%2F"]),
            ("/repos/*/*/issues", ["/repos/a/b/issues"], ["/repos/a/issues", "/repos/a/b/c/issues", "/repos//b/issues", "/repos/a/b/issues/1"]),
            ("/repos/**", ["/repos/", "/repos/a", "/repos/a/b/c", "/repos/a%2Fb"], ["/repos", "/reposit/a", "/"]),
            ("/**", ["/", "", "/a", "/a/b/"], []),
            ("/a/*/c/**", ["/a/b/c/", "/a/b/c/d/e"], ["/a/b/c", "/a/b/d/", "/a//c/d"]),
            ("/r/*.json", ["/r/1.json", "/r/a.json.json", "/r/..json"], ["/r/.json", "/r/1.jsonx", "/r/a/1.json"]),
            ("/a/x*y*z", ["/a/xaybz", "/a/xayayz", "/a/xaybzz", "/a/xyyyz"], ["/a/xyz", "/a/xyyz", "/a/xaybza", "/a/xy/yz", "/a/xaz"]),
            ("/a/*b/*d", ["/a/ab/cd", "/a/bb/dd", "/a/abb/cdd"], ["/a/b/cd", "/a/ab/d", "/a/ax/y/b/cd"]),
            ("/a/*bc", ["/a/xbc", "/a/bbc", "/a/bcbc", "/a/bbbcbc"], ["/a/bc", "/a/bcb"]),
            ("/@me/(x)/a,b=c:d", ["/@me/(x)/a,b=c:d"], ["/%40me/(x)/a,b=c:d"]),
            ("/p/%20x", ["/p/%20x"], ["/p/ x", "/p/%2520x"]),
            ("/p/a%2Fb", ["/p/a%2Fb"], ["/p/a/b", "/p/a%2fb"]),
            ("/p/*%2F*/x", ["/p/a%2Fb/x"], ["/p/a%2Fb%2Fc/x", "/p/%2Fb/x", "/p/a%2F/x"]),
        ] as [(String, [String], [String])])
    func aPatternCoversByteByByte(pattern: String, covered: [String], others: [String]) {
        let policy = Self.policy(paths: [pattern])
        for path in covered { #expect(policy.denial(method: "GET", path: path) == nil, "\(path)") }
        for path in others { #expect(policy.denial(method: "GET", path: path)?.code == .forbidden, "\(path)") }
    }

    /// Stars are tried one after the other, so a pattern made to be slow is not.
    @Test func manyStarsTakeNoLongerThanTheyMust() {
        let policy = Self.policy(paths: ["/" + String(repeating: "*a", count: 100) + "b"])
        #expect(policy.denial(method: "GET", path: "/" + String(repeating: "a", count: 8000)) != nil)
    }

    @Test func aPatternThatCannotBeSavedCoversNothing() {
        #expect(Self.policy(paths: ["**", "repos/**", "/a/**/b", "/a?b"]).denial(method: "GET", path: "/a/x/b") != nil)
    }

    @Test func longTextsOfTheCallerAreCutAndCleaned() throws {
        let denial = try #require(Self.policy().denial(method: "GET", path: "/\u{1b}[31m\u{202e}" + String(repeating: "x", count: 500)))
        #expect(denial.detail.utf8.allSatisfy { (0x20...0x7E).contains($0) })
        #expect(!denial.detail.contains(String(repeating: "x", count: 80)))
    }

    @Test func longListsAreCut() throws {
        let policy = Self.policy(paths: (0..<30).map { "/\($0)" })
        let denial = try #require(policy.denial(method: "GET", path: "/x"))
        #expect(denial.detail.hasSuffix("it names /0, /1, /2, /3, /4, /5, /6, /7, /8, /9 and 20 more"))
    }

    @Test func headerNamesAreComparedWithoutCaseAndNothingElse() {
        let policy = Self.policy(headers: ["X-GitHub-Api-Version"])
        #expect(policy.allows(header: "x-github-API-version"))
        for name in ["X_GitHub_Api_Version", "X-GitHub-Api-Versio", "X-GitHub-Api-Version2", ""] { #expect(!policy.allows(header: name), "\(name)") }
    }

    @Test func aRefusedHeaderFieldIsNamed() {
        #expect(
            Self.policy(headers: ["X-A"]).refusal(headers: ["X-B"])
                == Problem(
                    .forbidden,
                    "agents may not send the header field X-B: agent_access.headers of the connection github does not name it: it names x-a",
                    fix: "leave it out, or have an admin extend the list: PATCH /v1/connections/github (agent_access.headers)"))
        #expect(
            Self.policy().refusal(headers: ["X-B", "X-\u{7}"]).detail
                == "agents may not send the header fields X-B, X-?: agent_access.headers of the connection github does not name them: it names none")
    }

    // MARK: What can be saved

    @Test func usefulListsCanBeSaved() {
        let access = Self.access(
            methods: ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "REPORT"],
            paths: [
                "/", "/**", "/repos/*", "/repos/*/issues/", "/v1/*.json", "/@me/a,b", "/p/a%2Fb", "/p/%20%C3%A9", "/.well-known/x", "/...", "/~a",
            ],
            headers: ["X-GitHub-Api-Version", "Accept", "anthropic-version", "X_Odd", "traceparent", "Destination"])
        #expect(AgentPolicy.errors(in: access) == [])
        #expect(AgentPolicy.errors(in: AgentAccess()) == [])
    }

    @Test(arguments: ["get", "Post", "CONNECT", "TRACE", "trace", "COPY", "MOVE", "FETCH", "*", "GET ", "", "LOC\u{212A}"])
    func anUnknownMethodCannotBeSaved(method: String) {  // SEC-89
        #expect(AgentPolicy.errors(in: Self.access(methods: ["GET", method])).map(\.pointer) == ["/agent_access/methods/1"])
    }

    @Test(
        arguments: [
            "", "repos", "**", "*", "https://api.example/a", "/a?b=c", "/a?", "/a#b", "//", "//a", "/a//b", "/a//", "/./a", "/a/..", "/../a", "/a/.",
            "/a;b", "/a b", "/é", "/a\\b", "/a\"", "/a{id}", "/a|b", "/a^", "/a`", "/<a>", "/a\t", "/%", "/%2", "/%zz", "/a%2", "/%2e%2e", "/%7Ea",
            "/%41", "/%c3%a9", "/%2f", "/%00", "/%0A", "/%7F", "/%5C", "/a**", "/**a", "/**/a", "/a/***", "/a/**/", "/a/*/**/b",
        ])
    func aPatternThatCouldCoverNothingCannotBeSaved(path: String) {
        let errors = AgentPolicy.errors(in: Self.access(paths: ["/ok", path]))
        #expect(errors.map(\.pointer) == ["/agent_access/paths/1"])
        #expect(errors.allSatisfy { $0.detail.utf8.count > 10 && $0.detail.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
    }

    @Test(
        arguments: [
            "", "X A", "X:A", "X-\u{e9}", "X-A\r\n", "(x)", "Authorization", "AUTHORIZATION", "Cookie", "cookie2", "Set-Cookie", "Host",
            "Content-Length", "Transfer-Encoding", "transfer_encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect",
            "HTTP2-Settings", "Proxy-Authorization", "Proxy-Connection", "Proxy-X", "Proxy", "Grantee-Subject", "grantee_anything", "Forwarded",
            "X-Forwarded-For", "X_Forwarded_Host", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "True-Client-IP", "CF-Connecting-IP", "Via",
            "X-HTTP-Method-Override", "x.http.method", "X-Method-Override", "Sec-Fetch-Site", "Sec-WebSocket-Key", "Range", "If-Range",
            "Accept-Encoding",
        ])
    func aHeaderFieldThatNeverPassesCannotBeSaved(header: String) {  // SEC-80, SEC-84, SEC-89, SEC-90
        #expect(AgentPolicy.errors(in: Self.access(headers: ["X-Ok", header])).map(\.pointer) == ["/agent_access/headers/1"])
    }
}

@Suite struct FieldNameTests {
    @Test func namesAreNormalised() {
        #expect(FieldName.normal("X_Forwarded.FOR") == "x-forwarded-for")
        #expect(FieldName.matches("AUTHORIZATION", normal: "authorization"))
        #expect(FieldName.matches("x_api_KEY", normal: "x-api-key"))
        #expect(!FieldName.matches("x-api-key2", normal: "x-api-key"))
        #expect(!FieldName.matches("x-api-kez", normal: "x-api-key"))
    }

    @Test(arguments: [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40])
    func aLongNameIsNotTakenForItsBeginning(extra: Int) {
        #expect(FieldRules.request(FieldName("accept" + String(repeating: "x", count: extra))) == (extra == 0 ? .known : .other))
        let long = "access-control-request-headers" + String(repeating: "x", count: extra)
        #expect(FieldRules.request(FieldName(long)) == (extra == 0 ? .unasked : .other))
        #expect(FieldRules.request(FieldName("X-Forwarded-" + String(repeating: "x", count: extra))) == .forwarding)
        #expect(FieldRules.answer(FieldName("X-Accel-" + String(repeating: "x", count: extra))) == .dropped)
    }

    @Test func everyByteIsJudged() {
        for byte in UInt8(0)...255 {
            let scalar = Character(Unicode.Scalar(byte))
            let isToken = byte < 0x80 && (scalar.isLetter || scalar.isNumber || "!#$%&'*+-.^_`|~".contains(scalar))
            #expect(FieldName("x\(scalar)").isToken == isToken, "\(byte)")
        }
        #expect(!FieldName("").isToken)
    }
}
