package import OAuth

/// A client that the provider knows, with its lifetimes, its rules and the faults it is to see.
package struct RehearsalClient: Sendable {
    package enum PKCERule: String, Sendable {
        case optional, required, forbidden
        case s256Only = "s256_only"
    }

    package var id: String
    /// `nil` = a public client.
    package var secret: String?
    package var name: String
    package var clientAuthentication: Set<String> = ["client_secret_basic", "client_secret_post"]
    package var grantTypes: Set<String> = ["authorization_code", "password", "client_credentials", "refresh_token"]
    /// Exact strings; empty = any path on a loopback host.
    package var redirectURIs: [String] = []
    package var scopes: Set<String> = ["read", "write", "openid", "profile", "offline_access"]
    package var pkce: PKCERule = .optional
    /// Seconds.
    package var accessTokenLifetime = 3600
    /// Each refresh gives a new refresh token and ends the old one; a second use of the old one ends them all.
    package var rotates = false
    /// Seconds that a rotated refresh token is still taken, with the same answer as a new one.
    package var grace = 0
    /// Token requests in any one second; more get 429 with `Retry-After: 1`. `nil` = no limit.
    package var rateLimit: Int?
    package var faults: [RehearsalFault] = []

    package init(id: String, secret: String? = nil, name: String? = nil) {
        self.id = id
        self.secret = secret
        self.name = name ?? id
        if secret == nil {
            clientAuthentication = ["none"]
            grantTypes = ["authorization_code", "refresh_token"]
            pkce = .required
        }
    }

    /// What a fresh provider knows.
    package static let standard: [RehearsalClient] = {
        var rotating = RehearsalClient(id: "rotating", secret: "rotating-secret", name: "Rotating refresh tokens")
        rotating.rotates = true
        rotating.accessTokenLifetime = 60
        var machine = RehearsalClient(id: "machine", secret: "machine-secret", name: "Machine to machine")
        machine.grantTypes = ["client_credentials"]
        return [
            RehearsalClient(id: "conf", secret: "conf-secret", name: "Rehearsal app"), RehearsalClient(id: "pub", name: "Public rehearsal app"), rotating,
            machine,
        ]
    }()

    func allows(redirectURI: String) -> Bool {
        if !redirectURIs.isEmpty { return redirectURIs.contains { sameBytes($0, redirectURI) } }
        return (try? EndpointURL(redirectURI))?.isLoopback ?? false
    }
}

extension RehearsalClient {
    /// Reads what is named and leaves the rest as it is.
    /// - Throws: ``RehearsalError`` naming the member that is wrong.
    package mutating func apply(_ object: JSONObject) throws(RehearsalError) {
        for (name, value) in object.members {
            switch (name, value) {
            case ("id", .string(let text)) where !text.isEmpty: id = text
            case ("secret", .string(let text)): secret = text
            case ("secret", .null): secret = nil
            case ("name", .string(let text)): self.name = text
            case ("client_authentication", .array(let values)): clientAuthentication = Set(values.compactMap(\.string))
            case ("grant_types", .array(let values)): grantTypes = Set(values.compactMap(\.string))
            case ("redirect_uris", .array(let values)): redirectURIs = values.compactMap(\.string)
            case ("scopes", .array(let values)): scopes = Set(values.compactMap(\.string))
            case ("pkce", .string(let text)):
                guard let rule = PKCERule(rawValue: text) else { throw RehearsalError("pkce must be optional, required, forbidden or s256_only") }
                pkce = rule
            case ("access_token_lifetime", _):
                guard let seconds = value.integer, seconds >= 0 else { throw RehearsalError("access_token_lifetime must be seconds") }
                accessTokenLifetime = seconds
            case ("rotates", .bool(let flag)): rotates = flag
            case ("grace", _):
                guard let seconds = value.integer, seconds >= 0 else { throw RehearsalError("grace must be seconds") }
                grace = seconds
            case ("rate_limit", .null): rateLimit = nil
            case ("rate_limit", _):
                guard let requests = value.integer, requests > 0 else { throw RehearsalError("rate_limit must be requests per second, or null") }
                rateLimit = requests
            case ("faults", .array(let values)):
                var read: [RehearsalFault] = []
                for value in values { read.append(try RehearsalFault(value)) }
                faults = read
            default: throw RehearsalError("\(ProviderText.clean(name, limit: 60)) is not known, or has the wrong type")
            }
        }
    }

    var json: JSONValue {
        [
            "id": .string(id), "name": .string(name), "client_authentication": .array(clientAuthentication.sorted().map(JSONValue.string)),
            "grant_types": .array(grantTypes.sorted().map(JSONValue.string)), "redirect_uris": .array(redirectURIs.map(JSONValue.string)),
            "scopes": .array(scopes.sorted().map(JSONValue.string)), "pkce": .string(pkce.rawValue),
            "access_token_lifetime": .number(JSONNumber(accessTokenLifetime)), "rotates": .bool(rotates), "grace": .number(JSONNumber(grace)),
            "rate_limit": rateLimit.map { .number(JSONNumber($0)) } ?? .null, "faults": .array(faults.map(\.json)),
        ]
    }
}

package struct RehearsalError: Error, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
