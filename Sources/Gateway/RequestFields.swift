package import Broker
package import NIOHTTP1

/// Which of the caller's header fields go on to the API.
package struct RequestFields: Sendable {
    /// - Parameters:
    ///   - injected: the names that the connection sets itself, normalised by ``FieldName/normal(_:)``.
    ///   - policy: set for agents: what is not on its list is refused.
    /// - Returns: the fields that go on, in order, framing (`Content-Length`, `Transfer-Encoding`), `Host` and `Expect` left out.
    /// - Throws: `forbidden` for an agent's fields that its list does not name; `invalid_request` for what is no header field.
    package static func forwarded(_ fields: HTTPHeaders, injected: Set<String>, policy: AgentPolicy?) throws(Problem) -> HTTPHeaders {
        let listed = ConnectionOptions(fields)
        var result: [(String, String)] = []
        result.reserveCapacity(fields.count)
        var refused: [String] = []
        for (text, value) in fields {
            let name = FieldName(text)
            guard name.isToken else { throw Problem(.invalidRequest, "\(excerpt(text)) is not the name of a header field") }
            guard isFieldValue(value) else {
                throw Problem(
                    .invalidRequest, "the header field \(excerpt(text)) holds a control character",
                    fix: "send visible characters, spaces and tabs only")
            }
            let rule = FieldRules.request(name)
            if rule.isDropped || listed.contains(text) || isInjected(text, injected) { continue }
            if let policy {
                switch judged(text, name, rule, policy) {
                case .passes: break
                case .dropped: continue
                case .refused:
                    refused.append(text)
                    continue
                }
            }
            result.append((text, value))
        }
        if let policy, !refused.isEmpty { throw policy.refusal(headers: refused) }
        return HTTPHeaders(result)
    }

    /// Without what asks for an answer in part or compressed: what is searched is read whole.
    static func whole(_ fields: HTTPHeaders) -> HTTPHeaders {
        HTTPHeaders(fields.filter { FieldRules.request(FieldName($0.name)) != .partial }.map { ($0.name, $0.value) })
    }

    private enum Verdict { case passes, dropped, refused }

    private static func judged(_ text: String, _ name: FieldName, _ rule: FieldRules.Request, _ policy: AgentPolicy) -> Verdict {
        if rule == .known && name.isPlain { return .passes }
        if rule == .partial { return .dropped }
        if policy.allows(header: text) { return .passes }
        return rule == .unasked ? .dropped : .refused
    }

    private static func isInjected(_ name: String, _ injected: Set<String>) -> Bool {
        for normal in injected where FieldName.matches(name, normal: normal) { return true }
        return false
    }

    /// RFC 9110 §5.5. Bytes above ASCII are `obs-text`: kept.
    private static func isFieldValue(_ value: String) -> Bool {
        let bytes = value.utf8.span
        for index in bytes.indices {
            let byte = bytes[index]
            if (byte < 0x20 && byte != 0x09) || byte == 0x7F { return false }
        }
        return true
    }
}
