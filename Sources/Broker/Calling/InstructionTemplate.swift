import OAuth

/// The value of a rule, taken apart once, so that filling it is joining texts. Each placeholder stands for a whole value: nothing in a
/// template can cut, repeat or change the token. SEC-92
struct InstructionTemplate: Sendable, Hashable {
    enum Part: Sendable, Hashable {
        case literal(String)
        case value(Placeholder)
    }
    let parts: [Part]

    enum Placeholder: Sendable, Hashable {
        case token, tokenType, clientID
        /// By its whole name: `token_response.instance_url`.
        case captured(String)

        static let known = "<token>, <token_type>, <client_id>, <token_response.NAME> and <callback.NAME>"

        /// - Parameter name: what stands between the brackets.
        init?(_ name: Substring) {
            switch name {
            case "token": self = .token
            case "token_type": self = .tokenType
            case "client_id": self = .clientID
            default:
                guard Self.isCaptured(name) else { return nil }
                self = .captured(String(name))
            }
        }

        private static func isCaptured(_ name: Substring) -> Bool {
            let steps = name.split(separator: ".", omittingEmptySubsequences: false)
            return steps.count >= 2 && ["token_response", "callback"].contains(steps[0])
                && steps.allSatisfy { !$0.isEmpty && $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-") } }
        }

        /// As it is written, without the brackets.
        var name: String {
            switch self {
            case .token: "token"
            case .tokenType: "token_type"
            case .clientID: "client_id"
            case .captured(let name): name
            }
        }
    }

    var capturedNames: [String] {
        parts.compactMap { if case .value(.captured(let name)) = $0 { name } else { nil } }
    }

    /// - Throws: a value that is missing, or that cannot stand there.
    func filled(with values: InstructionValues, in place: Instructions.Rule.Place) throws(InstructionFault) -> String {
        var text = ""
        for part in parts {
            switch part {
            case .literal(let literal): text += literal
            case .value(let placeholder):
                let value = try values[placeholder]
                try Self.check(value, placeholder, in: place)
                text += place == .query ? Form.percentEncode(value) : value
            }
        }
        return text
    }

    /// No field can be ended, and none begun, by a value that somebody else chose. SEC-79, RFC 9110 §5.5
    private static func check(_ value: String, _ placeholder: Placeholder, in place: Instructions.Rule.Place) throws(InstructionFault) {
        let bytes = value.utf8
        guard let first = bytes.first, let last = bytes.last else { throw InstructionFault("<\(placeholder.name)> has an empty value") }
        let fits = bytes.allSatisfy { (0x20...0x7E).contains($0) || ($0 == 0x09 && place == .header) || ($0 >= 0x80 && place == .query) }
        guard fits else {
            let what = place == .header ? "a header can carry" : "a query parameter may hold"
            throw InstructionFault("the value of <\(placeholder.name)> holds a character that is not among those \(what)")
        }
        guard place == .query || (first > 0x20 && last > 0x20) else { throw InstructionFault("the value of <\(placeholder.name)> begins or ends with a space") }
    }
}

/// What stands for the placeholders.
struct InstructionValues {
    let token: String
    let tokenType: String
    let clientID: String?
    let captured: [String: String]

    subscript(_ placeholder: InstructionTemplate.Placeholder) -> String {
        get throws(InstructionFault) {
            switch placeholder {
            case .token: return token
            // RFC 6750 §2.1 spells it so, and not every API reads it in another case, whatever its authorization server sends.
            case .tokenType: return tokenType.isEmpty || tokenType.lowercased() == "bearer" ? "Bearer" : tokenType
            case .clientID:
                guard let clientID else { throw InstructionFault("<client_id> has no value: the connection has no client id") }
                return clientID
            case .captured(let name):
                guard let value = captured[name] else { throw InstructionFault("<\(name)> has no value: the provider sent none; connect again") }
                return value
            }
        }
    }
}

/// Why a line, or a value in it, cannot work.
struct InstructionFault: Error, Hashable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}
