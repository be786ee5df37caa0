import Logging
import OAuth
import OAuthClient
import Vault

/// Asking the provider how it wants the client authenticated.
extension Broker {
    func probe(_ facts: Facts, client: Client, by caller: Caller) async throws(Problem) -> Check {
        let connection = facts.connection
        let endpoint = facts.settings.tokenEndpointKey
        var probe = ClientProbe(facts, client: client)
        while let way = probe.next {
            if let problem = try await asProblem({ try await tokenEndpoints.admit(endpoint, at: clock.now()) })?.problem {
                if probe.asked.isEmpty {
                    return Check(
                        "client_authentication", .unknown, "The provider was not asked", problem.detail + ".",
                        fix: "Ask again when that time is over.")
                }
                break
            }
            // Machines need no code that cannot exist: what an application asks every day tells more.
            if probe.asked.isEmpty, connection.settings.oauth.grantType == .clientCredentials {
                probe.ask(way, answered: try await fetchForProbe(connection, by: caller))
            } else {
                probe.ask(way, answered: await ask(way, client, facts))
            }
        }
        if probe.works { await lift(connection, facts) }
        return probe.check
    }

    /// - Returns: `nil` when a token was given; it is kept, as any that is fetched.
    private func fetchForProbe(_ connection: Connection, by caller: Caller) async throws(Problem) -> Trouble? {
        let began = clock.now()
        do {
            _ = try await connect(connectionID: connection.id, options: .init(), by: caller)
            return nil
        } catch {
            let uid = connection.uid
            guard let trouble = try await asProblem({ try await store.troubles(connection: uid) }).first(where: { $0.stage == .token && $0.at >= began }) else {
                throw error
            }
            return trouble
        }
    }

    /// - Returns: `nil` when tokens came, which no provider does.
    private func ask(_ way: ClientProbe.Way, _ client: Client, _ facts: Facts) async -> Trouble? {
        guard let grant = ClientProbe.grant(facts, entropy: entropy) else { preconditionFailure("what was just written can be read") }
        let asking = ClientProbe.client(client, way, entropy: entropy)
        let witness = Witness(impatientTransport)
        let clock = self.clock
        let endpoint = facts.settings.tokenEndpointKey
        do {
            _ = try await OAuthClient(asking, transport: witness, now: { clock.now().seconds }).token(grant)
            await tokenEndpoints.ended(endpoint, .answered, at: clock.now())
            return nil
        } catch let error as TokenError {
            let problem = ProviderProblem.of(error, step: .code, settings: facts.settings)
            await tokenEndpoints.ended(endpoint, .of(error, problem), at: clock.now())
            return TroubleCapture(witness.exchange, client: asking).trouble(
                error, stage: .token, subject: "", connection: facts.connection, at: clock.now())
        } catch let error as TransportError {
            if error.reason != .blocked && error.reason != .cancelled {
                await tokenEndpoints.ended(endpoint, .failed(ProviderProblem.of(error, what: "the token endpoint")), at: clock.now())
            }
            return TroubleCapture(witness.exchange, client: asking).trouble(
                error, stage: .token, subject: "", connection: facts.connection, at: clock.now())
        } catch {
            // The request cannot be made: the settings' check says why.
            return Trouble(
                stage: .token, failure: .unreachable, at: clock.now(), revision: facts.connection.revision, reason: "the request cannot be made")
        }
    }

    /// The provider accepts the client: what it said of it before is over, and it may be asked again.
    private func lift(_ connection: Connection, _ facts: Facts) async {
        let overcome = ["client", "client_authentication", "client_secret_expired", "not_found", "redirect", "html"]
        do {
            let stages = try await store.troubles(connection: connection.uid).filter { overcome.contains(Doctor.explain($0, facts).id) }.map(\.stage)
            if !stages.isEmpty { try await store.deleteTroubles(connection: connection.uid, stages: stages) }
        } catch {
            logFailure(.warning, "what went wrong before was not cleared", error, ["connection": "\(connection.id)"])
        }
        let reasons = [
            "invalid_client", "unauthorized_client", "incorrect_client_credentials", "status_401", "status_403", "status_404", "status_405",
            "status_410",
        ]
        let isRedirect = connection.health.reason?.hasPrefix("status_3") ?? false
        guard connection.health.state == .misconfigured, isRedirect || reasons.contains(connection.health.reason ?? "") else { return }
        await setHealth(.ok, reason: nil, of: connection)
    }
}
