import ArgumentParser
import OAuth

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
    @Option(help: ArgumentHelp("Authentication Instructions, such as 'Authorization: Bearer <token>'.", valueName: "text")) var instructions: String?
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
        if let instructions { patch["authentication_instructions"] = .string(instructions) }
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

    private static func pair(_ text: String, of option: String) throws -> (String, String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw Failure("\(option) takes NAME=VALUE", exitCode: Failure.usage)
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }
}
