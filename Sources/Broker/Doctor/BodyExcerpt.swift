import HTTPTypes
import OAuth

/// What is shown of an answer's body: of JSON and forms the members that speak of errors, of a page its title and its words.
struct BodyExcerpt: Sendable {
    private static let limit = 2000

    private(set) var text = ""
    private(set) var pageTitle: String?

    init(_ response: WireResponse, mask: Mask) {
        var body = response.body[...]
        if body.starts(with: [0xEF, 0xBB, 0xBF]) { body = body.dropFirst(3) }
        let type = (response.head.headerFields[.contentType] ?? "").lowercased()
        guard let first = body.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) else { return }
        // A success that cannot be taken apart may hold tokens that nobody here knows yet.
        let isSuccess = (200..<300).contains(response.head.status.code)
        let hidden = "(\(response.body.count) bytes; not shown, as an answer of success may hold tokens)"
        if mask.isBlind {
            text = "(\(response.body.count) bytes; not shown, as a secret that was sent is too short to be found in them)"
        } else if first == UInt8(ascii: "{") || first == UInt8(ascii: "["), body.count <= WireResponse.maximumBody,
            let value = try? JSONValue(parsing: body)
        {
            text = ProviderText.clean(String(decoding: Self.shown(value, named: "error", mask: mask).serialized(), as: UTF8.self), limit: Self.limit)
        } else if first == UInt8(ascii: "<") || type.contains("html") {
            let page = PageText(String(decoding: body, as: UTF8.self))
            pageTitle = page.title.map { mask.shown($0, limit: 120) }
            text = isSuccess && !type.contains("html") ? hidden : mask.shown(page.words, limit: 600)
        } else if type.contains("form-urlencoded"), let pairs = try? Form.parse(body) {
            let shown = pairs.map { pair in
                if Self.isShown(pair.name) { return pair.name + "=" + mask.shown(pair.value) }
                // A name without a value may be a token that stands alone.
                return pair.value.isEmpty ? Mask.dots : mask.shown(pair.name, limit: 60) + "=" + Mask.dots
            }
            text = ProviderText.clean(shown.joined(separator: "&"), limit: Self.limit)
        } else {
            text = isSuccess ? hidden : mask.shown(String(decoding: body, as: UTF8.self))
        }
    }

    /// The same value; texts only of members whose names promise words.
    private static func shown(_ value: JSONValue, named name: String, mask: Mask) -> JSONValue {
        switch value {
        case .null, .bool: return value
        // A code of one time is a number now and then.
        case .number(let number): return isShown(name) || number.text.utf8.count < 7 ? value : .string(Mask.dots)
        case .string(let text):
            guard isShown(name) else { return .string(Mask.dots) }
            let isWord = text.utf8.allSatisfy { (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "_") }
            return .string(name.lowercased() != "code" || isWord ? mask.shown(text) : Mask.dots)
        case .array(let values): return .array(values.prefix(20).map { shown($0, named: name, mask: mask) })
        case .object(let object):
            let members = object.members.prefix(40).map { member in
                (name: mask.shown(member.name, limit: 60), value: shown(member.value, named: member.name, mask: mask))
            }
            return .object(JSONObject(members))
        }
    }

    private static func isShown(_ name: String) -> Bool { wordy.contains(name.lowercased()) }

    private static let wordy: Set<String> = [
        "error", "error_description", "error_uri", "error_codes", "error_code", "error_subcode", "error_message", "error_type", "error_user_title",
        "error_user_msg", "errorcode", "errorsummary", "errorid", "errorlink", "errorcauses", "errors", "errortype", "errordescription", "errcode",
        "errmsg",
        "message", "msg", "code", "status", "status_code", "statuscode", "ok", "success", "type", "title", "detail", "details", "description",
        "reason",
        "suberror", "trace_id", "correlation_id", "timestamp", "token_type", "expires_in", "scope", "needed", "provided", "warning", "fbtrace_id",
        "request_id", "requestid", "hint", "category",
    ]
}
