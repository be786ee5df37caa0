/// How the client proves itself at the token endpoint. RFC 6749 §2.3, RFC 8414 §2.
public enum ClientAuthenticationMethod: String, Sendable, Hashable, CaseIterable {
    /// Id and secret form-encoded, then joined and Base64-encoded. RFC 6749 §2.3.1.
    case clientSecretBasic = "client_secret_basic"
    /// Not encoded before Base64, for servers that do not decode. Refuses an id with a colon.
    case clientSecretBasicRaw = "client_secret_basic_raw"
    /// `client_id` and `client_secret` in the body, never in a URL.
    case clientSecretPost = "client_secret_post"
    /// `client_id` in the body and nothing else: a public client.
    case none
}

/// What the authorization server knows this client by.
public struct ClientRegistration: Sendable {
    public var clientID: String
    public var clientSecret: ClientSecret?
    public var authentication: ClientAuthenticationMethod

    public init(clientID: String, clientSecret: ClientSecret? = nil, authentication: ClientAuthenticationMethod) {
        self.clientID = clientID
        self.clientSecret = clientSecret
        self.authentication = authentication
    }
}
