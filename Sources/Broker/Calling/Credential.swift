import CoreMetrics
package import OAuth
package import Vault

/// A grant's token as its connection's requests carry it. Made once per token and kept beside it.
package final class Credential: Sendable {
    package let destination: Destination
    package let grantUID: UID
    package let generation: Int
    /// The connection's base URL with this grant's values.
    package let base: EndpointURL
    /// Its `Host`: made once, as each request bears it.
    package let authority: String
    /// The rules' header fields with the token in place, and the connection's own.
    package let fields: [(name: String, value: String)]
    /// What each of its requests bears, as HTTP/1.1 writes it: what stands between the target and the caller's fields, and the end of
    /// the head, the lines of `fields` in it.
    package let hostLine: [UInt8]
    package let lastLines: [UInt8]
    /// The path of `base` as it stands before a caller's path: without slashes at its end.
    package let pathBefore: [UInt8]
    /// The rules' query parameters, encoded: `access_token=…`; `nil` = there is none.
    package let query: String?
    /// Of its calls, as they are recorded.
    package let target: APICall.Target
    private let token: AccessToken
    private let injected: [Secret<SecretKind.AccessToken>]

    /// - Throws: `misconfigured`: no rule, or one that cannot be filled.
    init(_ destination: Destination, token: IssuedToken) throws(Problem) {
        try destination.requireUsable()
        let settings = destination.connection.settings
        self.destination = destination
        grantUID = token.grantUID
        generation = token.generation
        base = try destination.base(captured: token.captured)
        authority = base.authority
        target = APICall.Target(destination.connection, grant: token.grantUID, host: authority)
        self.token = token.accessToken
        let filled: [Instructions.Filled]
        do {
            let instructions = try destination.instructions.get()
            filled = try token.accessToken.withExposed { text in
                try instructions.filled(token: text, tokenType: token.tokenType, clientID: settings.oauth.clientID, captured: token.captured)
            }
        } catch let error as InstructionsError {
            throw destination.connection.misconfigured(error)
        } catch {
            throw Problem(.internal, "the token could not be put into the request")
        }
        let fixed = settings.headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        let rules = filled.filter { $0.place == .header }.map { (name: $0.name, value: $0.value) }
        for field in fixed + rules where !Self.isFieldValue(field.value) {
            throw destination.connection.misconfigured(
                "would send a character in \(field.name) that no header can carry", fix: "correct the field, or connect again")
        }
        fields = fixed + rules
        hostLine = Array(" HTTP/1.1\r\nHost: \(authority)\r\n".utf8)
        lastLines = fields.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) } + Array("\r\n".utf8)
        pathBefore = Array(base.path.utf8.prefix(base.path.utf8.reversed().drop { $0 == UInt8(ascii: "/") }.count))
        let parameters = filled.filter { $0.place == .query }.map { $0.name + "=" + $0.value }
        query = parameters.isEmpty ? nil : parameters.joined(separator: "&")
        injected = filled.map { Secret($0.value) }
    }

    /// What it puts into a request, for people: as ``fields`` and ``query``, with a mask in the place of the token.
    package var shown: (fields: [(name: String, value: String)], query: String?) {
        let settings = destination.connection.settings
        let fixed = settings.headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        // Nothing is shown of instructions that do not compile; no credential is made of them.
        guard let instructions = try? destination.instructions.get() else { return (fixed, nil) }
        let rules = zip(instructions.rules, instructions.templates).map { rule, template in
            (place: rule.place, name: rule.name, value: RequestPreview.value(of: template, in: rule.place, clientID: settings.oauth.clientID))
        }
        let parameters = rules.filter { $0.place == .query }.map { $0.name + "=" + $0.value }
        return (
            fixed + rules.filter { $0.place == .header }.map { (name: $0.name, value: $0.value) },
            parameters.isEmpty ? nil : parameters.joined(separator: "&")
        )
    }

    /// No control character but tab. The last look before the wire; SEC-79.
    private static func isFieldValue(_ text: String) -> Bool { !text.utf8.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F } }

    /// What may not come back to an agent: the token, and each value that it stands in.
    package func withSecrets<R>(_ body: ([String]) throws -> R) rethrows -> R {
        try token.withExposed { text in
            var secrets = [text]
            for value in injected { value.withExposed { secrets.append($0) } }
            return try body(secrets)
        }
    }
}

extension Broker {
    /// A credential, its token renewed first where that is due.
    /// - Parameter refused: the generation of the token that the API did not take: it is renewed unless somebody did so already.
    /// - Throws: `not_connected`, `reauthorization_required`, `misconfigured`, …
    package func credential(_ destination: Destination, subject: String, refused: Int? = nil, for caller: Caller) async throws(Problem) -> Credential {
        try require(subject, for: caller, of: destination.connection)
        try destination.requireUsable()
        guard isRecording else {
            throw Problem(.unavailable, "uses cannot be recorded now, so no request is sent; nothing was lost", retryAfter: 1)
        }
        let issued = try await obtain(destination.connection, query: TokenQuery(subject: subject, afterGeneration: refused))
        meters.issued(connection: destination.connection.id, source: issued.refreshed ? "refresh" : "vault").increment()
        return try Credential(destination, token: issued)
    }

    /// Of what an agent asks for. SEC-137.
    package func fingerprint(_ method: String, _ path: Substring, query: Substring?, body: [UInt8]?) -> String? {
        fingerprint(of: Array(method.utf8) + [0x20] + Array(path.utf8) + [UInt8(ascii: "?")] + Array((query ?? "").utf8) + (body ?? []))
    }

    /// Notes a request that did not go out.
    /// - Parameters:
    ///   - path: as it was asked for, behind the connection's id and before the query.
    ///   - arguments: ``fingerprint(_:_:query:body:)``.
    package func record(
        refused problem: Problem, _ method: String, path: Substring, arguments: String?, of destination: Destination, subject: String,
        by caller: Caller, id: String
    ) {
        let connection = destination.connection
        record(
            APICall(
                key: caller.key.id, target: APICall.Target(connection, grant: nil, host: ""), subject: subject, method: method, path: String(path), status: nil,
                result: problem.code.rawValue, requestID: id, policyRevision: arguments == nil ? nil : connection.revision, arguments: arguments),
            at: now)
        destination.meter.count(status: problem.code.status, nanoseconds: 0)
    }

    /// Notes that a base URL leads where outbound requests may not go.
    package func noteBlocked(host: String, of destination: Destination, by caller: Caller) {
        note("egress.blocked", connection: destination.connection, caller: caller, result: Problem.Code.egressBlocked.rawValue, detail: host)
    }

    /// Whether the caller may ask this connection for this subject at all.
    package func admit(_ caller: Caller, to destination: Destination, subject: String) throws(Problem) {
        guard caller.covers(connection: destination.connection.uid) else { throw Self.notCovered(destination.connection.id) }
        try caller.require(subject: subject)
    }
}
