import Broker
import HTTPTypes
import Hummingbird
import NIOCore
import OAuth

/// One answer on its way out.
struct Outbound: Sendable {
    var status: HTTPResponse.Status
    var fields: HTTPFields
    var body: ByteBuffer
    /// Sent instead of ``body``, piece by piece as it is made.
    var stream: (@Sendable (inout any ResponseBodyWriter) async throws -> Void)?

    init(_ status: HTTPResponse.Status = .ok, fields: HTTPFields = [:], body: ByteBuffer = ByteBuffer()) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok, fields: HTTPFields = [:]) -> Outbound {
        json(bytes: value.serialized(), status: status, fields: fields)
    }

    private static let jsonFields: HTTPFields = [
        .contentType: "application/json", .cacheControl: "no-store", .xContentTypeOptions: "nosniff", .crossOriginResourcePolicy: "same-origin",
    ]

    /// The fields are one value that all share until somebody changes them.
    static func json(buffer: ByteBuffer) -> Outbound { Outbound(fields: jsonFields, body: buffer) }

    static func json(bytes: [UInt8], status: HTTPResponse.Status = .ok, fields: HTTPFields = [:]) -> Outbound {
        var outbound = json(buffer: ByteBuffer(bytes: bytes))
        outbound.status = status
        for field in fields { outbound.fields[field.name] = field.value }
        return outbound
    }

    /// `{"items": […], "next": cursor | null}`
    static func list(_ items: [JSONValue], next: String?) -> Outbound {
        json(["items": .array(items), "next": next.map(JSONValue.string) ?? .null])
    }

    /// `application/jsonl`: one JSON value on each line, sent when its event comes. The work itself waits for no reader.
    static func lines<Event: Sendable>(_ events: AsyncStream<Event>, _ json: @escaping @Sendable (Event) -> JSONValue) -> Outbound {
        var outbound = Outbound(fields: [.contentType: "application/jsonl", .cacheControl: "no-store"])
        outbound.stream = { writer in
            for await event in events { try await writer.write(ByteBuffer(bytes: json(event).serialized() + [0x0A])) }
            try await writer.finish(nil)
        }
        return outbound
    }

    static func redirect(_ location: String, fields: HTTPFields = [:]) -> Outbound {
        var outbound = Outbound(.seeOther, fields: fields)
        outbound.fields[.location] = location
        outbound.fields[.cacheControl] = "no-store"
        outbound.fields[.referrerPolicy] = "no-referrer"
        return outbound
    }

    /// With the `Request-Id` that log and activity name the request by.
    func identified(_ id: String = RequestID.make()) -> Outbound {
        var outbound = self
        outbound.fields[.requestID] = id
        return outbound
    }

    var response: Response {
        if let stream { return Response(status: status, headers: fields, body: ResponseBody(stream)) }
        return Response(status: status, headers: fields, body: ResponseBody(byteBuffer: body))
    }
}

extension HTTPField.Name {
    // The names are tokens, so each of these is there.
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!
    static let crossOriginResourcePolicy = HTTPField.Name("Cross-Origin-Resource-Policy")!
    static let host = HTTPField.Name("Host")!
    static let requestID = HTTPField.Name("Request-Id")!
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
    static let secPurpose = HTTPField.Name("Sec-Purpose")!
    static let purpose = HTTPField.Name("Purpose")!
    static let clearSiteData = HTTPField.Name("Clear-Site-Data")!
}

extension Problem {
    /// RFC 9457. The provider's text is cut at 200 characters here.
    var json: JSONValue {
        var object: JSONObject = [
            "type": .string("urn:grantee:problem:\(code.rawValue)"), "title": .string(code.title), "status": .number(JSONNumber(code.status)),
            "detail": .string(detail), "code": .string(code.rawValue),
        ]
        if let fix { object["fix"] = .string(fix) }
        if !errors.isEmpty { object["errors"] = .array(errors.map { ["pointer": .string($0.pointer), "detail": .string($0.detail)] }) }
        if let provider {
            object["provider"] = [
                "status": provider.status.map { .number(JSONNumber($0)) } ?? .null, "error": provider.error.map(JSONValue.string) ?? .null,
                "error_description": provider.errorDescription.map { .string(String(ProviderText.clean($0).prefix(200))) } ?? .null,
            ]
        }
        return .object(object)
    }

    var outbound: Outbound {
        var outbound = Outbound.json(json, status: .init(code: code.status))
        outbound.fields[.contentType] = "application/problem+json"
        if code == .unauthenticated { outbound.fields[.wwwAuthenticate] = "Bearer realm=\"grantee\"" }
        if let retryAfter { outbound.fields[.retryAfter] = String(retryAfter) }
        return outbound
    }
}

extension Problem.Code {
    /// The code in words.
    var title: String {
        let words = rawValue.replacing("_", with: " ")
        return words.prefix(1).uppercased() + words.dropFirst()
    }
}
