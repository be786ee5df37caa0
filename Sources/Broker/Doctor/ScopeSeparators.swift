import OAuth

/// Providers that separate scopes by something else than a space.
enum ScopeSeparators {
    private static let comma = [
        "facebook.com", "slack.com", "strava.com", "linear.app", "tiktok.com", "instagram.com", "myshopify.com", "todoist.com", "figma.com",
        "wrike.com",
    ]

    /// `nil` = not known.
    static func of(_ facts: Facts) -> String? {
        guard let host = facts.authorizationURL?.host ?? facts.tokenURL?.host else { return nil }
        return KnownProvider.matches(host, comma) ? "," : nil
    }

    static let names = [" ": "a space", ",": "a comma", ";": "a semicolon", "|": "a bar", ":": "a colon", "+": "a plus"]
}
