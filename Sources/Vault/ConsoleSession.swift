/// Somebody signed in at the console, with the rights of an API key of role `admin`.
package struct ConsoleSession: Sendable, Hashable {
    /// `ses_…`: names it where sessions are listed; opens nothing.
    package var id: String
    /// SHA-256 of the token in the browser's cookie.
    package var tokenHash: [UInt8]
    /// Whose rights it has; it ends with the key.
    package var keyID: String
    package var createdAt: Timestamp
    /// To the minute.
    package var lastSeenAt: Timestamp
    /// Whatever is done in it.
    package var expiresAt: Timestamp
    /// Of the request that signed in, cut: for who looks for a session that is not theirs.
    package var userAgent: String
    package var address: String
    package init(
        id: String, tokenHash: [UInt8], keyID: String, createdAt: Timestamp, lastSeenAt: Timestamp, expiresAt: Timestamp, userAgent: String, address: String
    ) {
        self.id = id
        self.tokenHash = tokenHash
        self.keyID = keyID
        self.createdAt = createdAt
        self.lastSeenAt = lastSeenAt
        self.expiresAt = expiresAt
        self.userAgent = userAgent
        self.address = address
    }
}

/// A one-time link that signs in at the console: SEC-98.
package struct SignInLink: Sendable, Hashable {
    /// SHA-256 of the code in the link.
    package var codeHash: [UInt8]
    package var keyID: String
    package var expiresAt: Timestamp
    package init(codeHash: [UInt8], keyID: String, expiresAt: Timestamp) {
        self.codeHash = codeHash
        self.keyID = keyID
        self.expiresAt = expiresAt
    }
}
