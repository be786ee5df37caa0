import OAuth
import Vault

/// Where the browser comes back, and whether it did.
extension Doctor {
    static func callbackURL(_ facts: Facts) -> Check? {
        guard facts.isCode else { return nil }
        let values = [Check.Value(label: "Callback URL", text: facts.callbackURL)]
        let place = facts.provider.map { " At \($0.name): \($0.callback)." } ?? ""
        guard let url = try? EndpointURL(facts.callbackURL) else {
            return Check(
                "callback_url", .bad, "The Callback URL is not usable", "\(facts.callbackURL) is not a URL.",
                fix: "Edit redirect_uri, or leave it empty.", values: values)
        }
        if url.isLoopback, let provider = facts.authorizationURL, !provider.isLoopback {
            return Check(
                "callback_url", .warn, "The Callback URL is reached from this machine only",
                "It names \(url.host): \(facts.providerName) sends the browser there, which finds this server on this machine and on no other. Some "
                    + "providers do not register such a URL.",
                fix: "For anybody else to connect, start the server with --public-url and its https URL, and register the new Callback URL.",
                values: values)
        }
        if url.scheme == .http, !url.isLoopback {
            return Check(
                "callback_url", .bad, "The Callback URL is plain http", "Codes would travel in the open, and most providers refuse it.",
                fix: "Put https in front of this server, and start it with that --public-url.", values: values)
        }
        if facts.oauth.redirectURI != nil, url.origin != (try? EndpointURL(facts.publicURL))?.origin {
            return Check(
                "callback_url", .ok, "Callback URL",
                "It is one of your own, on \(url.host). The application there must forward the browser with the whole query to this server's "
                    + "callback.",
                values: values)
        }
        return Check("callback_url", .ok, "Callback URL", "This is what must be registered at the provider, byte for byte." + place, values: values)
    }

    static func trip(_ trip: LastTrip, _ state: ConnectSession.State, _ facts: Facts) -> Check? {
        guard facts.isCode, !trip.cameBack, state == .open, facts.now > trip.startedAt + .seconds(60) else { return nil }
        let minutes = max((facts.now.seconds - trip.startedAt.seconds) / 60, 1)
        return Check(
            "no_return", .warn, "A browser left and did not come back",
            "\(minutes == 1 ? "A minute" : "\(minutes) minutes") ago somebody was sent to \(facts.providerName) and has not returned. Providers "
                + "show some mistakes to the person alone: a Callback URL that is not registered, a Client ID that they do not know, an app that is "
                + "not published.",
            fix:
                "If the provider showed an error page, check the Callback URL at the provider, then the Client ID. \"Check now\" looks at that page "
                + "in your place.",
            values: [.init(label: "Callback URL", text: facts.callbackURL)])
    }
}
