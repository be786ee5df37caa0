/// How one provider deviates from the RFCs, as data. The default value is the RFCs' behaviour.
///
/// A new provider is a new value, never an `if` on its name.
public struct ProviderProfile: Sendable, Hashable {
    public enum BodyFormat: String, Sendable, Hashable { case form, json, query }
    public enum RefreshTokenPolicy: String, Sendable, Hashable {
        case standard
        case keepOriginal = "keep_original"
    }
    public enum BasicUser: String, Sendable, Hashable {
        case clientID = "client_id"
        case secret
    }

    // Authorization request
    public var scopeSeparator: String = " "
    /// The joined scope goes out unencoded (its characters are checked).
    public var rawScope: Bool = false
    /// `nil` leaves `response_type` out.
    public var responseType: String? = "code"
    public var responseMode: String? = nil
    public var authorizationParams: [String: String] = [:]
    /// Standard name → the name this provider uses in the authorization request. For the response see ``codeParameter``
    /// and ``stateParameter``.
    public var authorizationParameterNames: [String: String] = [:]
    // Callback
    public var codeParameter: String = "code"
    public var stateParameter: String = "state"
    // Token request
    public var tokenParams: [String: String] = [:]
    /// Replaces `grant_type`'s value by grant type's name; the empty string leaves it out.
    public var grantTypeValues: [String: String] = [:]
    public var refreshParams: [String: String] = [:]
    public var tokenHeaders: [String: String] = [:]
    public var tokenParameterNames: [String: String] = [:]
    public var tokenRequestFormat: BodyFormat = .form
    public var tokenRequestMethod: String = "POST"
    public var redirectURIInExchange: Bool = true
    public var stateInExchange: Bool = false
    public var clientIDInBody: Bool = false
    public var basicUser: BasicUser = .clientID
    public var clientAuthenticationForRefresh: ClientAuthenticationMethod? = nil
    // Token response
    /// Dotted path of the object that holds the token members.
    public var responsePath: String? = nil
    /// Standard member → dotted path (`access_token`, `refresh_token`, `expires_in`, `expires`, `expires_at`,
    /// `refresh_expires_in`, `scope`, `token_type`, `id_token`).
    public var tokenResponseMembers: [String: String] = [:]
    /// Dotted path of the error's code (`errors.0.errorType`, `errcode`): a text, or a number other than 0. The standard's
    /// `error` is looked at all the same.
    public var errorPath: String? = nil
    /// Provider's error code → the RFC's (`bad_refresh_token` → `invalid_grant`); the empty text = no error (`0000`).
    public var errorAliases: [String: String] = [:]
    /// Other spellings of Bearer that this provider sends.
    public var tokenTypeAliases: [String] = []
    public var expiresInUnit: ExpiresInUnit = .seconds
    public enum ExpiresInUnit: String, Sendable, Hashable { case seconds, milliseconds }
    /// `expires_in` of 0 says that the token does not expire.
    public var zeroMeansNever: Bool = false
    /// Seconds, when the server names no lifetime.
    public var defaultExpiresIn: Int? = nil
    public var refreshTokenPolicy: RefreshTokenPolicy = .standard
    /// Sends the scopes again in a refresh request.
    public var scopeInRefresh: Bool = false
    // Lifetime
    /// The provider accepts the same rotated refresh token again for some seconds.
    public var rotationGrace: Int? = nil
    /// Renew no earlier than this many seconds before the end: the provider refuses to be asked sooner.
    public var refreshMargin: Int? = nil
    public var refreshTokenIdleDays: Int? = nil

    public init() {}
}
