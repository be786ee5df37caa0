import OAuth
import OAuthClient
import Vault

/// What the provider shows to anybody. Nothing secret is sent.
extension Broker {
    /// Each host once, all at the same time.
    func lookAround(_ facts: inout Facts, client: Client?) async -> [Check] {
        let seen = facts
        async let metadata = readMetadata(seen)
        async let visit = visit(seen, client: client)
        async let token = reach(seen.tokenURL)
        async let api = reach(apiURL(seen))
        var checks: [Check] = []
        let (document, metadataChecks) = await metadata
        facts.metadata = document
        let (tokenReach, apiReach) = (await token, await api)
        if let tokenReach {
            let failed = Self.failure("token_url", "Access Token URL", tokenReach, facts)
            checks.append(
                failed
                    ?? Check(
                        "token_url", .ok, "Access Token URL",
                        "\(tokenReach.url.host) answers\(tokenReach.url.scheme == .https ? " over TLS" : ""). The endpoint itself was not called."))
        }
        checks += Self.checks(of: await visit, facts)
        if let apiReach {
            checks.append(Self.failure("api_url", "Base URL", apiReach, facts) ?? Check("api_url", .ok, "Base URL", "\(apiReach.url.host) answers."))
        }
        checks += metadataChecks
        if let clock = Doctor.clock([tokenReach, apiReach].compactMap(\.self), now: clock.now()) { checks.append(clock) }
        return checks
    }

    private static func failure(_ id: String, _ name: String, _ reach: Reach, _ facts: Facts) -> Check? {
        guard case .failure(let error) = reach.outcome else { return nil }
        return Reach.check(id, name, reach.url, error, facts)
    }

    /// `nil` where values of a grant make the URL, or the token URL's host is the same.
    private func apiURL(_ facts: Facts) -> EndpointURL? {
        guard let url = facts.url(facts.settings.baseURL), url.origin != facts.tokenURL?.origin else { return nil }
        return url
    }

    private func reach(_ url: EndpointURL?) async -> Reach? {
        guard let url else { return nil }
        return Reach(url: url, outcome: await answer(to: Reach.request(url)))
    }

    private func answer(to request: WireRequest) async -> Result<WireResponse, TransportError> {
        do throws(TransportError) { return .success(try await impatientTransport.send(request)) } catch { return .failure(error) }
    }

    var impatientTransport: ImpatientTransport { ImpatientTransport(transport: transport) }

    private enum Visit: Sendable {
        case page(WireResponse)
        case unreachable(EndpointURL, TransportError)
        case impossible(RequestError)
    }

    private func visit(_ facts: Facts, client: Client?) async -> Visit? {
        guard facts.isCode, let client, let url = facts.authorizationURL else { return nil }
        switch AuthorizationVisit.request(client, facts) {
        case .failure(let error): return .impossible(error)
        case .success(let request):
            switch await answer(to: request) {
            case .success(let response): return .page(response)
            case .failure(let error): return .unreachable(url, error)
            }
        }
    }

    private static func checks(of visit: Visit?, _ facts: Facts) -> [Check] {
        switch visit {
        case nil: []
        case .impossible(let error):
            [
                Check(
                    "authorization_url", .bad, "The authorization request cannot be made", "\(error.parameter): \(error.reason).",
                    fix: "Edit the connection and correct \(error.parameter).")
            ]
        case .unreachable(let url, let error): [Reach.check("authorization_url", "Authorization URL", url, error, facts)].compactMap(\.self)
        case .page(let response): AuthorizationVisit.checks(response, facts)
        }
    }

    /// The document of the issuer that is set, else of one that the token URL lets guess.
    private func readMetadata(_ facts: Facts) async -> (AuthorizationServerMetadata?, [Check]) {
        if facts.oauth.issuer != nil {
            guard let issuer = (try? facts.settings.issuer()) ?? nil else { return (nil, []) }
            switch await discovered(issuer) {
            case .success(let found): return (found, Doctor.metadataChecks(found, isGuess: false, facts))
            case .failure(let problem): return (nil, [Doctor.metadataCheck(problem, facts)])
            }
        }
        for guess in Doctor.issuerGuesses(facts) {
            // Nobody said that there is one: what is not found there is nothing wrong.
            guard case .success(let found) = await discovered(guess) else { continue }
            return (found, Doctor.metadataChecks(found, isGuess: true, facts))
        }
        return (nil, [])
    }

    private func discovered(_ issuer: String) async -> Result<AuthorizationServerMetadata, Problem> {
        do {
            return .success(try await OAuthClient.discover(issuer: issuer, transport: impatientTransport))
        } catch let error as MetadataError {
            return .failure(ProviderProblem.of(error))
        } catch let error as TransportError {
            return .failure(ProviderProblem.of(error, what: "the metadata document"))
        } catch {
            return .failure(internalProblem(error))
        }
    }
}
