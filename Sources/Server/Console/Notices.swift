/// What a page says at its top after something was done: `?done=CODE`. Fixed words: nothing of a request is shown.
enum Notices {
    static let words: [String: [String: String]] = [
        "saved": ["kind": "good", "text": "Saved."],
        "connection-removed": ["kind": "good", "text": "The connection is removed, with its grants."],
        "created": [
            "kind": "good", "text": "The connection is made. Next: register its Callback URL at the provider, then press Connect to see it work.",
        ],
        "created-typed": [
            "kind": "good", "text": "The connection is made. Next: press Connect and type a user name and password to see it work.",
        ],
        "created-alone": ["kind": "good", "text": "The connection is made. Next: fetch a token to see it work."],
        "created-refused": ["kind": "warn", "text": "The connection is made, but it did not connect. Below is what was found."],
        "doctor-applied": ["kind": "good", "text": "Applied. Connect again, or fetch a token, to see whether it works."],
        "key-removed": ["kind": "good", "text": "The key is removed: the next request with it is refused."],
        "webhook-removed": ["kind": "good", "text": "The webhook is removed. What was on its way to it is not sent any more."],
        "replayed": ["kind": "good", "text": "Sent again: the table below shows how far they are."],
        "nothing-to-replay": ["kind": "info", "text": "Nothing has failed, so nothing is sent again."],
        "session-ended": ["kind": "good", "text": "The session is over."],
        "signed-out": ["kind": "good", "text": "You are signed out."],
        "connected": ["kind": "good", "text": "Connected."],
        "fetched": ["kind": "good", "text": "The provider gave a token. It is renewed by itself from now on."],
        "refreshed": ["kind": "good", "text": "Refreshed: the provider gave a new access token."],
        "disconnected-revoked": ["kind": "good", "text": "Disconnected. The tokens are gone here, and the provider has revoked them."],
        "disconnected-pending": [
            "kind": "warn",
            "text": "Disconnected. The tokens cannot be used here any more. The provider could not be reached to revoke them; it is asked again.",
        ],
        "disconnected-unsupported": [
            "kind": "warn",
            "text": "Disconnected. The tokens are gone here. The provider was not told, as it revokes none: end the access on its own page, too.",
        ],
        "disconnected-failed": [
            "kind": "warn",
            "text": "Disconnected. The tokens are gone here, but the provider refused to revoke them: end the access on its own page, too.",
        ],
    ]
}
