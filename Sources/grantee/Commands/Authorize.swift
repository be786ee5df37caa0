import ArgumentParser
import Egress
import Foundation
import OAuth
import OAuthClient
import OAuthClientAsyncHTTP

struct Authorize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Get one token from the terminal, with no server: prints it and keeps nothing.",
        discussion: """
            Opens the browser for authorization_code (loopback redirect, PKCE; RFC 8252). Endpoints come from --issuer's metadata, or are named. The Client \
            Secret and a Password are never arguments: a file, GRANTEE_CLIENT_SECRET and GRANTEE_PASSWORD, or a prompt.

              grantee authorize --issuer https://accounts.google.com --client-id abc --scope openid
            """)

    @Option(help: "authorization_code, client_credentials or password.") var grantType = "authorization_code"
    @Option(help: ArgumentHelp("Read the endpoints from this issuer's metadata.", valueName: "url")) var issuer: String?
    @Option(help: ArgumentHelp("Where people sign in and consent.", valueName: "url")) var authorizationUrl: String?
    @Option(help: ArgumentHelp("The Access Token URL.", valueName: "url")) var tokenUrl: String?
    @Option(help: "The Client ID.") var clientId: String
    @Option(help: ArgumentHelp("The file with the Client Secret, - for standard input.", valueName: "file"), completion: .file()) var clientSecretFile: String?
    @Option(help: "client_secret_basic, client_secret_basic_raw, client_secret_post or none. Default: none without a secret, else client_secret_basic.")
    var clientAuthentication: String?
    @Option(help: "S256, plain or none.") var pkce = "S256"
    @Option(name: .customLong("scope"), help: ArgumentHelp("May be repeated.", valueName: "scope")) var scopes: [String] = []
    @Option(help: "For the password grant.") var username: String?
    @Option(help: ArgumentHelp("The file with the password, - for standard input.", valueName: "file"), completion: .file()) var passwordFile: String?
    @Option(help: ArgumentHelp("The port of the redirect URI http://127.0.0.1:PORT/callback. Default: a free one.", valueName: "port")) var port = 0
    @Option(help: ArgumentHelp("PEM file of certificates trusted besides the system's.", valueName: "pem"), completion: .file()) var caFile: String?
    @Flag(help: "Print the link and do not open it.") var noBrowser = false
    @Flag(help: "Print the whole answer as JSON.") var json = false

    /// What the person running this may reach: their own machine and networks besides the public ones.
    private static let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
    private static let patience: Duration = .seconds(300)

    func run() async throws {
        guard let pkceMode = PKCE.Mode(rawValue: pkce) else { throw Failure("--pkce must be S256, plain or none", exitCode: Failure.usage) }
        guard (0...65_535).contains(port) else { throw Failure("--port must be 0 to 65535", exitCode: Failure.usage) }
        let transport = try AsyncHTTPTransport(egress: Egress(policy: .init(allowed: Self.networks.compactMap { Egress.CIDR($0) })), caFile: caFile)
        let client = Client(server: try await server(transport), registration: try registration())
        let scopes = self.scopes.flatMap { $0.split(separator: " ").map(String.init) }
        let grant: AuthorizationGrant
        switch grantType {
        case "client_credentials": grant = .clientCredentials(scopes: scopes)
        case "password":
            let name = try username ?? Terminal.ask("Username", secret: false, otherwise: "name it with --username")
            grant = .password(username: name, password: Password(try SecretInput.password.required(file: passwordFile)), scopes: scopes)
        case "authorization_code": grant = .authorizationCode(try await code(client, scopes: scopes, pkce: pkceMode))
        default: throw Failure("--grant-type must be authorization_code, client_credentials or password", exitCode: Failure.usage)
        }
        do {
            show(try await OAuthClient(client, transport: transport).token(grant))
        } catch let error as TokenError {
            throw Failure(Self.words(error), hint: "check client id, secret, --client-authentication and scopes")
        }
    }

    private func server(_ transport: AsyncHTTPTransport) async throws -> AuthorizationServer {
        func url(_ text: String?, _ flag: String) throws -> EndpointURL? {
            do {
                return try text.map { text throws(EndpointURLError) in try EndpointURL(text) }
            } catch {
                throw Failure("\(flag) \(error)", exitCode: Failure.usage)
            }
        }
        var authorization = try url(authorizationUrl, "--authorization-url")
        var token = try url(tokenUrl, "--token-url")
        var promises = false
        if let issuer {
            do {
                let metadata = try await OAuthClient.discover(issuer: issuer, transport: transport)
                authorization = authorization ?? metadata.authorizationEndpoint
                token = token ?? metadata.tokenEndpoint
                promises = metadata.authorizationResponseIssParameterSupported
            } catch let error as MetadataError {
                throw Failure("the issuer's metadata cannot be used: \(error.words)", hint: "name --authorization-url and --token-url instead of --issuer")
            }
        }
        guard let token else { throw Failure("--token-url or --issuer is needed", exitCode: Failure.usage) }
        return AuthorizationServer(issuer: issuer, authorizationEndpoint: authorization, tokenEndpoint: token, promisesIssuer: promises)
    }

    private func registration() throws -> ClientRegistration {
        let secret = try SecretInput.clientSecret.given(file: clientSecretFile).map { ClientSecret($0) }
        guard let clientAuthentication else {
            return ClientRegistration(clientID: clientId, clientSecret: secret, authentication: secret == nil ? .none : .clientSecretBasic)
        }
        guard let method = ClientAuthenticationMethod(rawValue: clientAuthentication) else {
            throw Failure(
                "--client-authentication must be one of \(ClientAuthenticationMethod.allCases.map(\.rawValue).joined(separator: ", "))", exitCode: Failure.usage
            )
        }
        return ClientRegistration(clientID: clientId, clientSecret: secret, authentication: method)
    }

    private func code(_ client: Client, scopes: [String], pkce: PKCE.Mode) async throws -> CheckedCode {
        guard client.server.authorizationEndpoint != nil else { throw Failure("--authorization-url or --issuer is needed", exitCode: Failure.usage) }
        let noBrowser = self.noBrowser
        let redirect = LoopbackRedirect(port: port, patience: Self.patience)
        return try await redirect.wait { redirectURI in
            let request = try client.authorizationRequest(redirectURI: redirectURI, scopes: scopes, pkce: pkce)
            Terminal.say("Open this link, sign in and allow:\n\(request.url)\nWaiting at \(redirectURI) …")
            if !noBrowser, Terminal.errors.isTerminal { _ = Terminal.openBrowser(request.url) }
            return request.pending
        }
    }

    private func show(_ response: TokenResponse) {
        guard json else { return Terminal.write(response.accessToken.withExposed { $0 }) }
        var object: JSONObject = [
            "access_token": response.accessToken.withExposed { .string($0) }, "token_type": .string(response.tokenType),
            "expires_in": response.expiresIn.map { .number(JSONNumber(Int($0.components.seconds))) } ?? .null,
            "scope": response.scope.map { .array($0.map(JSONValue.string)) } ?? .null,
        ]
        if let refreshToken = response.refreshToken { object["refresh_token"] = refreshToken.withExposed { .string($0) } }
        if let subject = response.idTokenClaims?.subject { object["account"] = .string(subject) }
        Terminal.write(JSONValue.object(object).pretty)
    }

    private static func words(_ error: TokenError) -> String {
        switch error.kind {
        case .refused:
            let said = [error.code?.rawValue, error.errorDescription].compactMap(\.self).joined(separator: ": ")
            return "the provider refused (status \(error.status))" + (said.isEmpty ? "" : ": \(said)")
        case .malformed(let reason): return "the provider's answer (status \(error.status)) is not a token response: \(reason)"
        case .idToken(let reason): return "the ID token was refused: \(reason)"
        }
    }
}

extension MetadataError {
    var words: String {
        switch self {
        case .badIssuer(let reason): "the issuer \(reason)"
        case .notJSON: "there is no document at its well-known URLs"
        case .issuerMismatch(let found): "it speaks for another issuer, \(found)"
        case .missing(let member): "it lacks \(member)"
        case .badMember(let member, let reason): "its \(member) \(reason)"
        }
    }
}

extension CallbackError {
    var words: String {
        switch self {
        case .stateMismatch: "it belongs to another request"
        case .issuerMismatch: "it comes from another issuer"
        case .missingCode: "it holds no code"
        case .malformed(let reason): reason
        case .denied(let code, let description): [code, description].compactMap(\.self).joined(separator: ": ")
        }
    }
}
