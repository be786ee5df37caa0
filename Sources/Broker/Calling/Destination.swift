import OAuth
package import Vault

/// Where a connection's API is, and how a request to it is made: compiled once for each revision of the connection.
package final class Destination: Sendable {
    package let connection: Connection
    package let policy: AgentPolicy
    package let meter: CallMeter
    /// The header fields that the connection sets itself, names normalised by ``FieldName/normal(_:)``.
    package let ownFields: Set<String>
    /// Those among them that callers could send: the others are dropped whoever sends them.
    package let ownNames: [FieldName]
    /// The query parameters that its rules set, in lower case.
    package let ownParameters: [String]
    let instructions: Result<Instructions, InstructionsError>
    private let base: Base

    private enum Base {
        case fixed(EndpointURL)
        /// Holds values that the provider sent with the grant.
        case captured(String)
        case missing
        case wrong(String)
    }

    init(_ connection: Connection) {
        let settings = connection.settings
        self.connection = connection
        policy = AgentPolicy(settings.agentAccess, connection: connection.id)
        meter = CallMeter(connection: connection.id)
        do {
            instructions = .success(try Instructions(settings.authenticationInstructions))
        } catch {
            instructions = .failure(error)
        }
        let rules = (try? instructions.get())?.rules ?? []
        ownFields = Set((rules.filter { $0.place == .header }.map(\.name) + settings.headers.keys).map(FieldName.normal))
        ownNames = ownFields.map { FieldName($0) }.filter { !FieldRules.request($0).isDropped }
        ownParameters = rules.filter { $0.place == .query }.map { $0.name.lowercased() }
        base = Self.base(settings)
    }

    private static func base(_ settings: ConnectionSettings) -> Base {
        guard let text = settings.baseURL else { return .missing }
        let names = URLTemplate(text).names ?? []
        if names.contains(where: { $0.hasPrefix("token_response.") || $0.hasPrefix("callback.") }) { return .captured(text) }
        do {
            return try settings.endpoint(text, "base_url").map(Base.fixed) ?? .missing
        } catch {
            return .wrong(error.reason)
        }
    }

    /// - Parameter captured: the grant's values.
    /// - Throws: `misconfigured` when there is no usable URL.
    func base(captured: [String: String]) throws(Problem) -> EndpointURL {
        switch base {
        case .fixed(let url): return url
        case .missing: throw connection.misconfigured("has no base_url, so nothing says where its API is", fix: "set base_url")
        case .wrong(let reason): throw connection.misconfigured("has a base_url that cannot be used: it \(reason)", fix: "correct base_url")
        case .captured(let template):
            let values = connection.settings.effectiveVariables.merging(captured) { _, captured in captured }
            guard let filled = URLTemplate(template).filled(with: values) else {
                throw connection.misconfigured("has a base_url that needs a value which the provider did not send", fix: "connect again, or correct base_url")
            }
            do {
                return try EndpointURL(filled)
            } catch {
                throw connection.misconfigured("has a base_url that is none with what the provider sent: it \(error.description)", fix: "correct base_url")
            }
        }
    }

    /// What can be said before there is a token.
    /// - Throws: `misconfigured`: no base URL, or no rule.
    func requireUsable() throws(Problem) {
        if case .captured = base {} else { _ = try base(captured: [:]) }
        switch instructions {
        case .failure(let error): throw connection.misconfigured(error)
        case .success(let instructions) where instructions.rules.isEmpty:
            throw connection.misconfigured(
                "has no line in its Authentication Instructions that puts the token into a request",
                fix: "add one to authentication_instructions, such as Authorization: Bearer <token>")
        case .success: break
        }
    }
}

/// What keeps a connection's API from being called; its provider is not to blame.
extension Connection {
    func misconfigured(_ error: InstructionsError) -> Problem {
        misconfigured(
            "has Authentication Instructions that cannot be applied: \(error.lines.map(\.text).joined(separator: "; "))",
            fix: "correct authentication_instructions")
    }

    func misconfigured(_ detail: String, fix: String) -> Problem {
        Problem(.misconfigured, "the connection \(id) \(detail)", fix: "\(fix): PATCH /v1/connections/\(id)")
    }
}

extension Broker {
    /// From memory; `nil` when the store has to be asked.
    package func knownDestination(_ id: String) -> Destination? { isCoherent ? connectionCache.destination(id) : nil }

    /// - Throws: `not_found`.
    package func destination(_ id: String) async throws(Problem) -> Destination {
        guard let destination = try await findDestination(id) else { throw Self.noConnection(id) }
        return destination
    }
}
