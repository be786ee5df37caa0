/// How a connection stands, for a list of many.
package struct ConnectionSummary: Sendable, Hashable {
    package var grants = GrantCounts()
    /// The last step at the provider that failed and did not succeed since.
    package var trouble: Trouble?

    package init(grants: GrantCounts = GrantCounts(), trouble: Trouble? = nil) {
        self.grants = grants
        self.trouble = trouble
    }
}

/// Grants by what they are good for.
package struct GrantCounts: Sendable, Hashable {
    package var active: Int
    /// The access token has ended; the next use renews it.
    package var expired: Int
    /// The access token has ended, and nothing can renew it.
    package var ended: Int
    package var reauthorizationRequired: Int
    package var revoked: Int

    package init(active: Int = 0, expired: Int = 0, ended: Int = 0, reauthorizationRequired: Int = 0, revoked: Int = 0) {
        self.active = active
        self.expired = expired
        self.ended = ended
        self.reauthorizationRequired = reauthorizationRequired
        self.revoked = revoked
    }

    package var usable: Int { active + expired }
    /// Those that only their person can mend.
    package var waiting: Int { ended + reauthorizationRequired }
    package var total: Int { usable + waiting + revoked }
}
