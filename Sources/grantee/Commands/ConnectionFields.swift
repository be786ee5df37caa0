import ArgumentParser
import OAuth

enum AgentSwitch: String, ExpressibleByArgument { case on, off }

/// The fields of a connection as options, secrets apart.
struct ConnectionFields: ParsableArguments {
    @Option(help: "authorization_code, client_credentials or password. Default: authorization_code.") var grantType: String?
    @Option(help: "S256, plain or none. Default: S256.") var pkce: String?
    @Option(help: ArgumentHelp("The issuer identifier, byte for byte.", valueName: "url")) var issuer: String?
    @Option(help: ArgumentHelp("Where people sign in and consent.", valueName: "url")) var authorizationUrl: String?
    @Option(help: ArgumentHelp("The Access Token URL.", valueName: "url")) var tokenUrl: String?
    @Option(help: ArgumentHelp("Where refreshes go, if elsewhere.", valueName: "url")) var refreshUrl: String?
    @Option(help: ArgumentHelp("Where tokens are revoked.", valueName: "url")) var revocationUrl: String?
    @Option(help: ArgumentHelp("The API's base URL.", valueName: "url")) var baseUrl: String?
    @Option(help: "The Client ID.") var clientId: String?
    @Option(help: ArgumentHelp("The file with the Client Secret, - for standard input.", valueName: "file"), completion: .file()) var clientSecretFile: String?
    @Option(help: "client_secret_basic, client_secret_basic_raw, client_secret_post or none.") var clientAuthentication: String?
    @Option(name: .customLong("scope"), help: ArgumentHelp("May be repeated.", valueName: "scope")) var scopes: [String] = []
    @Option(help: "For the password grant: a user name that is stored.") var username: String?
    @Option(help: ArgumentHelp("The file with the stored password, - for standard input.", valueName: "file"), completion: .file()) var passwordFile: String?
    @Option(
        help: ArgumentHelp(
            "Authentication Instructions, a rule on each line, such as the default 'Authorization: Bearer <token>', which '' brings back.",
            valueName: "text"))
    var instructions: String?
    @Flag(inversion: .prefixedNo, help: "Let instructions put the token into the query, where logs and histories may keep it.") var allowTokenInQuery: Bool?
    @Option(
        name: .customLong("header"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A header field that every request through the gateway gets, 'Name: value'; 'Name:' takes it away; may be repeated.", valueName: "field"))
    var headers: [String] = []
    @Flag(inversion: .prefixedNo, help: "Let %2F stand in the paths of requests through the gateway.") var allowEncodedSlash: Bool?
    @Option(help: ArgumentHelp("Whether AI agents may call this API: on or off. They need paths, too.", valueName: "on|off")) var agents: AgentSwitch?
    @Option(name: .customLong("agent-method"), help: ArgumentHelp("A method for agents; may be repeated. Default: GET.", valueName: "method")) var agentMethods:
        [String] = []
    @Option(
        name: .customLong("agent-path"),
        help: ArgumentHelp(
            """
            A pattern of paths for agents, such as /repos/*/issues or /users/**: * stands for a part of one segment, ** for any rest; may be repeated. The \
            patterns that are named take the place of all former ones.
            """, valueName: "pattern"))
    var agentPaths: [String] = []
    @Option(name: .customLong("agent-header"), help: ArgumentHelp("A header field that agents may send; may be repeated.", valueName: "name"))
    var agentHeaders: [String] = []
    @Option(name: .customLong("variable"), help: ArgumentHelp("A value for {name} in URLs; may be repeated.", valueName: "name=value")) var variables:
        [String] = []
    @Option(name: .customLong("return-origin"), help: ArgumentHelp("Where browsers may be sent after connecting; may be repeated.", valueName: "origin"))
    var returnOrigins: [String] = []
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "Any other member, such as oauth.authorization_params='{\"prompt\":\"consent\"}': JSON, or else a text; may be repeated.", valueName: "path=value"))
    var others: [String] = []

    /// What was named, as a merge patch.
    /// - Throws: ``Failure`` (usage) for a pair without `=`.
    func patch() throws -> JSONObject {
        var oauth = JSONObject()
        for (name, value) in [
            ("grant_type", grantType), ("pkce", pkce), ("issuer", issuer), ("authorization_url", authorizationUrl), ("token_url", tokenUrl),
            ("refresh_url", refreshUrl), ("revocation_url", revocationUrl), ("client_id", clientId), ("client_authentication", clientAuthentication),
            ("username", username),
        ] {
            if let value { oauth[name] = .string(value) }
        }
        if !scopes.isEmpty { oauth["scopes"] = .array(scopes.flatMap { $0.split(separator: " ") }.map { .string(String($0)) }) }
        var patch = JSONObject()
        if !oauth.members.isEmpty { patch["oauth"] = .object(oauth) }
        if let baseUrl { patch["base_url"] = .string(baseUrl) }
        if let instructions { patch["authentication_instructions"] = instructions.isEmpty ? .null : .string(instructions) }
        if let allowTokenInQuery { patch["allow_token_in_query"] = .bool(allowTokenInQuery) }
        if let allowEncodedSlash { patch["allow_encoded_slash"] = .bool(allowEncodedSlash) }
        if !headers.isEmpty {
            var fields = JSONObject()
            for (name, value) in try headers.map({ try HeaderArgument.split($0, of: "--header") }) { fields[name] = value.isEmpty ? .null : .string(value) }
            patch["headers"] = .object(fields)
        }
        let access = agentAccess
        if !access.members.isEmpty { patch["agent_access"] = .object(access) }
        if !returnOrigins.isEmpty { patch["return_origins"] = .array(returnOrigins.map(JSONValue.string)) }
        if !variables.isEmpty {
            var values = JSONObject()
            for (name, value) in try variables.map({ try Self.pair($0, of: "--variable") }) { values[name] = .string(value) }
            patch["variables"] = .object(values)
        }
        for (path, text) in try others.map({ try Self.pair($0, of: "--set") }) {
            let value = (try? JSONValue(parsing: text.utf8)) ?? .string(text)
            let nested = path.split(separator: ".").reversed().reduce(value) { .object([String($1): $0]) }
            patch = mergedDocument(patch, nested.object ?? JSONObject())
        }
        return patch
    }

    private var agentAccess: JSONObject {
        var access = JSONObject()
        if let agents { access["enabled"] = .bool(agents == .on) }
        for (name, values) in [("methods", agentMethods), ("paths", agentPaths), ("headers", agentHeaders)] where !values.isEmpty {
            access[name] = .array(values.map(JSONValue.string))
        }
        return access
    }

    private static func pair(_ text: String, of option: String) throws -> (String, String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw Failure("\(option) takes NAME=VALUE", exitCode: Failure.usage)
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }
}
