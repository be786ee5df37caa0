import NIOHTTP1
import Testing

@testable import Gateway

@Suite struct AnswerFieldsTests {
    static let own = ["Content-Security-Policy: sandbox", "X-Content-Type-Options: nosniff"]

    static func returned(_ fields: [(String, String)]) -> [String] {
        AnswerFields.returned(HTTPHeaders(fields)).map { "\($0.name): \($0.value)" }
    }
    static func trailers(_ fields: [(String, String)]) -> [String] {
        AnswerFields.returnedTrailers(HTTPHeaders(fields)).map { "\($0.name): \($0.value)" }
    }

    static let dropped = [
        "Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
        "Proxy-Status", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "X-Content-Type-Options", "Clear-Site-Data",
        "Service-Worker-Allowed", "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Grantee-Problem",
        "Grantee-Request-Id", "NEL", "Report-To", "Reporting-Endpoints", "Public-Key-Pins", "Accept-CH", "Critical-CH",
        "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "X-Accel-Redirect", "X-Accel-Buffering",
        "X-Sendfile", "X-LIGHTTPD-send-file", "X-Reproxy-URL",
    ]

    @Test(arguments: dropped)
    func whatSpeaksForGranteeIsDropped(name: String) {  // SEC-84, SEC-88, SEC-94
        for spelling in RequestFieldsTests.spellings(name) {
            let fields = [("ETag", "e"), (spelling, "x"), (spelling, "y"), ("Date", "d")]
            #expect(Self.returned(fields) == ["ETag: e", "Date: d"] + Self.own, "\(spelling)")
            #expect(Self.trailers([(spelling, "x"), ("X-Checksum", "c")]) == ["X-Checksum: c"], "\(spelling)")
        }
    }

    @Test func theRestGoesBackInOrder() {  // SEC-86
        let fields = [
            ("Content-Type", "text/html"), ("Content-Length", "5"), ("Content-Encoding", "gzip"), ("Location", "https://collector.example/"),
            ("Refresh", "0; url=https://collector.example/"), ("WWW-Authenticate", "Bearer"), ("Link", "<x>; rel=next"), ("Link", "<y>; rel=prev"),
            ("X-RateLimit-Remaining", "3"), ("Retry-After", "1"), ("Server", "s"), ("Vary", "*"), ("Cache-Control", "no-store"), ("x-odd", ""),
            ("Set-Cookies", "no cookie"),
        ]
        #expect(Self.returned(fields) == fields.map { "\($0.0): \($0.1)" } + Self.own)
    }

    @Test func anEmptyAnswerIsShieldedToo() {  // SEC-88
        #expect(Self.returned([]) == Self.own)
    }

    @Test(arguments: ["close, X-Hop", "x-hop", "X_HOP, keep-alive", "keep-alive,\tx-HOP "])
    func whatConnectionListsIsDropped(options: String) {  // SEC-84
        #expect(Self.returned([("X-Hop", "1"), ("CONNECTION", options), ("x-hop", "2"), ("X-Hops", "3")]) == ["X-Hops: 3"] + Self.own)
    }

    @Test func ourOwnFieldsCannotBeListedAway() {  // SEC-88
        #expect(Self.returned([("Connection", "content-security-policy, x-content-type-options")]) == Self.own)
    }

    @Test(
        arguments: [
            "Content-Length", "Host", "Authorization", "WWW-Authenticate", "Cookie", "Location", "Refresh", "Content-Type", "Content-Encoding",
            "Content-Range", "Cache-Control", "Expires", "Age", "Date", "Vary", "Retry-After", "Authentication-Info", "Content-Disposition",
        ])
    func trailersNeitherFrameNorRouteNorAuthenticate(name: String) {
        for spelling in RequestFieldsTests.spellings(name) { #expect(Self.trailers([(spelling, "x")]) == [], "\(spelling)") }
    }

    @Test func otherTrailersGoBack() {
        let fields = [("grpc-status", "0"), ("Digest", "d"), ("ETag", "e"), ("Server-Timing", "t")]
        #expect(Self.trailers(fields) == fields.map { "\($0.0): \($0.1)" })
    }
}
