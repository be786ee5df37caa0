/// What is presented to the token endpoint in exchange for tokens. RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6.
public enum AuthorizationGrant: Sendable {
    case authorizationCode(CheckedCode)
    case password(username: String, password: Password, scopes: [String])
    case clientCredentials(scopes: [String])
    /// `scopes`: what was granted; sent only where the profile asks for it.
    case refreshToken(RefreshToken, scopes: [String])

    /// The value of `grant_type`.
    public var grantType: String {
        switch self {
        case .authorizationCode: "authorization_code"
        case .password: "password"
        case .clientCredentials: "client_credentials"
        case .refreshToken: "refresh_token"
        }
    }
}

/// A token endpoint request that could not be made from what was given: our caller's mistake, nothing was sent.
public struct RequestError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The setting at fault, by its RFC name (`client_id`, `scope`, `token_params.foo`).
    public let parameter: String
    public let reason: String
    public init(parameter: String, reason: String) {
        self.parameter = parameter
        self.reason = reason
    }
    public var description: String { "\(parameter): \(reason)" }
}
