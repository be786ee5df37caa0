import OAuth
import Vault

/// What an authorization server says of itself, beside what the connection says.
extension Doctor {
    /// Issuers that a token URL may belong to, the likeliest first. Few: each costs requests.
    static func issuerGuesses(_ facts: Facts) -> [String] {
        guard let url = facts.tokenURL else { return [] }
        if let end = url.path.firstRange(of: "/protocol/openid-connect/token") { return [url.origin + url.path[..<end.lowerBound]] }
        let segments = url.path.split(separator: "/").map(String.init)
        if segments.count == 4, segments[0] == "oauth2", segments[2...] == ["v1", "token"] { return [url.origin + "/oauth2/" + segments[1]] }
        if segments == ["oauth2", "v1", "token"] { return [url.origin] }
        if segments.count == 4, segments[1...] == ["oauth2", "v2.0", "token"] { return [url.origin + "/\(segments[0])/v2.0"] }
        return segments.count <= 2 ? [url.origin] : []
    }

    /// - Parameter isGuess: nobody named the issuer; what is found is a hint.
    static func metadataChecks(_ metadata: AuthorizationServerMetadata, isGuess: Bool, _ facts: Facts) -> [Check] {
        let state = isGuess ? Check.State.warn : .bad
        var checks: [Check] = []
        let differing = differingEndpoints(metadata, facts)
        if !differing.isEmpty {
            let lines = differing.map { "\($0.name) is \($0.theirs) there, and \($0.ours ?? "not set") here" }
            let patch = Facts.patch(JSONObject(differing.map { (name: $0.name, value: .string($0.theirs)) }))
            let movesSecrets = movesSecrets(differing, facts)
            checks.append(
                Check(
                    "metadata", state, "The provider names other endpoints",
                    "By its own metadata (issuer \(metadata.issuer)): \(lines.joined(separator: "; ")).",
                    fix: movesSecrets
                        ? "Edit the connection and put in the provider's URLs. As they are on another host, the client secret has to be given again."
                        : "Use the endpoints that the provider names.",
                    apply: movesSecrets ? nil : patch))
        } else {
            checks.append(Check("metadata", .ok, "Metadata", "The endpoints are those that \(metadata.issuer) names itself."))
        }
        checks += features(metadata, facts)
        return checks
    }

    private struct Differing {
        let name: String
        let ours: String?
        let theirs: String
    }

    private static func differingEndpoints(_ metadata: AuthorizationServerMetadata, _ facts: Facts) -> [Differing] {
        func differing(_ name: String, _ ours: EndpointURL?, _ theirs: EndpointURL?, isNeeded: Bool) -> Differing? {
            guard isNeeded, let theirs, theirs != ours else { return nil }
            return Differing(name: name, ours: ours?.description, theirs: theirs.description)
        }
        let hasIssuer = facts.oauth.issuer != nil
        return [
            differing("authorization_url", facts.authorizationURL, metadata.authorizationEndpoint, isNeeded: facts.isCode),
            differing("token_url", facts.tokenURL, metadata.tokenEndpoint, isNeeded: true),
            // That none is set is a choice, where nobody named the issuer.
            differing(
                "revocation_url", facts.url(facts.oauth.revocationURL), metadata.revocationEndpoint,
                isNeeded: hasIssuer && facts.oauth.revocationURL != nil),
        ].compactMap(\.self)
    }

    /// What is stored would go to another host: nobody but a person who has it may say so.
    private static func movesSecrets(_ differing: [Differing], _ facts: Facts) -> Bool {
        var settings = facts.settings
        for endpoint in differing {
            switch endpoint.name {
            case "authorization_url": settings.oauth.authorizationURL = endpoint.theirs
            case "token_url": settings.oauth.tokenURL = endpoint.theirs
            default: settings.oauth.revocationURL = endpoint.theirs
            }
        }
        // Where people sign in is theirs to trust: no button changes that.
        let page = facts.authorizationURL
        let pageMoves = differing.contains { $0.name == "authorization_url" && page != nil && (try? EndpointURL($0.theirs))?.origin != page?.origin }
        return pageMoves || HostMove(from: facts.settings, to: settings).movesTokens
    }

    /// Features that the metadata lists, and the connection relies on others. Lists are often short of something: a hint.
    private static func features(_ metadata: AuthorizationServerMetadata, _ facts: Facts) -> [Check] {
        var checks: [Check] = []
        if let supported = metadata.codeChallengeMethodsSupported, !supported.isEmpty, facts.isCode, facts.pkce != .none,
            !supported.contains(facts.pkce.rawValue)
        {
            let other = supported.contains("S256") ? "S256" : supported.contains("plain") ? "plain" : nil
            checks.append(
                Check(
                    "pkce_unsupported", .warn, "The provider does not list this PKCE mode",
                    "It lists \(supported.joined(separator: ", ")), and the connection uses \(facts.pkce.rawValue).",
                    fix: other.map { "Set the PKCE Mode to \($0)." }, apply: other.map { Facts.patch(["pkce": .string($0)]) }))
        }
        if let supported = metadata.tokenEndpointAuthMethodsSupported, !supported.isEmpty {
            let ours = facts.authentication == "client_secret_basic_raw" ? "client_secret_basic" : facts.authentication
            let known = ["client_secret_basic", "client_secret_post"].filter(supported.contains)
            if !supported.contains(ours), let other = known.first, facts.hasSecret {
                checks.append(
                    Check(
                        "client_authentication", .warn, "The provider does not list this client authentication",
                        "It lists \(supported.prefix(6).joined(separator: ", ")), and the connection uses \(Cause.words(facts.authentication)).",
                        fix: "If the client is refused, use \(Cause.words(other)).", apply: Facts.patch(["client_authentication": .string(other)])))
            }
        }
        if let supported = metadata.grantTypesSupported, !supported.isEmpty, !supported.contains(facts.oauth.grantType.rawValue) {
            checks.append(
                Check(
                    "grant_type", .warn, "The provider does not list this grant type",
                    "It lists \(supported.prefix(8).joined(separator: ", ")), and the connection uses \(facts.oauth.grantType.rawValue).",
                    fix: "If the provider refuses it, choose another grant type."))
        }
        return checks
    }

    /// - Parameter error: what reading the metadata of the issuer that is set ended with.
    static func metadataCheck(_ problem: Problem, _ facts: Facts) -> Check {
        let stopsConnecting = problem.code != .providerError || !problem.detail.contains("no metadata document")
        return Check(
            "metadata", stopsConnecting ? .bad : .warn, "The issuer's metadata cannot be used",
            problem.detail + (stopsConnecting && facts.isCode ? ". Nobody can connect as long as that is so." : "."),
            fix: (problem.fix ?? "Correct the issuer").prefix(1).uppercased() + (problem.fix ?? "Correct the issuer").dropFirst()
                + ". Where the provider has no metadata, clear the issuer.")
    }
}
