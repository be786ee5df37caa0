import OAuth
package import Vault

/// What an AI is told of a connection, whole: it can be given as it is. Holds no secret.
package struct AgentPrompt {
    private let connection: Connection
    private let instructions: Instructions
    private let publicURL: String
    private let subject: String
    private let base: ShownBase

    /// - Parameters:
    ///   - publicURL: without a slash at its end.
    ///   - subject: `""` = whoever the reader calls for.
    package init(_ connection: Connection, _ instructions: Instructions, publicURL: String, subject: String = "") {
        self.connection = connection
        self.instructions = instructions
        self.publicURL = publicURL
        self.subject = subject
        base = ShownBase(connection.settings)
    }

    package var text: String {
        [opening, gateway, mcp, token, guidance, limits, problems].filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
    }

    private var id: String { connection.id }
    private var settings: ConnectionSettings { connection.settings }
    /// Grants for subjects, not the shared one alone.
    private var hasSubjects: Bool { !connection.fetchesAlone }

    private var opening: String {
        """
        # How to call \(settings.name)

        \(settings.name) is an HTTP API that you call through Grantee. Grantee keeps the access tokens of this API and puts the right one into \
        each request, so you need none: never ask anybody for a token, a password or a client secret of this API, and never invent one.

        - Connection: \(id)
        - Base URL of the API: \(settings.baseURL == nil ? "none is set yet, so it cannot be called through Grantee" : base.url)
        """
    }

    // MARK: Ways

    private var gateway: String {
        """
        ## Through the gateway, with any HTTP client

        \(obstacle)Send the request that the API documents, but to \(publicURL)/gateway/\(id)/PATH instead of \(base.url)/PATH. Method, query, \
        header fields and body stay as they are.

            GET \(publicURL)/gateway/\(id)/PATH
            Authorization: Bearer GRANTEE_API_KEY\(hasSubjects ? "\n    Grantee-Subject: \(subject.isEmpty ? "SUBJECT" : subject)" : "")

        GRANTEE_API_KEY is the key that you were given for Grantee. \(subjectRule) The answer is the API's own, its redirects included. An answer \
        with the header Grantee-Problem is from Grantee itself.
        """
    }

    /// What keeps every call from being sent.
    private var obstacle: String {
        let missing = [
            settings.baseURL == nil ? "no base_url" : nil,
            instructions.rules.isEmpty ? "no line in its Authentication Instructions that puts the token into a request" : nil,
        ].compactMap(\.self)
        guard !missing.isEmpty else { return "" }
        return """
            Not yet: the connection has \(missing.joined(separator: ", and ")), so every call is refused as misconfigured until an admin sets it.


            """
    }

    private var subjectRule: String {
        guard hasSubjects else { return "This connection has one account for everybody: do not send Grantee-Subject." }
        guard subject.isEmpty else { return "Grantee-Subject says whose account the call is for." }
        return """
            Grantee-Subject says whose account the call is for: the id that the app knows its user by. Leave it out for the account that the \
            whole app shares.
            """
    }

    private var mcp: String {
        let whose = hasSubjects ? #", "subject": "\#(subject.isEmpty ? "SUBJECT" : subject)""# : ""
        return """
            ## Through MCP

            The MCP server is at \(publicURL)/mcp, with the same key. Its tool call_api makes the same call:

                call_api {"connection": "\(id)", "method": "GET", "path": "/PATH"\(whose)}
            """
    }

    private var token: String {
        let query = hasSubjects ? "?subject=" + (subject.isEmpty ? "SUBJECT" : Form.percentEncode(subject)) : ""
        guard !instructions.rules.isEmpty else {
            return """
                ## With a token of your own

                The Authentication Instructions of this connection have no line that says how a request carries the token: see what its builder \
                says, or the API's documentation.
                """
        }
        let carriers = instructions.rules.map { $0.place == .header ? "    \($0.name): \($0.template)" : "    ?\($0.name)=\($0.template)" }
        return """
            ## With a token of your own

            Only for a program that has got a token from GET \(publicURL)/v1/connections/\(id)/token\(query); an agent's key gets none. Each \
            request to \(base.url) then carries:

            \(carriers.joined(separator: "\n"))

            \(placeholders)Send the token to that host only, and keep it out of logs and answers.
            """
    }

    /// What stands for the placeholders that the rules hold.
    private var placeholders: String {
        var names: [InstructionTemplate.Placeholder] = []
        for template in instructions.templates {
            for case .value(let placeholder) in template.parts where !names.contains(placeholder) { names.append(placeholder) }
        }
        let sentences = names.map { placeholder in
            switch placeholder {
            case .token: "<token> is access_token of that answer."
            case .tokenType: "<token_type> is its token_type, with bearer spelled Bearer."
            case .clientID: "<client_id> is \(settings.oauth.clientID ?? "the connection's client id")."
            case .captured(let name): "<\(name)> is a value of the grant, which that answer does not hold: use the gateway."
            }
        }
        let hasQuery = instructions.rules.contains { $0.place == .query }
        return (sentences + (hasQuery ? ["Values in the query are percent-encoded."] : [])).map { $0 + " " }.joined()
    }

    private var guidance: String {
        var parts: [String] = []
        if !instructions.guidance.isEmpty { parts.append(instructions.guidance) }
        if !settings.headers.isEmpty {
            let names = settings.headers.keys.sorted().joined(separator: ", ")
            parts.append("Grantee adds these header fields by itself, so leave them out of calls through it: \(names).")
        }
        return parts.isEmpty ? "" : "## What the builder of this connection says\n\n" + parts.joined(separator: "\n\n")
    }

    // MARK: Limits

    private var limits: String {
        let access = settings.agentAccess
        let title = "## What an agent may do\n\n"
        guard access.enabled else {
            return title + """
                Agents are not admitted to this connection yet: with an agent's key and through MCP every call is refused. An admin admits them by \
                agent_access of the connection (PATCH \(publicURL)/v1/connections/\(id)).
                """
        }
        func list(_ values: [String]) -> String { values.isEmpty ? "none" : values.joined(separator: ", ") }
        return title + """
            With an agent's key and through MCP, these calls and no others:

            - Methods: \(list(access.methods))
            - Paths, behind the base URL: \(list(access.paths)) (* stands for a part of one segment, ** for any rest)
            - Header fields besides the usual ones, such as Accept and Content-Type: \(list(access.headers))

            Where the API sends a token back, it is masked in what you get.
            """
    }

    // MARK: Problems

    private var returnPlace: String {
        let origins = settings.returnOrigins.joined(separator: " or ")
        return origins.isEmpty ? ", of which this connection allows none yet: an admin sets return_origins" : " below \(origins)"
    }

    private var problems: String {
        let link =
            hasSubjects
            ? """
            An agent gets a link with the MCP tool connect, which needs the subject and a return_url\(returnPlace); a program whose key has the role \
            use gets one with POST \(publicURL)/v1/connections/\(id)/connect. Give it to the person whose account it is, and repeat the call when \
            they have opened it and are done.
            """
            : "Tell whoever runs this connection: its own credentials have to be set right."
        return """
            ## When a call is refused

            Problems of Grantee are JSON (application/problem+json): code says which one, detail why, fix what to do.

            - not_connected: nobody has given access yet, or it was taken back. \(link)
            - reauthorization_required: the access that was given does not work any more. The same is to be done as for not_connected.
            - forbidden: the key, or agent_access, does not allow this. detail names the rule. Do not look for a way around it: tell the person what \
            you wanted to do, and what would have to be allowed.
            - rate_limited: too many calls. Wait as many seconds as Retry-After says before the next one, and make fewer.
            - misconfigured, egress_blocked: an admin has to correct the connection. Tell them detail and fix; repeating helps nothing.
            - provider_error, provider_unreachable, unavailable: something did not answer. Try again later, a few times at most.

            An error without the header Grantee-Problem is the API's own: read its documentation.
            """
    }
}
