import HTTPTypes

/// What may be asked, by path and method. Matches the raw path segment by segment: nothing is collapsed or decoded
/// before it was matched.
struct RouteTable: Sendable {
    struct Route: Sendable {
        let method: HTTPRequest.Method
        /// `/v1/connections/{id}`: what stands in braces matches one segment that is not empty.
        let pattern: String
        let access: Access
        let handler: @Sendable (Inbound) async throws -> Outbound
        let segments: [Substring]
        /// Without a placeholder.
        let isLiteral: Bool
        let meter: RouteMeter

        init(_ method: HTTPRequest.Method, _ pattern: String, _ access: Access, _ handler: @escaping @Sendable (Inbound) async throws -> Outbound) {
            self.method = method
            self.pattern = pattern
            self.access = access
            self.handler = handler
            segments = pattern.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { $0 }
            isLiteral = !pattern.contains("{")
            meter = RouteMeter(route: pattern)
        }
    }

    /// Who may call.
    enum Access: Sendable {
        case anyone
        /// A valid API key; which role is the use case's to say.
        case key
        /// A browser at the public URL's own host.
        case browser
    }

    enum Match {
        case found(Route, [String: Substring])
        /// The path exists with these methods.
        case otherMethods([HTTPRequest.Method])
        case none
    }

    let routes: [Route]

    func match(_ method: HTTPRequest.Method, _ path: Substring) -> Match {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        var others: [HTTPRequest.Method] = []
        // A path that is written out is no example of a pattern that it would fit.
        let isLiteral = routes.contains { $0.isLiteral && $0.segments.elementsEqual(segments) }
        for route in routes where route.segments.count == segments.count && (!isLiteral || route.isLiteral) {
            guard let parameters = Self.parameters(route.segments, segments) else { continue }
            if route.method == method { return .found(route, parameters) }
            others.append(route.method)
        }
        return others.isEmpty ? .none : .otherMethods(others)
    }

    private static func parameters(_ pattern: [Substring], _ segments: ArraySlice<Substring>) -> [String: Substring]? {
        var parameters: [String: Substring] = [:]
        for (expected, segment) in zip(pattern, segments) {
            if expected.utf8.first == UInt8(ascii: "{") {
                guard !segment.isEmpty else { return nil }
                parameters[String(expected.dropFirst().dropLast())] = segment
            } else if expected != segment {
                return nil
            }
        }
        return parameters
    }
}
