import OAuth
package import Vault

/// Programs that call a connection's API and run as pasted, where the environment has `GRANTEE_API_KEY`.
package struct Snippets: Sendable, Hashable {
    package let curl: String
    package let javascript: String
    package let python: String
    package let swift: String

    private init(_ program: SnippetProgram) {
        curl = CurlSnippet.text(program)
        javascript = JavaScriptSnippet.text(program)
        python = PythonSnippet.text(program)
        swift = SwiftSnippet.text(program)
    }

    /// Through the gateway: the program holds no token.
    /// - Parameter subject: `""` = the shared grant.
    package static func gateway(_ connection: Connection, publicURL: String, subject: String = "") -> Snippets {
        var fields = [SnippetProgram.key]
        if !subject.isEmpty { fields.append(.init(name: "Grantee-Subject", value: [.literal(subject)])) }
        return Snippets(SnippetProgram(token: nil, call: .init(url: [.literal("\(publicURL)/gateway/\(connection.id)/")], fields: fields), remark: nil))
    }

    /// With a token that the program fetches and puts into the request as the rules say.
    package static func token(_ connection: Connection, _ instructions: Instructions, publicURL: String, subject: String = "") -> Snippets {
        let query = subject.isEmpty ? "" : "?subject=" + Form.percentEncode(subject)
        let url: [SnippetPart] = [.literal("\(publicURL)/v1/connections/\(connection.id)/token\(query)")]
        let hasRules = !instructions.rules.isEmpty
        return Snippets(
            SnippetProgram(
                token: .init(url: url, fields: [SnippetProgram.key]), call: SnippetProgram.call(connection.settings, instructions),
                remark: hasRules ? nil : "The connection's Authentication Instructions have no rule: its guidance says how the token is sent."))
    }
}

/// What a program does, in no language yet.
struct SnippetProgram {
    /// One of two requests.
    struct Request {
        var url: [SnippetPart]
        var parameters: [Field] = []
        var fields: [Field]
    }
    struct Field {
        let name: String
        let value: [SnippetPart]
    }
    /// `nil` = the program needs none.
    let token: Request?
    let call: Request
    let remark: String?

    static let key = Field(name: "Authorization", value: [.literal("Bearer "), .environment("GRANTEE_API_KEY")])

    var needsTokenType: Bool { (call.fields + call.parameters).contains { $0.value.contains(.tokenType) } }

    static func call(_ settings: ConnectionSettings, _ instructions: Instructions) -> Request {
        var request = Request(url: parts(of: ShownBase(settings).url + "/"), fields: [])
        request.fields = settings.headers.sorted { $0.key < $1.key }.map { Field(name: $0.key, value: [.literal($0.value)]) }
        for (rule, template) in zip(instructions.rules, instructions.templates) {
            let field = Field(name: rule.name, value: template.parts.map { part(of: $0, clientID: settings.oauth.clientID) })
            switch rule.place {
            case .header: request.fields.append(field)
            case .query: request.parameters.append(field)
            }
        }
        return request
    }

    private static func part(of part: InstructionTemplate.Part, clientID: String?) -> SnippetPart {
        switch part {
        case .literal(let text): .literal(text)
        case .value(.token): .token
        case .value(.tokenType): .tokenType
        case .value(.clientID): clientID.map(SnippetPart.value) ?? .environment("CLIENT_ID")
        case .value(.captured(let name)): .environment(variable(for: name))
        }
    }

    /// `{name}` in a URL is what the program's environment has to say.
    private static func parts(of url: String) -> [SnippetPart] {
        var parts: [SnippetPart] = []
        for (index, piece) in url.split(separator: "{", omittingEmptySubsequences: false).enumerated() {
            let halves = piece.split(separator: "}", maxSplits: 1, omittingEmptySubsequences: false)
            if index > 0, halves.count == 2 { parts.append(.environment(variable(for: String(halves[0])))) }
            if let rest = halves.last, !rest.isEmpty { parts.append(.literal(String(rest))) }
        }
        return parts
    }

    /// `token_response.instance_url` → `TOKEN_RESPONSE_INSTANCE_URL`
    private static func variable(for name: String) -> String {
        String(name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }
}

/// A piece of a text that a program puts together.
enum SnippetPart: Hashable {
    /// In a query parameter: encoded already.
    case literal(String)
    /// In a query parameter: still to be encoded.
    case value(String)
    case token, tokenType
    case environment(String)
}

/// A language in which texts are joined by `+`.
protocol SnippetLanguage {
    static func token(_ part: SnippetPart) -> String
    static func environment(_ name: String) -> String
    /// The expression, percent-encoded.
    static func encoded(_ expression: String) -> String
}

extension SnippetLanguage {
    /// Values of a connection hold no control characters.
    static func literal(_ text: String) -> String { "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\"" }

    static func expression(_ parts: [SnippetPart]) -> String { parts.map(expression).joined(separator: " + ") }

    static func url(_ request: SnippetProgram.Request) -> String {
        var pieces: [String] = []
        var text = ""
        func flush() {
            if !text.isEmpty { pieces.append(literal(text)) }
            text = ""
        }
        func add(_ part: SnippetPart, isEncoded: Bool) {
            switch part {
            case .literal(let piece): text += piece
            case .value(let piece): text += isEncoded ? piece : Form.percentEncode(piece)
            case .token, .tokenType, .environment:
                flush()
                pieces.append(isEncoded ? expression(part) : encoded(expression(part)))
            }
        }
        for part in request.url { add(part, isEncoded: true) }
        for (index, parameter) in request.parameters.enumerated() {
            text += (index == 0 ? "?" : "&") + parameter.name + "="
            for part in parameter.value { add(part, isEncoded: false) }
        }
        flush()
        return pieces.joined(separator: " + ")
    }

    private static func expression(_ part: SnippetPart) -> String {
        switch part {
        case .literal(let text), .value(let text): literal(text)
        case .token, .tokenType: token(part)
        case .environment(let name): environment(name)
        }
    }
}
