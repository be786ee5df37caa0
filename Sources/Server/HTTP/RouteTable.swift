import HTTPTypes

/// What may be asked, by path and method. Matches the raw bytes of a path: nothing is collapsed or decoded before it was
/// matched.
struct RouteTable: Sendable {
    final class Route: Sendable {
        let method: HTTPRequest.Method
        /// `/v1/connections/{id}`: what stands in braces matches one segment that is not empty.
        let pattern: String
        let access: Access
        let handler: @Sendable (Inbound) async throws -> Outbound
        /// Answers at once, or leaves it to the handler: what is asked most waits for nothing and gets no id.
        let shortcut: (@Sendable (Inbound) throws -> Outbound?)?
        let meter: RouteMeter
        /// What is written out, before, between and behind the placeholders.
        private let literals: [[UInt8]]
        /// The placeholders' names, in order; two at most.
        private let names: [String]

        init(
            _ method: HTTPRequest.Method, _ pattern: String, _ access: Access, _ handler: @escaping @Sendable (Inbound) async throws -> Outbound,
            shortcut: (@Sendable (Inbound) throws -> Outbound?)? = nil
        ) {
            self.method = method
            self.pattern = pattern
            self.access = access
            self.handler = handler
            self.shortcut = shortcut
            meter = RouteMeter(route: pattern)
            let parts = pattern.split(separator: "{", omittingEmptySubsequences: false).map { $0.split(separator: "}", omittingEmptySubsequences: false) }
            literals = parts.enumerated().map { index, part in Array((index == 0 ? part[0] : part[1]).utf8) }
            names = parts.dropFirst().map { String($0[0]) }
            precondition(names.count <= 2, "PathParameters holds two")
        }

        /// Without a placeholder.
        var isLiteral: Bool { names.isEmpty }

        /// Where the placeholders' values stand in `path`; `nil` when it does not fit.
        fileprivate func ranges(in path: UnsafeBufferPointer<UInt8>) -> (first: Range<Int>?, second: Range<Int>?)? {
            guard Self.stands(literals[0], in: path, at: 0) else { return nil }
            var position = literals[0].count
            var found: (first: Range<Int>?, second: Range<Int>?) = (nil, nil)
            for index in names.indices {
                var end = position
                while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
                guard end > position, Self.stands(literals[index + 1], in: path, at: end) else { return nil }
                if index == 0 { found.first = position..<end } else { found.second = position..<end }
                position = end + literals[index + 1].count
            }
            return position == path.count ? found : nil
        }

        private static func stands(_ literal: [UInt8], in path: UnsafeBufferPointer<UInt8>, at position: Int) -> Bool {
            guard path.count - position >= literal.count else { return false }
            for index in literal.indices where literal[index] != path[position + index] { return false }
            return true
        }

        fileprivate func parameters(_ path: Substring, _ ranges: (first: Range<Int>?, second: Range<Int>?)) -> PathParameters {
            func part(_ range: Range<Int>?) -> Substring? {
                range.map { range in
                    let start = path.utf8.index(path.startIndex, offsetBy: range.lowerBound)
                    return path[start..<path.utf8.index(start, offsetBy: range.count)]
                }
            }
            return PathParameters(names: names, first: part(ranges.first), second: part(ranges.second))
        }
    }

    /// Who may call.
    enum Access: Sendable {
        case anyone
        /// A valid API key; which role is the use case's to say.
        case key
        /// A valid API key, at the public URL's own host, and from no page of another origin.
        case keyAtHost
        /// A browser at the public URL's own host.
        case browser
        /// The same, with somebody signed in at the console; what it sends comes from this session's own pages.
        case console

        var needsKey: Bool { self == .key || self == .keyAtHost }
    }

    enum Match {
        case found(Route, PathParameters)
        /// The path exists with these methods.
        case otherMethods([HTTPRequest.Method])
        case none
    }

    let routes: [Route]

    func match(_ method: HTTPRequest.Method, _ path: Substring) -> Match {
        var path = path
        return path.withUTF8 { bytes in
            var others: [HTTPRequest.Method] = []
            for route in routes {
                guard let ranges = route.ranges(in: bytes) else { continue }
                // A path that is written out is no example of a pattern that it would fit.
                if !route.isLiteral, isWrittenOut(bytes) { continue }
                if route.method == method { return .found(route, route.parameters(Substring(decoding: bytes, as: UTF8.self), ranges)) }
                others.append(route.method)
            }
            return others.isEmpty ? .none : .otherMethods(others)
        }
    }

    private func isWrittenOut(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
        routes.contains { $0.isLiteral && $0.pattern.utf8.count == path.count && $0.ranges(in: path) != nil }
    }
}

/// The raw segments that a route's placeholders matched.
struct PathParameters: Sendable {
    static let none = PathParameters(names: [], first: nil, second: nil)

    fileprivate let names: [String]
    fileprivate let first: Substring?
    fileprivate let second: Substring?

    subscript(_ name: String) -> Substring? {
        if names.first == name { return first }
        return names.last == name ? second : nil
    }
}
