/// The last step at a provider that failed, as it went over the wire: what was sent, and what came back. For the doctor.
///
/// Holds no secret: whoever makes one has masked every value that is none of a reader's business.
package struct Trouble: Sendable, Hashable, Codable {
    /// Which step of getting tokens. A later success of the same step ends the trouble.
    package enum Stage: String, Sendable, Codable, CaseIterable {
        /// The browser came back without a code that counts.
        case authorization
        /// A code, a password or the client's own credentials were presented.
        case token
        case refresh
    }

    /// How it failed.
    package enum Failure: String, Sendable, Codable {
        /// The provider named an error, or its status says one.
        case refused
        /// An answer came that is no token response.
        case malformed
        /// A check of the ID token failed.
        case idToken = "id_token"
        /// The authorization response was turned down here.
        case callback
        // No whole answer came.
        case blocked, unreachable
        case timedOut = "timed_out"
        case broken
    }

    package struct Field: Sendable, Hashable, Codable {
        package var name: String
        package var value: String
        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package struct Request: Sendable, Hashable, Codable {
        package var method: String
        /// Without the values of its query that are secret.
        package var url: String
        package var headers: [Field]
        /// Of the body or the query, in their order.
        package var fields: [Field]
        package init(method: String, url: String, headers: [Field] = [], fields: [Field] = []) {
            self.method = method
            self.url = url
            self.headers = headers
            self.fields = fields
        }
    }

    package struct Response: Sendable, Hashable, Codable {
        package var status: Int
        package var contentType: String?
        /// Scheme and host that a redirect leads to.
        package var location: String?
        /// What the answer's `Date` says, in seconds since 1970.
        package var date: Int?
        /// Of a page: what it calls itself.
        package var pageTitle: String?
        /// Of the body, cut.
        package var body: String
        package init(
            status: Int, contentType: String? = nil, location: String? = nil, date: Int? = nil, pageTitle: String? = nil, body: String = ""
        ) {
            self.status = status
            self.contentType = contentType
            self.location = location
            self.date = date
            self.pageTitle = pageTitle
            self.body = body
        }
    }

    package var stage: Stage
    package var failure: Failure
    package var at: Timestamp
    /// Whose grant it was to be; `""` = the shared one.
    package var subject: String
    /// The connection's when it happened: what another revision sent says little about this one.
    package var revision: Int
    package var request: Request?
    package var response: Response?
    /// The provider's code as it spelled it.
    package var error: String?
    package var errorDescription: String?
    /// In words of our own: what is wrong with the answer, or why none came.
    package var reason: String?

    package init(
        stage: Stage, failure: Failure, at: Timestamp, subject: String = "", revision: Int, request: Request? = nil, response: Response? = nil,
        error: String? = nil, errorDescription: String? = nil, reason: String? = nil
    ) {
        self.stage = stage
        self.failure = failure
        self.at = at
        self.subject = subject
        self.revision = revision
        self.request = request
        self.response = response
        self.error = error
        self.errorDescription = errorDescription
        self.reason = reason
    }
}

/// The last trip of a browser to the provider, as the store knows it.
package struct LastTrip: Sendable, Hashable {
    package var sessionID: String
    package var startedAt: Timestamp
    /// Whether the browser came back from it.
    package var cameBack: Bool
    package init(sessionID: String, startedAt: Timestamp, cameBack: Bool) {
        self.sessionID = sessionID
        self.startedAt = startedAt
        self.cameBack = cameBack
    }
}
