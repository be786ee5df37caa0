/// What client authentication adds to a request: one method, chosen by configuration. RFC 6749 §2.3.
struct ClientProof {
    var authorization: String?
    var parameters: [(String, String)] = []

    /// - Throws: ``RequestError`` when the method needs what the registration lacks, or cannot carry the id.
    init(_ registration: ClientRegistration, method: ClientAuthenticationMethod, profile: ProviderProfile) throws(RequestError) {
        let id = registration.clientID
        switch method {
        case .none:
            if !id.isEmpty { parameters = [("client_id", id)] }
            return
        case .clientSecretPost:
            let secret = try Self.secret(registration)
            parameters = [("client_id", id), ("client_secret", secret)]
            return
        case .clientSecretBasic:
            authorization = Self.basic(try Self.userAndPassword(registration, profile, encode: Form.encode))
        case .clientSecretBasicRaw:
            guard !id.utf8.contains(UInt8(ascii: ":")) || profile.basicUser == .secret else {
                throw RequestError(parameter: "client_id", reason: "holds a colon, which client_secret_basic_raw cannot carry")
            }
            authorization = Self.basic(try Self.userAndPassword(registration, profile) { $0 })
        }
        if profile.clientIDInBody { parameters = [("client_id", id)] }
    }

    private static func secret(_ registration: ClientRegistration) throws(RequestError) -> String {
        guard let secret = registration.clientSecret else { throw RequestError(parameter: "client_secret", reason: "is required") }
        guard !registration.clientID.isEmpty else { throw RequestError(parameter: "client_id", reason: "is required") }
        return secret.withExposed { $0 }
    }

    /// RFC 6749 §2.3.1: each is form-encoded before the colon joins them; `encode` is the identity for raw.
    private static func userAndPassword(
        _ registration: ClientRegistration, _ profile: ProviderProfile, encode: (String) -> String
    ) throws(RequestError) -> String {
        let secret = encode(try secret(registration))
        return profile.basicUser == .secret ? secret + ":" : encode(registration.clientID) + ":" + secret
    }

    private static func basic(_ text: String) -> String { "Basic " + Base64.encode(text.utf8) }
}

/// Base64 with padding, as the Basic scheme wants it. RFC 7617 §2.
enum Base64 {
    static func encode(_ bytes: some Collection<UInt8>) -> String {
        let text = Base64URL.encode(bytes).replacing("-", with: "+").replacing("_", with: "/")
        return text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    }
}
