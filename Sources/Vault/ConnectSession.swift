/// One effort to connect a person's account (`cs_…`): a connect ticket and its outcome. Open until its first success.
package struct ConnectSession: Sendable {
    package enum State: String, Sendable, Codable { case open, pending, connected, failed, expired }
    /// `cs_` and 22 base64url characters.
    package var id: String
    /// SHA-256 of the ticket in the link.
    package var ticketHash: [UInt8]
    package var connectionUID: UID
    package var subject: String
    package var options: Options
    package var state: State
    /// A callback failure's code (`access_denied`, `browser_mismatch`, …).
    package var error: String?
    /// What the result page says besides; already fit to show.
    package var errorDetail: String?
    package var grantUID: UID?
    /// Name of the API key that made the link: shown to the person.
    package var appName: String
    package var keyID: String
    package var createdAt: Timestamp
    package var expiresAt: Timestamp

    package struct Options: Sendable, Hashable, Codable {
        package var returnURL: String?
        package var scopes: [String]?
        package var loginHint: String?
        package var completion: Completion
        package var expectedAccount: String?
        package var allowAccountChange: Bool
        /// Somebody signed in at the console has to confirm it: whoever else gets the link goes nowhere.
        package var confirmation: Confirmation?
        package enum Confirmation: Sendable, Hashable, Codable {
            case needed
            /// By a person with this key's rights, for the browser whose binding cookie has this SHA-256.
            case given(keyID: String, bindingHash: [UInt8])
        }
        package enum Completion: String, Sendable, Codable { case browser, application }
        package init(
            returnURL: String? = nil, scopes: [String]? = nil, loginHint: String? = nil, completion: Completion = .browser,
            expectedAccount: String? = nil, allowAccountChange: Bool = false, confirmation: Confirmation? = nil
        ) {
            self.returnURL = returnURL
            self.scopes = scopes
            self.loginHint = loginHint
            self.completion = completion
            self.expectedAccount = expectedAccount
            self.allowAccountChange = allowAccountChange
            self.confirmation = confirmation
        }
    }

    package init(
        id: String, ticketHash: [UInt8], connectionUID: UID, subject: String, options: Options, state: State = .open, error: String? = nil,
        errorDetail: String? = nil, grantUID: UID? = nil, appName: String, keyID: String, createdAt: Timestamp, expiresAt: Timestamp
    ) {
        self.id = id
        self.ticketHash = ticketHash
        self.connectionUID = connectionUID
        self.subject = subject
        self.options = options
        self.state = state
        self.error = error
        self.errorDetail = errorDetail
        self.grantUID = grantUID
        self.appName = appName
        self.keyID = keyID
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }
}

/// One trip of a browser to the provider: keyed by the hash of its `state`, consumed once.
package struct AuthorizationAttempt: Sendable {
    package var stateHash: [UInt8]
    package var sessionID: String
    package var connectionUID: UID
    /// The connection's revision when the trip began: another one at the callback means that its settings moved.
    package var connectionRevision: Int
    /// SHA-256 of the binding cookie's value.
    package var bindingHash: [UInt8]
    /// The sealed `PendingAuthorization` (verifier and nonce in it).
    package var pending: Sealed
    package var createdAt: Timestamp
    package var expiresAt: Timestamp
    package init(
        stateHash: [UInt8], sessionID: String, connectionUID: UID, connectionRevision: Int, bindingHash: [UInt8], pending: Sealed,
        createdAt: Timestamp, expiresAt: Timestamp
    ) {
        self.stateHash = stateHash
        self.sessionID = sessionID
        self.connectionUID = connectionUID
        self.connectionRevision = connectionRevision
        self.bindingHash = bindingHash
        self.pending = pending
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }
}

/// A checked code that waits, sealed, for the application to say who is signed in.
package struct Completion: Sendable {
    package var sessionID: String
    package var connectionRevision: Int
    package var code: Sealed
    package var captured: [String: String]
    package var expiresAt: Timestamp
    package init(sessionID: String, connectionRevision: Int, code: Sealed, captured: [String: String], expiresAt: Timestamp) {
        self.sessionID = sessionID
        self.connectionRevision = connectionRevision
        self.code = code
        self.captured = captured
        self.expiresAt = expiresAt
    }
}
