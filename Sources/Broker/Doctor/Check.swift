package import OAuth
package import Vault

/// One thing that the doctor looked at.
package struct Check: Sendable, Hashable {
    package enum State: String, Sendable, Hashable, CaseIterable {
        /// Nothing works until it is mended.
        case bad
        /// Something does not work, or will not for long.
        case warn
        /// Could not be told, or is not known since the last change.
        case unknown
        case ok

        /// In the order in which they are shown.
        var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }

    /// What was sent and what came back, as text to be read.
    package struct Evidence: Sendable, Hashable {
        package var sent: String
        package var received: String
        package var at: Timestamp?
        package init(sent: String, received: String, at: Timestamp? = nil) {
            self.sent = sent
            self.received = received
            self.at = at
        }
    }

    /// Something to be copied as it is, byte for byte.
    package struct Value: Sendable, Hashable {
        package let label: String
        package let text: String
    }

    /// A page of a provider, from our own data only.
    package struct Link: Sendable, Hashable {
        package let title: String
        package let url: String
    }

    /// Names the cause: `redirect_uri`, `client_secret_expired`, …
    package var id: String
    package var state: State
    package var title: String
    /// What it means, in plain words.
    package var detail: String
    /// What to do; `nil` when there is nothing to do.
    package var fix: String?
    package var values: [Value]
    package var link: Link?
    package var evidence: Evidence?
    /// What *Apply* writes: a merge patch of the connection. RFC 7396.
    package var apply: JSONObject?

    init(
        _ id: String, _ state: State, _ title: String, _ detail: String, fix: String? = nil, values: [Value] = [], link: Link? = nil,
        evidence: Evidence? = nil, apply: JSONObject? = nil
    ) {
        self.id = id
        self.state = state
        self.title = title
        self.detail = detail
        self.fix = fix
        self.values = values
        self.link = link
        self.evidence = evidence
        self.apply = apply
    }

    /// Nothing is wrong as far as anybody can tell.
    package var isOK: Bool { state == .ok || state == .unknown }
}

/// What the doctor found, at one revision of a connection.
package struct Diagnosis: Sendable {
    package var connection: Connection
    package var at: Timestamp
    /// Whether the provider was asked how it wants the client authenticated.
    package var isProbed: Bool
    /// Whether the network was tried.
    package var isLive: Bool
    /// What is wrong first.
    package var checks: [Check]
    /// Those of them that somebody was asked for.
    var live: [Check]
    package var isOK: Bool { checks.allSatisfy(\.isOK) }
}
