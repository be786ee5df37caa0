import HTTPTypes
import OAuth

/// The revisions of MCP that are spoken here, newest first.
enum MCPRevision: String, CaseIterable, Sendable {
    case of20260728 = "2026-07-28"
    case of20251125 = "2025-11-25"
    case of20250618 = "2025-06-18"

    /// Every request says by itself which revision it follows; the older ones begin with `initialize`.
    var isStateless: Bool { self == .of20260728 }

    /// What a request without the header field follows.
    static let unsaid = MCPRevision.of20250618
    static let latestWithHandshake = MCPRevision.of20251125

    init?(_ text: String) {
        guard let found = Self.allCases.first(where: { sameBytes($0.rawValue, text) }) else { return nil }
        self = found
    }
}

extension MCPRevision {
    private static let versionKey = "io.modelcontextprotocol/protocolVersion"
    private static let capabilitiesKey = "io.modelcontextprotocol/clientCapabilities"

    /// The revision that a message follows, once what it says twice, in header fields and in its body, agrees: a proxy in between may
    /// have judged it by the fields. SEC-129.
    static func of(_ message: RPCMessage, fields: HTTPFields) throws(RPCError) -> MCPRevision {
        let revision = try spoken(by: message, fields: fields)
        try checkMethod(message, fields, required: revision.isStateless && message.id != nil)
        try checkName(message, fields, required: revision.isStateless && message.id != nil)
        return revision
    }

    private static func spoken(by message: RPCMessage, fields: HTTPFields) throws(RPCError) -> MCPRevision {
        let meta = message.params["_meta"]
        let isHandshake = sameBytes(message.method, "initialize")
        let inBody = isHandshake ? message.params["protocolVersion"] : meta?[versionKey]
        guard let named = try only(.mcpProtocolVersion, fields) else {
            if inBody != nil, !isHandshake { throw mismatch(.mcpProtocolVersion, "is missing, and the body names a version") }
            return unsaid
        }
        if let inBody, !inBody.isText(named) { throw mismatch(.mcpProtocolVersion, "does not name the version that the body names") }
        guard let revision = MCPRevision(named) else { throw unsupported(named) }
        if revision.isStateless, message.id != nil {
            guard let meta = meta?.object else {
                throw RPCError(.invalidParams, "params._meta must be an object with \(versionKey) and \(capabilitiesKey)")
            }
            for key in [versionKey, capabilitiesKey] where meta[key] == nil { throw RPCError(.invalidParams, "params._meta needs \(key)") }
        }
        return revision
    }

    private static func checkMethod(_ message: RPCMessage, _ fields: HTTPFields, required: Bool) throws(RPCError) {
        let named = try only(.mcpMethod, fields)
        guard named != nil || required else { return }
        guard let named, sameBytes(named, message.method) else { throw mismatch(.mcpMethod, "does not name the body's method") }
    }

    private static func checkName(_ message: RPCMessage, _ fields: HTTPFields, required: Bool) throws(RPCError) {
        let named = try only(.mcpName, fields)
        guard let inBody = message.params["name"]?.string ?? message.params["uri"]?.string else { return }
        guard named != nil || (required && sameBytes(message.method, "tools/call")) else { return }
        guard let named, let decoded = decode(named), sameBytes(decoded, inBody) else { throw mismatch(.mcpName, "does not name what the body names") }
    }

    /// A value that no header field can carry stands there as `=?base64?…?=`.
    /// - Returns: `nil` for one that is not canonical Base64 of UTF-8.
    private static func decode(_ text: String) -> String? {
        let prefix = "=?base64?"
        guard text.hasPrefix(prefix), text.hasSuffix("?="), text.utf8.count >= prefix.utf8.count + 2 else { return text }
        let payload = text.dropFirst(prefix.count).dropLast(2)
        let padding = payload.utf8.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        let unpadded = payload.dropLast(padding)
        guard payload.utf8.count % 4 == 0, padding <= 2, !unpadded.contains("-"), !unpadded.contains("_"),
            let bytes = Base64URL.decode(unpadded.replacing("+", with: "-").replacing("/", with: "_").description)
        else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func only(_ name: HTTPField.Name, _ fields: HTTPFields) throws(RPCError) -> String? {
        let values = fields[values: name]
        guard values.count <= 1 else { throw mismatch(name, "stands there more than once") }
        return values.first
    }

    private static func mismatch(_ name: HTTPField.Name, _ what: String) -> RPCError {
        RPCError(.headerMismatch, "the header field \(name.rawName) \(what)")
    }

    private static func unsupported(_ requested: String) -> RPCError {
        let requested = ProviderText.clean(requested, limit: 80)
        return RPCError(
            .unsupportedProtocolVersion, "the protocol version \(requested) is not supported",
            data: ["supported": .array(allCases.map { .string($0.rawValue) }), "requested": .string(requested)])
    }
}

extension JSONValue {
    fileprivate func isText(_ text: String) -> Bool { string.map { sameBytes($0, text) } ?? false }
}

extension HTTPField.Name {
    // The names are tokens, so each of these is there.
    fileprivate static let mcpProtocolVersion = HTTPField.Name("MCP-Protocol-Version")!
    fileprivate static let mcpMethod = HTTPField.Name("Mcp-Method")!
    fileprivate static let mcpName = HTTPField.Name("Mcp-Name")!
}
