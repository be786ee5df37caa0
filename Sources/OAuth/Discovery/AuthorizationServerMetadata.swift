/// An authorization server's metadata document. RFC 8414 §2, OpenID Connect Discovery 1.0 §3.
public struct AuthorizationServerMetadata: Sendable, Hashable {
    public var issuer: String
    public var authorizationEndpoint: EndpointURL?
    public var tokenEndpoint: EndpointURL?
    public var revocationEndpoint: EndpointURL?
    public var introspectionEndpoint: EndpointURL?
    public var jwksURI: EndpointURL?
    public var scopesSupported: [String]?
    public var grantTypesSupported: [String]?
    public var tokenEndpointAuthMethodsSupported: [String]?
    public var codeChallengeMethodsSupported: [String]?
    public var authorizationResponseIssParameterSupported: Bool
    /// The whole document.
    public var document: JSONObject

    /// Where to look, in order: for an issuer with a path inserted OAuth, inserted OIDC, appended OIDC; without one
    /// OAuth, OIDC. Stop at the first answer that is a JSON document. RFC 8414 §3.1, OIDC Discovery §4.1.
    public static func wellKnownURLs(issuer: String) throws(MetadataError) -> [EndpointURL] { fatalError("stub") }

    /// - Parameter issuer: the issuer that was asked for; the document's must be the same bytes (RFC 8414 §3.3).
    /// - Throws: ``MetadataError``; also when an endpoint in it is not a usable URL. `http` endpoints are read here and
    ///   judged by egress.
    public init(parsing body: [UInt8], issuer: String) throws(MetadataError) { fatalError("stub") }
}

public enum MetadataError: Error, Sendable, Hashable {
    /// The issuer that was asked for is not an https (or http) URL without query and fragment.
    case badIssuer(String)
    case notJSON
    /// The document speaks for another issuer; shown, never mended.
    case issuerMismatch(found: String)
    case missing(member: String)
    case badMember(member: String, reason: String)
}
