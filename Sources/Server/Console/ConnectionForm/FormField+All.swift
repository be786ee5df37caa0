/// Every field, in the order in which an error summary names them.
extension FormField {
    static let all = main + rare

    private static let code: Set<GrantChoice> = [.authorizationCode, .authorizationCodePKCE]

    private static let main: [FormField] = [
        .init("name", "Name", .text, .top, hint: "What people see, end users too, where they are asked to connect their account."),
        .init("grant_type", "Grant Type", .apart, hint: "How this application is given access."),
        .init(
            "issuer", "Issuer", .text, placeholder: "https://login.example.com",
            hint: "The provider's own address as an OpenID Connect or RFC 8414 server, if it is one. Discover reads the URLs below from it."),
        .init(
            "authorization_url", "Authorization URL", .text, for: code, placeholder: "https://provider.example/oauth/authorize",
            hint: "Where people are sent to sign in and to agree."),
        .init(
            "token_url", "Access Token URL", .text, placeholder: "https://provider.example/oauth/token",
            hint: "Where this server asks for tokens. No browser ever goes there."),
        .init("client_id", "Client ID", .text, hint: "What the provider calls your application. You get it when you register there."),
        .init(
            "client_secret", "Client Secret", .secret,
            hint: "The password that belongs to the Client ID. It is kept sealed and never shown again."),
        .init(
            "client_authentication", "Client Authentication",
            .choice([
                .init(
                    value: "client_secret_basic", label: "Send as Basic Auth Header",
                    help: "In the Authorization header of token requests: what most providers take."),
                .init(value: "client_secret_post", label: "Send client credentials in body", help: "Among the other parameters of token requests."),
                .init(value: "none", label: "None", help: "For a public client, which has no secret: the Client ID alone is sent.", isRare: true),
                .init(
                    value: "client_secret_basic_raw", label: "Basic Auth Header, not form-encoded",
                    help: "For servers that do not decode the id and the secret before they compare them.", isRare: true),
            ]),
            hint: "How the Client ID and the Client Secret are sent to the Access Token URL."),
        .init(
            "pkce_mode", "PKCE Mode", .apart, for: [.authorizationCodePKCE],
            hint: "How the proof is made that keeps a stolen authorization code worthless."),
        .init(
            "scopes", "Scopes", .words,
            hint: "What the application may do, in the provider's words, separated by spaces. Ask for no more than it needs."),
        .init(
            "username", "Username", .text, for: [.password],
            hint: "The account that the application uses. Leave it and the password empty to have each end user type their own."),
        .init("password", "Password", .secret, for: [.password], hint: "Kept sealed and never shown again."),
        .init(
            "base_url", "API base URL", .text, .top, placeholder: "https://api.provider.example",
            hint: "Where the API is. Calls through the gateway go there and nowhere else."),
        .init(
            "authentication_instructions", "Authentication Instructions", .prose, .top,
            hint:
                "How a request carries the token. A line such as Authorization: Bearer <token> goes into each; any other is for people and AI agents."
        ),
    ]

    private static let rare: [FormField] = [
        .init(
            "id", "Connection ID", .text, .top, rare: true,
            hint: "Its name in URLs: a-z, 0-9 and hyphens. The Callback URL ends with it, and neither changes later."),
        .init(
            "redirect_uri", "Custom Callback URL", .text, for: code, rare: true,
            hint: "Only if a URL of your own is registered at the provider, and forwards to the Callback URL above."),
        .init(
            "pkce_none", "Send no PKCE", .apart, for: [.authorizationCode], rare: true,
            hint: "For a provider that refuses requests with PKCE. Without it a stolen code is worth more."),
        .init(
            "return_origins", "Return origins", .lines, .top, for: code.union([.password]), rare: true, placeholder: "https://app.example.com",
            hint: "Where browsers may be sent back to once an account is connected: one origin of your application on each line."),
        .init(
            "preset", "Preset", .text, .top, rare: true,
            hint: "Whose quirks are respected, by the preset's id. It fills nothing in here: for that, begin at the gallery."),
        .init(
            "variables", "Other variables", .pairs("="), .top, rare: true, placeholder: "tenant=contoso",
            hint: "What {name} in the URLs stands for: name=value on each line."),
        .init(
            "variable_patterns", "Patterns for what the provider sends", .json, .top, rare: true,
            placeholder: #"{"token_response.instance_url": {"kind": "origin", "hosts": ["*.example.com"]}}"#,
            hint: "As JSON: what {token_response.NAME} and {callback.NAME} in the API base URL must look like."),
        .init(
            "headers", "API headers", .pairs(":"), .top, rare: true, placeholder: "Accept: application/json",
            hint: "Sent with every API request: Name: value on each line."),
        .init("refresh_url", "Refresh URL", .text, rare: true, hint: "Where tokens are refreshed, if that is not the Access Token URL."),
        .init("revocation_url", "Revocation URL", .text, rare: true, hint: "Where tokens are given back when somebody disconnects."),
        .init(
            "scope_separator", "Scope separator",
            .choice([
                .init(value: " ", label: "Space (standard)"), .init(value: ",", label: "Comma"), .init(value: ";", label: "Semicolon"),
                .init(value: "|", label: "Vertical bar"), .init(value: ":", label: "Colon"), .init(value: "+", label: "Plus sign"),
            ]), rare: true, hint: "What stands between scopes when they are sent."),
        .init(
            "authorization_params", "Extra authorization parameters", .pairs("="), for: code, rare: true, placeholder: "prompt=consent",
            hint: "Added to the Authorization URL: name=value on each line."),
        .init(
            "token_params", "Extra token parameters", .pairs("="), rare: true, placeholder: "audience=https://api.example.com",
            hint: "Added to token requests: name=value on each line."),
        .init("refresh_params", "Extra refresh parameters", .pairs("="), rare: true, hint: "Added to refresh requests: name=value on each line."),
        .init("token_headers", "Token request headers", .pairs(":"), rare: true, hint: "Sent to the Access Token URL: Name: value on each line."),
        .init(
            "token_request_format", "Token request format",
            .choice([
                .init(value: "form", label: "Form (standard)"), .init(value: "json", label: "JSON"), .init(value: "query", label: "Query of the URL"),
            ]), rare: true, hint: "How token requests carry their parameters."),
        .init(
            "token_response_members", "Members of the token answer", .pairs("="), rare: true, placeholder: "access_token=data.token",
            hint: "Where the answer holds a standard member, if it is elsewhere: member=dotted.path on each line."),
        .init(
            "default_expires_in", "Lifetime to assume", .number, rare: true, placeholder: "3600",
            hint: "Seconds that an access token lives, if the provider does not say."),
        .init(
            "refresh_token_idle_days", "Refresh token idle days", .number, rare: true, placeholder: "90",
            hint: "Days after which the provider forgets a refresh token that nobody used. You are warned before."),
        .init(
            "client_secret_expires_at", "Client Secret expires on", .time, rare: true, placeholder: "2027-01-31",
            hint: "The day, or the exact time, at which the provider ends the secret. You are warned before."),
        .init("keep_alive", "Keep grants alive", .flag, .top, rare: true, hint: "Refresh tokens before they expire even when nobody asks for one."),
        .init(
            "allow_token_in_query", "Token in the query", .flag, .top, rare: true,
            hint: "Let an instruction put the token into the URL, which logs and histories keep. Only if the API takes it nowhere else."),
        .init(
            "allow_encoded_slash", "Encoded slash in paths", .flag, .top, rare: true,
            hint: "Let %2F stand in the paths of gateway calls. Some APIs read it as a slash."),
        .init(
            "other", "Other settings (JSON)", .apart, .top, rare: true, placeholder: #"{"oauth": {"token_request_method": "GET"}}"#,
            hint: "Whatever else the API knows of a connection, by the API's names. openapi.json lists them."),
    ]

    /// Of the PKCE Mode, by what the protocol calls it.
    static let pkceModes: [Option] = [
        .init(value: "S256", label: "SHA-256 (Recommended)", help: "A hash of the secret goes through the browser."),
        .init(value: "plain", label: "Plain", help: "The secret itself goes through the browser. Only for old servers that know no hash."),
    ]
}
