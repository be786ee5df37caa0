/// The endpoints of one authorization server, as configured or read from its metadata.
public struct AuthorizationServer: Sendable, Hashable {
    /// Compared byte for byte with `iss`; `nil` = not known, then `iss` is not judged.
    public var issuer: String?
    public var authorizationEndpoint: EndpointURL?
    public var tokenEndpoint: EndpointURL
    /// Where refresh requests go when it is not the token endpoint.
    public var refreshEndpoint: EndpointURL?
    public var revocationEndpoint: EndpointURL?
    /// `authorization_response_iss_parameter_supported`: a response without `iss` is then refused. RFC 9207 §2.4.
    public var promisesIssuer: Bool

    public init(
        issuer: String? = nil, authorizationEndpoint: EndpointURL? = nil, tokenEndpoint: EndpointURL,
        refreshEndpoint: EndpointURL? = nil, revocationEndpoint: EndpointURL? = nil, promisesIssuer: Bool = false
    ) {
        self.issuer = issuer
        self.authorizationEndpoint = authorizationEndpoint
        self.tokenEndpoint = tokenEndpoint
        self.refreshEndpoint = refreshEndpoint
        self.revocationEndpoint = revocationEndpoint
        self.promisesIssuer = promisesIssuer
    }
}
