// The Swift of README.md and docs/library.md, compiled. LibraryDocumentTests compares what stands between the markers
// with what the documents show. The first one brings its imports along, so they cannot be in one order:
// swift-format-ignore-file: OrderedImports

import HTTPTypes

// example: client-credentials
import Egress
import OAuth
import OAuthClient
import OAuthClientAsyncHTTP

func machineToken(at tokenURL: String, allowing networks: [Egress.CIDR] = []) async throws -> AccessToken {
    let server = AuthorizationServer(tokenEndpoint: try EndpointURL(tokenURL))
    let registration = ClientRegistration(
        clientID: "machine", clientSecret: ClientSecret("machine-secret"), authentication: .clientSecretBasic)
    let transport = try AsyncHTTPTransport(egress: Egress(policy: .init(allowed: networks)))
    let oauth = OAuthClient(Client(server: server, registration: registration), transport: transport)
    let response = try await oauth.token(.clientCredentials(scopes: ["read"]))
    return response.accessToken
}
// end

// example: discovery
func discoveredClient(of issuer: String, transport: some Transport) async throws -> Client {
    let metadata = try await OAuthClient.discover(issuer: issuer, transport: transport)
    guard let tokenEndpoint = metadata.tokenEndpoint else { throw MetadataError.missing(member: "token_endpoint") }
    let server = AuthorizationServer(
        issuer: metadata.issuer, authorizationEndpoint: metadata.authorizationEndpoint, tokenEndpoint: tokenEndpoint,
        revocationEndpoint: metadata.revocationEndpoint, promisesIssuer: metadata.authorizationResponseIssParameterSupported)
    return Client(server: server, registration: ClientRegistration(clientID: "pub", authentication: .none))
}
// end

// example: authorization-code
actor SignIns {
    private let client: Client
    private let redirectURI: String
    private var pending: [String: PendingAuthorization] = [:]

    init(client: Client, redirectURI: String) {
        self.client = client
        self.redirectURI = redirectURI
    }

    /// - Parameter session: what your own cookie says of the browser.
    /// - Returns: where to send it.
    func begin(session: String) throws -> String {
        let request = try client.authorizationRequest(redirectURI: redirectURI, scopes: ["read"])
        pending[session] = request.pending
        return request.url
    }

    /// - Parameter query: of the request to the redirect URI, as it came.
    func finish(session: String, query: String) throws -> CheckedCode {
        guard let request = pending.removeValue(forKey: session) else { throw CallbackError.stateMismatch }
        return try request.accept(try AuthorizationResponse(query: query.utf8))
    }
}
// end

// example: exchange
func tokens(for code: CheckedCode, from oauth: OAuthClient) async throws -> TokenResponse {
    try await oauth.token(.authorizationCode(code))
}
// end

// example: refresh
func refreshed(_ old: RefreshToken, scopes: [String], by oauth: OAuthClient) async throws -> (AccessToken, RefreshToken) {
    let response = try await oauth.token(.refreshToken(old, scopes: scopes))
    // No refresh token in the answer: the old one stays valid. RFC 6749 §6.
    return (response.accessToken, response.refreshToken ?? old)
}
// end

// example: revocation
func revoke(_ token: RefreshToken, by oauth: OAuthClient) async throws -> Revocation.Outcome {
    try await oauth.revoke(token.withExposed { $0 }, hint: .refreshToken)
}
// end

// example: errors
func whatToDo(about error: any Error) -> String {
    switch error {
    case let error as RequestError:
        return "Nothing was sent. Correct \(error.parameter): it \(error.reason)."
    case let error as TokenError:
        switch error.remedy {
        case .reauthorize: return "A person has to grant access again."
        case .fixClient: return "The client's settings are wrong: \(error)"
        case .tryLater: return "The provider is busy. Try again in \(error.retryAfter ?? 5) seconds."
        case .report: return "The provider answered something else: \(error)"
        }
    case let error as TransportError:
        return error.mayHaveBeenSent
            ? "No answer came, and the request may have arrived. Do not send a code again."
            : "Nothing was sent. Try again."
    default:
        return "\(error)"
    }
}
// end

// example: profile
func clientOfAnUnusualProvider(server: AuthorizationServer, registration: ClientRegistration) -> Client {
    var profile = ProviderProfile()
    profile.scopeSeparator = ","
    profile.authorizationParams = ["access_type": "offline"]
    profile.tokenResponseMembers = ["access_token": "authed_user.access_token"]
    return Client(server: server, registration: registration, profile: profile)
}
// end

// example: transport
struct CannedTransport: Transport {
    let status: Int
    let body: String

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        WireResponse(head: HTTPResponse(status: .init(code: status)), body: Array(body.utf8))
    }
}
// end
