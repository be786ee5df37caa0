import Vault

/// The form's *Grant Type*: the four of the dropdown, of which two are one grant type to the protocol.
enum GrantChoice: String, CaseIterable, Sendable {
    case password
    case clientCredentials = "client_credentials"
    case authorizationCode = "authorization_code"
    case authorizationCodePKCE = "authorization_code_pkce"

    var label: String {
        switch self {
        case .password: "Password Credentials"
        case .clientCredentials: "Client Credentials"
        case .authorizationCode: "Authorization Code"
        case .authorizationCodePKCE: "Authorization Code with PKCE"
        }
    }

    var help: String {
        switch self {
        case .password: "A username and password are exchanged for a token. Only for your own accounts, or where the provider offers nothing else."
        case .clientCredentials: "The application signs in as itself, with no user. For jobs and services."
        case .authorizationCode: "A person signs in at the provider and agrees. PKCE is added where the provider is not known to break on it."
        case .authorizationCodePKCE: "The same, for a provider that requires PKCE, or that gave you no Client Secret."
        }
    }

    var grantType: GrantType {
        switch self {
        case .password: .password
        case .clientCredentials: .clientCredentials
        case .authorizationCode, .authorizationCodePKCE: .authorizationCode
        }
    }

    /// The class of the wrappers that are shown for it.
    var group: String {
        switch self {
        case .password: "for-password"
        case .clientCredentials: "for-client"
        case .authorizationCode: "for-code"
        case .authorizationCodePKCE: "for-pkce"
        }
    }

    /// What settings are shown as: by what is sent, so `S256` is "with PKCE" whichever way it came there.
    init(_ oauth: OAuthSettings) {
        switch oauth.grantType {
        case .password: self = .password
        case .clientCredentials: self = .clientCredentials
        case .authorizationCode: self = oauth.pkce == "none" ? .authorizationCode : .authorizationCodePKCE
        }
    }
}
