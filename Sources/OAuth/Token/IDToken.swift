import Crypto

/// What an ID token says, after validation against the request. OpenID Connect Core §3.1.3.7.
///
/// Its signature is not verified here: it came from the token endpoint over TLS to the issuer's own host, which stands
/// in for the signature (point 6 there).
public struct IDTokenClaims: Sendable, Hashable {
    public let issuer: String
    public let subject: String
    public let audience: [String]
    /// Seconds since 1970.
    public let expiresAt: Int
    /// Seconds since 1970.
    public let issuedAt: Int
}

/// Which check failed, in words.
struct IDTokenError: Error { let reason: String }

extension Client {
    /// Clocks may differ by this many seconds.
    static let leeway = 60

    /// - Returns: `nil` when `openid` was not asked for, or a refresh came without a token.
    func idTokenClaims(
        _ value: JSONValue?, accessToken: AccessToken, grant: AuthorizationGrant, now: Int, expectedSubject: String?
    ) throws -> IDTokenClaims? {
        guard grant.requestedScopes.contains("openid") else { return nil }
        let isCode = if case .authorizationCode = grant { true } else { false }
        guard let value, !value.isNull, value != .string("") else {
            guard !isCode else { throw IDTokenError(reason: "scope openid was asked for and no id_token came") }
            return nil
        }
        guard let text = value.string else { throw IDTokenError(reason: "id_token is not a text") }
        let (header, payload) = try Self.parts(text)
        let algorithm = try Self.check(header: header)
        try Self.check(hash: payload["at_hash"], of: accessToken, algorithm: algorithm)
        var nonce: Nonce?
        if case .authorizationCode(let code) = grant { nonce = code.nonce }
        // At a refresh it says again whose tokens they are, and signs nobody in: a clock that is set wrong here must not cost the
        // rotated refresh token that came with it. OpenID Connect Core §12.2.
        let isRefresh = if case .refreshToken = grant { true } else { false }
        let claims = try check(payload: payload, nonce: nonce, now: isRefresh ? nil : now)
        if let expectedSubject, !sameBytes(claims.subject, expectedSubject) { throw IDTokenError(reason: "sub is another than before") }
        return claims
    }

    private static func parts(_ text: String) throws -> (header: JSONObject, payload: JSONObject) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count != 5 else { throw IDTokenError(reason: "it is encrypted, which was not asked for") }
        guard parts.count == 3, !parts[2].isEmpty, Base64URL.decode(String(parts[2])) != nil else { throw IDTokenError(reason: "it is not a signed JWT") }
        func object(_ part: Substring) throws -> JSONObject {
            guard let bytes = Base64URL.decode(String(part)), let object = try? JSONValue(parsing: bytes).object else {
                throw IDTokenError(reason: "it is not a signed JWT")
            }
            return object
        }
        return (try object(parts[0]), try object(parts[1]))
    }

    private static let algorithms: Set<String> = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
    ]

    /// - Returns: the algorithm.
    private static func check(header: JSONObject) throws -> String {
        guard let algorithm = header["alg"]?.string, algorithms.contains(algorithm) else { throw IDTokenError(reason: "alg is none, or not one of JWA") }
        guard header["crit"] == nil else { throw IDTokenError(reason: "crit names an extension that is not known") }
        return algorithm
    }

    /// `at_hash`, if there: the left half of the access token's hash. OpenID Connect Core §3.1.3.6; SHA-512 for Ed25519.
    private static func check(hash: JSONValue?, of token: AccessToken, algorithm: String) throws {
        guard let hash, !hash.isNull else { return }
        let bytes = token.withExposed { Array($0.utf8) }
        let digest: [UInt8]
        if algorithm.hasSuffix("256") {
            digest = Array(SHA256.hash(data: bytes))
        } else if algorithm.hasSuffix("384") {
            digest = Array(SHA384.hash(data: bytes))
        } else {
            digest = Array(SHA512.hash(data: bytes))
        }
        guard let text = hash.string, constantTimeEqual(text, Base64URL.encode(digest.prefix(digest.count / 2))) else {
            throw IDTokenError(reason: "at_hash is not the access token's")
        }
    }

    /// - Parameter now: `nil` = its times are read and not judged.
    private func check(payload: JSONObject, nonce: Nonce?, now: Int?) throws -> IDTokenClaims {
        guard let issuer = payload["iss"]?.string, !issuer.isEmpty else { throw IDTokenError(reason: "iss is missing") }
        if let expected = server.issuer, !sameBytes(issuer, expected) { throw IDTokenError(reason: "iss is not the connection's issuer") }
        let audience: [String]
        switch payload["aud"] {
        case .string(let one): audience = [one]
        case .array(let values): audience = values.compactMap(\.string)
        default: audience = []
        }
        guard audience.contains(where: { sameBytes($0, registration.clientID) }) else { throw IDTokenError(reason: "aud does not name this client") }
        let party = payload["azp"]
        if audience.count > 1, party == nil { throw IDTokenError(reason: "aud names others too, and azp is missing") }
        if let party, party.string.map({ sameBytes($0, registration.clientID) }) != true { throw IDTokenError(reason: "azp is not this client") }
        guard let expiresAt = Self.seconds(payload["exp"]) else { throw IDTokenError(reason: "exp is missing") }
        guard let issuedAt = Self.seconds(payload["iat"]) else { throw IDTokenError(reason: "iat is missing") }
        if let now { try Self.check(expiresAt: expiresAt, issuedAt: issuedAt, notBefore: Self.seconds(payload["nbf"]), now: now) }
        if let nonce {
            guard let sent = payload["nonce"]?.string, nonce.withExposed({ constantTimeEqual(sent, $0) }) else {
                throw IDTokenError(reason: "nonce is not the one that was sent")
            }
        }
        guard let subject = payload["sub"]?.string, (1...255).contains(subject.utf8.count), subject.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
        else { throw IDTokenError(reason: "sub is missing, or not 1 to 255 ASCII characters") }
        return IDTokenClaims(issuer: issuer, subject: subject, audience: audience, expiresAt: expiresAt, issuedAt: issuedAt)
    }

    private static func check(expiresAt: Int, issuedAt: Int, notBefore: Int?, now: Int) throws {
        guard expiresAt.addingReportingOverflow(leeway).partialValue > now || expiresAt > Int.max - leeway else {
            throw IDTokenError(reason: "exp has passed; look at the clock of this machine if it repeats")
        }
        guard issuedAt <= now + leeway else { throw IDTokenError(reason: "iat lies in the future; look at the clock of this machine if it repeats") }
        guard issuedAt >= now - 86_400 else { throw IDTokenError(reason: "iat is more than a day ago") }
        if let notBefore, notBefore > now + leeway { throw IDTokenError(reason: "nbf lies in the future") }
    }

    private static func seconds(_ value: JSONValue?) -> Int? {
        guard case .number(let number)? = value else { return nil }
        return number.flooredClamped
    }
}
