import Broker
import HTTPTypes
import Hummingbird
import NIOCore
import OAuth
import Vault

/// One request on its way to a use case.
struct Inbound: Sendable {
    static let bodyLimit = 1 << 20

    let request: Request
    let context: ClientContext
    let parameters: PathParameters
    let faces: Faces
    /// Known on every route that needs a key.
    let knownCaller: Caller?
    /// Known on every route of the console.
    var knownVisit: ConsoleVisit?

    var broker: Broker { faces.broker }

    /// The address that the request comes from.
    var client: String { context.client(of: request, behind: faces.trustedProxies) }

    /// - Throws: `unauthenticated` where the route let anyone in.
    var caller: Caller {
        get throws(Problem) {
            guard let knownCaller else { throw Problem(.unauthenticated, "an API key is required") }
            return knownCaller
        }
    }

    /// A segment of the path, decoded once.
    /// - Throws: `not_found`: what cannot be decoded names nothing.
    func path(_ name: String) throws(Problem) -> String {
        // SQLite ends a text at NUL: a name with one would find what is called by its beginning.
        guard let raw = parameters[name], let text = PercentEncoding.decode(raw), !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw Problem(.notFound, "there is nothing at this path")
        }
        return text
    }

    /// The subject in the path; `-` stands for the shared grant.
    func subject() throws(Problem) -> String {
        let text = try path("subject")
        return text == "-" ? "" : text
    }

    /// The query's parameters, strictly: each once, none but those named.
    func query(_ allowed: Set<String>) throws(Problem) -> QueryReader { try QueryReader(request.uri.query, allowed: allowed) }

    // MARK: Body

    /// The body as a JSON object.
    /// - Parameters:
    ///   - types: the media types that are taken.
    ///   - mayBeEmpty: an empty body stands for `{}`.
    func body(types: Set<String> = ["application/json"], mayBeEmpty: Bool = false) async throws(Problem) -> JSONObject {
        let bytes = try await bytes()
        if bytes.readableBytes == 0, mayBeEmpty { return JSONObject() }
        try require(types: types)
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes.readableBytesView)
        } catch {
            throw Problem(.invalidRequest, error.description, errors: [.init(pointer: "", detail: error.description)])
        }
        guard let object = value.object else {
            throw Problem(.invalidRequest, "the body must be a JSON object", errors: [.init(pointer: "", detail: "must be an object")])
        }
        return object
    }

    /// - Throws: `unsupported_media_type` for a body of any other.
    func require(types: Set<String>) throws(Problem) {
        let type = request.headers[.contentType].map { $0.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)[0] }
        guard let type, types.contains(type.lowercased().filter { $0 != " " }) else {
            throw Problem(.unsupportedMediaType, "the body must be \(types.sorted().joined(separator: " or "))", fix: "send Content-Type: application/json")
        }
    }

    func bytes() async throws(Problem) -> ByteBuffer {
        if let length = request.headers[.contentLength].flatMap(Int.init), length > Self.bodyLimit { throw Self.tooLarge }
        do {
            return try await request.body.collect(upTo: Self.bodyLimit)
        } catch is NIOTooManyBytesError {
            throw Self.tooLarge
        } catch let error as HTTPError where error.status == .contentTooLarge {
            throw Self.tooLarge
        } catch {
            throw Problem(.invalidRequest, "the body could not be read to its end")
        }
    }

    private static let tooLarge = Problem(.tooLarge, "the body is larger than 1 MiB")

    /// A form's fields; none twice.
    func form() async throws(Problem) -> [String: String] {
        let bytes = try await bytes()
        guard let pairs = try? Form.parse(bytes.readableBytesView) else { throw Problem(.invalidRequest, "the form cannot be read") }
        var fields: [String: String] = [:]
        for (name, value) in pairs {
            guard fields.updateValue(value, forKey: name) == nil else { throw Problem(.invalidRequest, "a field of the form is repeated") }
        }
        return fields
    }
}

/// Percent-encoding of path segments: `+` stands for itself there.
enum PercentEncoding {
    /// `nil` for a broken escape or bytes that are not UTF-8.
    static func decode(_ text: Substring) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        return try? Form.parse(("x=" + text.replacing("+", with: "%2B").replacing("&", with: "%26")).utf8).first?.value
    }
}

/// Query parameters: strict, each at most once.
struct QueryReader {
    private var values: [String: String] = [:]

    init(_ query: String?, allowed: Set<String>) throws(Problem) {
        guard let query, !query.isEmpty else { return }
        let pairs: [(name: String, value: String)]
        do {
            pairs = try Form.parse(query.utf8)
        } catch {
            throw Problem(.invalidRequest, "the query cannot be read: \(error.description)", errors: [.init(pointer: "/query", detail: error.description)])
        }
        var errors: [Problem.FieldError] = []
        for (name, value) in pairs {
            let pointer = "/query/" + pointerToken(ProviderText.clean(name, limit: 80))
            if !allowed.contains(name) {
                errors.append(
                    .init(
                        pointer: pointer,
                        detail: allowed.isEmpty ? "no query parameter is known here" : "is not known; there are: \(allowed.sorted().joined(separator: ", "))"))
            } else if values.updateValue(value, forKey: name) != nil {
                errors.append(.init(pointer: pointer, detail: "is repeated"))
            }
        }
        guard errors.isEmpty else { throw Problem(.invalidRequest, "the query is not right", errors: errors) }
    }

    static func wrong(_ name: String, _ detail: String) -> Problem {
        Problem(.invalidRequest, "\(name) \(detail)", errors: [.init(pointer: "/query/\(name)", detail: detail)])
    }

    func text(_ name: String) throws(Problem) -> String? {
        guard let value = values[name] else { return nil }
        guard !value.isEmpty else { throw Self.wrong(name, "must not be empty") }
        guard value.utf8.count <= 1024, !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw Self.wrong(name, "is too long or holds a control character")
        }
        return value
    }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let value = values[name] else { return nil }
        guard value.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(value), range.contains(number) else {
            throw Self.wrong(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func flag(_ name: String) throws(Problem) -> Bool {
        switch values[name] {
        case nil, "false": return false
        case "true": return true
        default: throw Self.wrong(name, "must be true or false")
        }
    }

    func choice(_ name: String, _ allowed: [String]) throws(Problem) -> String? {
        guard let value = values[name] else { return nil }
        guard allowed.contains(value) else { throw Self.wrong(name, "must be one of \(allowed.joined(separator: ", "))") }
        return value
    }

    /// A cursor, as the last page's `next` was.
    func cursor(_ isCursor: (String) -> Bool) throws(Problem) -> String? {
        guard let value = try text("after") else { return nil }
        guard isCursor(value) else { throw Self.wrong("after", "is no cursor of this list; send the last page's next") }
        return value
    }

    func uidCursor() throws(Problem) -> UID? { try cursor { UID(parsing: $0) != nil }.map(UID.init(text:)) }

    /// Of a list: 1 to 200, 50 when it is left out.
    func limit() throws(Problem) -> Int { try integer("limit", in: 1...200) ?? 50 }
}
