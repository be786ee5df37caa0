/// What the gateway does with header fields that it knows by name. One table for requests, answers and what can be saved.
package enum FieldRules {
    /// On the way to the API.
    package enum Request: UInt8, Sendable {
        /// No rule: passes, but for agents only if `agent_access.headers` names it.
        case other
        /// Says what the caller wants and no more: passes for everyone. `Idempotency-Key` is among them, as it makes a repeated call
        /// harmless and a first one no stronger.
        case known
        /// Sent by HTTP clients and tracing libraries unasked: agents need not be told that it goes no further.
        case unasked
        /// Asks for an answer in part or compressed. For agents never: their answers are read whole for tokens (SEC-87).
        case partial
        /// What shows who someone is, and Grantee's own fields. SEC-80.
        case credential
        /// Belongs to the caller's connection with us. SEC-84, RFC 9110 §7.6.1.
        case connection
        /// Tells of addresses, hosts and paths on the near side of a proxy. SEC-81, SEC-90.
        case forwarding
        /// Says that another method is meant. SEC-89.
        case methodOverride
        /// A browser's word on where a request comes from. It is for us (SEC-94).
        case fetchMetadata

        /// Whether nobody's field of this kind reaches an API.
        package var isDropped: Bool { rawValue >= Request.credential.rawValue }

        /// Why `agent_access.headers` cannot name it; `nil` = it can.
        var refusal: String? {
            switch self {
            case .other, .known, .unasked: nil
            case .partial: "asks for answers in part or compressed, and answers to agents are read whole"
            case .credential: "carries credentials or is Grantee's own; no caller's one reaches the API"
            case .connection: "belongs to one connection between two machines; Grantee makes it anew"
            case .forwarding: "speaks of addresses, hosts or paths in front of a proxy; none reaches the API"
            case .methodOverride: "could turn an allowed method into another one"
            case .fetchMetadata: "is a browser's own and goes no further than Grantee"
            }
        }
    }

    /// On the way back from the API.
    package enum Answer: UInt8, Sendable {
        case other
        /// Passes, but not as a trailer field: it frames, routes, authenticates or says what the content is. RFC 9110 §6.5.1.
        case notInTrailers
        /// Speaks for the origin, the connection or the machine that is Grantee, not the API. SEC-84, SEC-88.
        case dropped
    }

    package static func request(_ name: FieldName) -> Request { table.entry(name).request }
    package static func answer(_ name: FieldName) -> Answer { table.entry(name).answer }

    private static let table = Table()

    struct Entry {
        var request = Request.other
        var answer = Answer.other
    }

    private static let requests: [(Request, [String])] = [
        (
            .known,
            [
                "accept", "accept-language", "cache-control", "content-encoding", "content-language", "content-type", "idempotency-key",
                "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "pragma", "prefer", "user-agent",
            ]
        ),
        (
            .unasked,
            [
                "accept-charset", "access-control-request-headers", "access-control-request-method", "b3", "baggage", "correlation-context",
                "date", "device-memory", "dnt", "downlink", "dpr", "ect", "elastic-apm-traceparent", "from", "newrelic", "origin", "priority",
                "purpose", "referer", "request-id", "rtt", "save-data", "sentry-trace", "traceparent", "tracestate", "uber-trace-id",
                "upgrade-insecure-requests", "viewport-width", "width", "x-amzn-trace-id", "x-client-data", "x-cloud-trace-context",
                "x-correlation-id", "x-ot-span-context", "x-request-id", "x-requested-with",
            ]
        ),
        (.partial, ["accept-encoding", "if-range", "range"]),
        (.credential, ["authorization", "cookie", "cookie2", "grantee", "proxy", "set-cookie"]),
        (
            .connection,
            [
                "alt-used", "connection", "content-length", "early-data", "expect", "host", "http2-settings", "keep-alive", "max-forwards", "te",
                "trailer", "transfer-encoding", "upgrade",
            ]
        ),
        (
            .forwarding,
            [
                "cdn-loop", "cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "cf-visitor", "client-ip", "cluster-client-ip",
                "fastly-client-ip", "front-end-https", "incap-client-ip", "remote-addr", "true-client-ip", "via", "wl-proxy-client-ip",
                "x-azure-clientip", "x-azure-socketip", "x-backend-host", "x-client-ip", "x-client-scheme", "x-cluster-client-ip", "x-host",
                "x-originating-ip", "x-override-url", "x-proxy-url", "x-proxyuser-ip", "x-real-host", "x-real-ip", "x-remote-addr", "x-remote-ip",
                "x-scheme", "x-server-name", "x-true-client-ip", "x-url-scheme",
            ]
        ),
        (.methodOverride, ["x-method", "x-method-override"]),
    ]

    private static let requestPrefixes: [(Request, [String])] = [
        (.credential, ["grantee-", "proxy-"]),
        (.methodOverride, ["x-http-"]),
        (.forwarding, ["forwarded", "x-envoy-", "x-forward", "x-original-", "x-rewrite-"]),
        (.fetchMetadata, ["sec-"]),
        (.unasked, ["uberctx-", "x-b3-", "x-datadog-", "x-stainless-"]),
    ]

    private static let answers: [(Answer, [String])] = [
        (
            .dropped,
            [
                "accept-ch", "alt-svc", "clear-site-data", "connection", "critical-ch", "http2-settings", "keep-alive", "nel", "public-key-pins",
                "report-to", "reporting-endpoints", "service-worker-allowed", "set-cookie", "set-cookie2", "strict-transport-security", "te",
                "trailer", "transfer-encoding", "upgrade", "x-content-type-options",
            ]
        ),
        (
            .notInTrailers,
            [
                "age", "allow", "authentication-info", "authorization", "cache-control", "content-disposition", "content-encoding",
                "content-language", "content-length", "content-location", "content-range", "content-type", "cookie", "date", "expires", "host",
                "location", "max-forwards", "pragma", "range", "refresh", "retry-after", "vary", "warning", "www-authenticate",
            ]
        ),
    ]

    /// `X-Accel-Redirect`, `X-Sendfile` and their like make a web server in front of Grantee serve what it has inside;
    /// `Access-Control-*` would open Grantee's origin to other sites (SEC-94).
    private static let droppedAnswerPrefixes = [
        "access-control-", "content-security", "grantee-", "proxy-", "x-accel-", "x-lighttpd-send", "x-reproxy-", "x-sendfile",
    ]

    /// Open addressing over the names' bytes, so that a look-up makes no string and calls no seeded hash.
    private struct Table {
        private struct Slot {
            var words = SIMD4<UInt64>()
            var count = 0
            var entry = Entry()

            func holds(_ name: FieldName) -> Bool { count == name.count && words == name.words }
        }
        private struct Prefix {
            let mask: SIMD4<UInt64>
            let words: SIMD4<UInt64>
            let entry: Entry

            func begins(_ name: FieldName) -> Bool {
                name.words.x & mask.x == words.x && name.words.y & mask.y == words.y
            }
        }
        private static let size = 512
        private var slots = [Slot](repeating: Slot(), count: size)
        private var prefixes: [Prefix] = []

        init() {
            for (rule, names) in requestPrefixes { for name in names { prefixes.append(prefix(name, Entry(request: rule))) } }
            for name in droppedAnswerPrefixes { prefixes.append(prefix(name, Entry(answer: .dropped))) }
            for (rule, names) in requests { for name in names { note(name) { $0.request = rule } } }
            for (rule, names) in answers { for name in names { note(name) { $0.answer = rule } } }
        }

        private mutating func note(_ text: String, _ change: (inout Entry) -> Void) {
            let name = FieldName(text)
            precondition(name.count <= 32, "a longer name would not be told from its beginning")
            var entry = self.entry(name)
            change(&entry)
            var index = Self.first(name)
            while slots[index].count != 0, !slots[index].holds(name) { index = (index &+ 1) & (Self.size &- 1) }
            slots[index] = Slot(words: name.words, count: name.count, entry: entry)
        }

        private func prefix(_ text: String, _ entry: Entry) -> Prefix {
            precondition(text.utf8.count <= 16, "two words of a name are looked at")
            var mask = SIMD4<UInt64>()
            for index in 0..<text.utf8.count { mask[index >> 3] |= 0xFF << UInt64((index & 7) * 8) }
            return Prefix(mask: mask, words: FieldName(text).words, entry: entry)
        }

        func entry(_ name: FieldName) -> Entry {
            var index = Self.first(name)
            while slots[index].count != 0 {
                if slots[index].holds(name) { return slots[index].entry }
                index = (index &+ 1) & (Self.size &- 1)
            }
            var entry = Entry()
            for prefix in prefixes where prefix.begins(name) {
                if entry.request == .other { entry.request = prefix.entry.request }
                if entry.answer == .other { entry.answer = prefix.entry.answer }
            }
            return entry
        }

        private static func first(_ name: FieldName) -> Int {
            let words = name.words
            let mixed = (words.x &+ words.y &* 3 ^ words.z &* 5 ^ words.w &* 7 ^ UInt64(truncatingIfNeeded: name.count)) &* 0x9E37_79B9_7F4A_7C15
            return Int(truncatingIfNeeded: mixed &>> 55)
        }
    }
}
