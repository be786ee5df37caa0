/// An authorization server's metadata document. RFC 8414 §2, OpenID Connect Discovery 1.0 §3.
public struct AuthorizationServerMetadata: Sendable, Hashable {
    public var issuer: String
    public var authorizationEndpoint: EndpointURL?
    public var tokenEndpoint: EndpointURL?
    public var revocationEndpoint: EndpointURL?
    public var introspectionEndpoint: EndpointURL?
    public var jwksURI: EndpointURL?
    /// `nil` = not said.
    public var scopesSupported: [String]?
    public var grantTypesSupported: [String]?
    public var tokenEndpointAuthMethodsSupported: [String]?
    public var codeChallengeMethodsSupported: [String]?
    public var authorizationResponseIssParameterSupported: Bool
    /// The whole document.
    public var document: JSONObject

    /// Where to look, in order: for an issuer with a path OAuth inserted, OIDC inserted, OIDC appended; without one
    /// OAuth, OIDC. Stop at the first answer that is a JSON document. RFC 8414 §3.1, OIDC Discovery §4.1.
    public static func wellKnownURLs(issuer: String) throws(MetadataError) -> [EndpointURL] {
        let url: EndpointURL
        do {
            url = try EndpointURL(issuer)
        } catch {
            throw .badIssuer(error.description)
        }
        guard url.query == nil else { throw .badIssuer("an issuer has no query") }
        let base = url.scheme.rawValue + "://" + url.authority
        let path = url.path.hasSuffix("/") ? String(url.path.dropLast()) : url.path
        let oauth = "/.well-known/oauth-authorization-server"
        let oidc = "/.well-known/openid-configuration"
        let texts = path.isEmpty ? [base + oauth, base + oidc] : [base + oauth + path, base + oidc + path, base + path + oidc]
        return texts.compactMap { try? EndpointURL($0) }
    }

    /// - Parameter issuer: the issuer that was asked for; the document's must be the same bytes (RFC 8414 §3.3).
    /// - Throws: ``MetadataError``; also when an endpoint in it is not a usable URL. `http` endpoints are read here and
    ///   judged by egress.
    public init(parsing body: [UInt8], issuer: String) throws(MetadataError) {
        guard body.count <= WireResponse.maximumBody, let document = try? JSONValue(parsing: body).object else { throw .notJSON }
        guard let found = document["issuer"] else { throw .missing(member: "issuer") }
        guard let name = found.string else { throw .badMember(member: "issuer", reason: "is not a text") }
        guard sameBytes(name, issuer) else { throw .issuerMismatch(found: ProviderText.clean(name, limit: 256)) }
        self.document = document
        self.issuer = name
        authorizationEndpoint = try Self.url("authorization_endpoint", in: document)
        tokenEndpoint = try Self.url("token_endpoint", in: document)
        revocationEndpoint = try Self.url("revocation_endpoint", in: document)
        introspectionEndpoint = try Self.url("introspection_endpoint", in: document)
        jwksURI = try Self.url("jwks_uri", in: document)
        scopesSupported = try Self.texts("scopes_supported", in: document)
        grantTypesSupported = try Self.texts("grant_types_supported", in: document)
        tokenEndpointAuthMethodsSupported = try Self.texts("token_endpoint_auth_methods_supported", in: document)
        codeChallengeMethodsSupported = try Self.texts("code_challenge_methods_supported", in: document)
        switch document["authorization_response_iss_parameter_supported"] {
        case nil, .null: authorizationResponseIssParameterSupported = false
        case .bool(let value): authorizationResponseIssParameterSupported = value
        default: throw .badMember(member: "authorization_response_iss_parameter_supported", reason: "is not true or false")
        }
    }

    private static func url(_ member: String, in document: JSONObject) throws(MetadataError) -> EndpointURL? {
        guard let value = document[member], !value.isNull else { return nil }
        guard let text = value.string else { throw .badMember(member: member, reason: "is not a text") }
        do {
            return try EndpointURL(text)
        } catch {
            throw .badMember(member: member, reason: error.description)
        }
    }

    private static func texts(_ member: String, in document: JSONObject) throws(MetadataError) -> [String]? {
        guard let value = document[member], !value.isNull else { return nil }
        guard let values = value.array else { throw .badMember(member: member, reason: "is not an array") }
        return values.compactMap(\.string)
    }
}

public enum MetadataError: Error, Sendable, Hashable {
    /// The issuer that was asked for is not an https (or http) URL without query and fragment; why in words.
    case badIssuer(String)
    case notJSON
    /// The document speaks for another issuer; shown, never mended.
    case issuerMismatch(found: String)
    case missing(member: String)
    case badMember(member: String, reason: String)
}
