import HTTPTypes
import OAuth

/// `grants revoke --all`: asks the server to stop, then watches what becomes of the tokens at the providers.
struct ManyGrants {
    let connection: String?
    let subject: String?
    let key: String?

    /// How long the providers are watched; the server goes on without anybody watching.
    private static let patience = Duration.seconds(30)

    var question: String {
        var parts: [String] = []
        if let connection { parts.append("of the connection \(connection)") }
        if let subject { parts.append(subject == "-" ? "that are shared" : "of the subject \(subject)") }
        if let key { parts.append("whose tokens the API key \(key) was given, and remove the key") }
        return parts.isEmpty ? "Revoke every grant of this server?" : "Revoke all grants \(parts.joined(separator: ", "))?"
    }

    /// - Returns: the revocation when no provider is to be asked any more, or patience ends.
    func revoke(_ client: APIClient) async throws -> JSONValue {
        var body = JSONObject()
        for (name, value) in [("connection", connection), ("subject", subject), ("key", key)] { body[name] = value.map(JSONValue.string) }
        var revocation = try await client.send(.post, "/v1/revocations", body: .object(body))
        guard let id = revocation["id"]?.string else { throw Failure("the server's answer has no id", hint: "check GRANTEE_URL") }
        let begun = ContinuousClock.now
        var bar = ProgressBar("Revoking at the providers", total: Self.count("grants", of: revocation))
        while true {
            let pending = Self.count("pending", of: revocation["provider"])
            bar.show(Self.count("grants", of: revocation) - pending)
            guard pending > 0, ContinuousClock.now - begun < Self.patience else { break }
            // A key that removed itself cannot ask again.
            guard key == nil || key != revocation["requested_by"]?.string else { break }
            try await Task.sleep(for: .milliseconds(250))
            revocation = try await client.send(.get, APIClient.path("revocations", id))
        }
        bar.finish()
        return revocation
    }

    private static func count(_ name: String, of value: JSONValue?) -> Int { value?[name]?.integer ?? 0 }

    static func print(_ revocation: JSONValue) {
        var sheet = Sheet()
        sheet.add("grants", "\(count("grants", of: revocation)), not given out any more")
        sheet.add("API key", revocation["key"]?.string.map { "\($0), removed" })
        for (name, words) in [
            ("revoked", "at the provider too"), ("unsupported", "the provider has no way to revoke: the tokens live until they expire"),
            ("pending", "the provider is still asked"), ("failed", "the tokens may live until they expire"),
        ] {
            let count = count(name, of: revocation["provider"])
            sheet.add(name, count > 0 ? "\(count), \(words)" : nil)
        }
        sheet.print()
        if count("pending", of: revocation["provider"]) > 0, let id = revocation["id"]?.string {
            Terminal.say("The server goes on. How far it is: GET /v1/revocations/\(id)")
        }
    }

    /// `nil` when the providers refused nothing.
    static func failure(of revocation: JSONValue) -> Failure? {
        let failed = count("failed", of: revocation["provider"])
        guard failed > 0 else { return nil }
        let named = (revocation["failures"]?.array ?? []).map { failure in
            let whose = failure["subject"]?.string.map { "grant of \($0)" } ?? "shared grant"
            return "\(failure["connection"]?.shown ?? ""), \(whose): \(words(for: failure["reason"]?.string))"
        }
        let rest = failed > named.count ? ["and \(failed - named.count) more"] : []
        return Failure(
            "\(failed) of \(count("grants", of: revocation)) grants were not revoked at their provider", details: named + rest,
            hint: "end them at the provider: its list of connected apps, or its support")
    }

    private static func words(for reason: String?) -> String {
        switch reason {
        case "refused": "the provider refused"
        case "gave_up": "the provider did not answer for a day"
        case "unreadable": "the stored token does not open"
        case "connection_removed": "the connection was removed before the provider was asked"
        default: reason ?? "unknown"
        }
    }
}
