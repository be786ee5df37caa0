import ArgumentParser
import Foundation
import HTTPTypes
import OAuth

struct Connections: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Set up External API connections.", subcommands: [List.self, Show.self, Add.self, Edit.self, Remove.self, Test.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List connections.")
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let items = try await server.client().list("/v1/connections")
            server.show(["items": .array(items)]) {
                var table = Table("ID", "NAME", "GRANT TYPE", "HEALTH", "TOKEN URL")
                for item in items {
                    let oauth = item["oauth"] ?? .null
                    table.add(
                        item["id"]?.shown ?? "", item["name"]?.shown ?? "", oauth["grant_type"]?.shown ?? "", item["health"]?["state"]?.shown ?? "",
                        oauth["token_url"]?.shown ?? "")
                }
                table.print(nothing: "There are no connections. `grantee connections add` makes one.")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one connection, what its instructions do, and the request that would be sent.",
            discussion: "With --prompt or --snippet: that alone, as it is, to be given to an AI or pasted into a program.")
        @Argument(help: "The connection's id.") var id: String
        @Flag(help: "Print a prompt that tells an AI how to call this API.") var prompt = false
        @Option(help: "Print a program that calls this API: curl, javascript, python or swift.") var snippet: String?
        @Option(name: .customLong("for"), help: "What the snippet uses: gateway, or token where the program shall hold one.") var use: SnippetUse = .gateway
        @Option(help: "Whose grant prompt and snippet are for; left out: the shared one.") var subject: String?
        @OptionGroup var server: ServerOptions

        enum SnippetUse: String, ExpressibleByArgument { case gateway, token }

        func validate() throws {
            if subject != nil, !prompt, snippet == nil { throw ValidationError("--subject goes with --prompt or --snippet.") }
            if prompt, snippet != nil { throw ValidationError("--prompt and --snippet do not go together.") }
        }

        func run() async throws {
            let api = try server.client()
            let instructions = APIClient.path("connections", id, "instructions")
            if prompt {
                let text = try await api.send(.get, instructions, query: [("subject", subject)])["prompt"] ?? .null
                return server.show(["prompt": text]) { Terminal.write(text.string ?? "") }
            }
            if let snippet {
                let snippets = try await api.send(.get, instructions, query: [("subject", subject)])["snippets"]?[use.rawValue]
                guard let text = snippets?[snippet]?.string else {
                    let names = snippets?.object?.members.map(\.name).joined(separator: ", ") ?? ""
                    throw Failure("there is no snippet for \(snippet)", hint: names.isEmpty ? nil : "there are \(names)", exitCode: Failure.usage)
                }
                return server.show(["snippet": .string(text)]) { Terminal.write(text) }
            }
            let connection = try await api.send(.get, APIClient.path("connections", id))
            if server.json { return Terminal.write(connection.pretty) }
            let sheet = try await Connections.sheet(of: id, api)
            Connections.print(connection)
            sheet.print()
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a connection.",
            discussion: """
                From a preset (`grantee presets`), an issuer whose metadata fills in the endpoints, the fields below, or a JSON document. The Client Secret and \
                a stored Password are never arguments: a file, GRANTEE_CLIENT_SECRET and GRANTEE_PASSWORD, or a prompt.

                  grantee connections add Google --preset google --client-id abc
                  grantee connections add Reports --grant-type client_credentials --token-url https://as.example/token --client-id abc
                """)
        @Argument(help: "The name that people see.") var name: String?
        @Option(help: "Its id in URLs: a-z, 0-9 and hyphens. Default: made from the name.") var id: String?
        @Option(help: "Start from this preset.") var preset: String?
        @Option(
            help: ArgumentHelp("A JSON document as the API takes it, - for standard input; the other options go over it.", valueName: "file"),
            completion: .file()) var from: String?
        @Flag(help: "Read the endpoints from the metadata of --issuer.") var discover = false
        @OptionGroup var fields: ConnectionFields
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let api = try server.client()
            var document = try from.map(Self.read) ?? JSONObject()
            if let name { document["name"] = .string(name) }
            if let id { document["id"] = .string(id) }
            if let preset { document["preset"] = .string(preset) }
            if discover {
                guard let issuer = fields.issuer ?? document["oauth"]?["issuer"]?.string else {
                    throw Failure("--discover needs --issuer", exitCode: Failure.usage)
                }
                let found = try await api.send(.post, "/v1/connections/discover", body: ["issuer": .string(issuer)])
                document = mergedDocument(document, ["oauth": .object(Self.endpoints(found, grantType: fields.grantType ?? "authorization_code"))])
            }
            document = mergedDocument(document, try fields.patch())
            var oauth = document["oauth"]?.object ?? JSONObject()
            if oauth["grant_type"] == nil { oauth["grant_type"] = "authorization_code" }
            if oauth["client_secret"] == nil, let secret = try SecretInput.clientSecret.given(file: fields.clientSecretFile) ?? askedSecret(oauth) {
                oauth["client_secret"] = .string(secret)
            }
            if oauth["username"] != nil, oauth["password"] == nil { oauth["password"] = .string(try SecretInput.password.required(file: fields.passwordFile)) }
            document["oauth"] = .object(oauth)
            let made = try await api.send(.post, "/v1/connections", body: .object(document))
            let id = made["id"]?.string ?? ""
            let sheet = document["authentication_instructions"] == nil ? nil : try await Connections.sheet(of: id, api)
            server.show(made) {
                Connections.print(made)
                sheet?.print()
                if oauth["grant_type"]?.string == "authorization_code" {
                    Terminal.say("\nRegister the callback URL at the provider, byte for byte. Then: grantee connect \(id)")
                } else if oauth["grant_type"]?.string == "password", oauth["username"] == nil {
                    Terminal.say("\nNext: grantee connect \(id)")
                } else {
                    Terminal.say("\nNext: grantee token \(id)")
                }
            }
        }

        /// Only where a secret is needed and somebody is there to ask.
        private func askedSecret(_ oauth: JSONObject) throws -> String? {
            guard oauth["grant_type"]?.string == "client_credentials", isatty(STDIN_FILENO) == 1 else { return nil }
            return try SecretInput.clientSecret.required(file: nil)
        }

        private static func endpoints(_ found: JSONValue, grantType: String) -> JSONObject {
            var oauth = JSONObject()
            for name in ["issuer", "token_url", "revocation_url"] + (grantType == "authorization_code" ? ["authorization_url"] : []) {
                if let value = found[name], !value.isNull { oauth[name] = value }
            }
            let methods = (found["client_authentication_supported"]?.array ?? []).compactMap(\.string)
            if !methods.isEmpty, !methods.contains("client_secret_basic"), methods.contains("client_secret_post") {
                oauth["client_authentication"] = "client_secret_post"
            }
            return oauth
        }

        private static func read(_ path: String) throws -> JSONObject {
            guard let data = InputFile.contents(of: path) else { throw Failure("\(path) cannot be read") }
            do {
                guard let object = try JSONValue(parsing: data).object else { throw Failure("\(path) does not hold a JSON object") }
                return object
            } catch let error as JSONError {
                throw Failure("\(path) is \(error.description)")
            }
        }
    }

    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a connection: what is not named stays as it is.",
            discussion:
                "A change that moves the token URL to another host needs the secrets again; one that moves the base URL asks people to connect again, unless --keep-grants."
        )
        @Argument(help: "The connection's id.") var id: String
        @Option(help: "The name that people see.") var name: String?
        @Flag(help: "Keep grants usable though the base URL moves to another host.") var keepGrants = false
        @OptionGroup var fields: ConnectionFields
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let api = try server.client()
            var patch = try fields.patch()
            if let name { patch["name"] = .string(name) }
            if keepGrants { patch["keep_grants"] = true }
            var oauth = patch["oauth"]?.object ?? JSONObject()
            if let secret = try SecretInput.clientSecret.given(file: fields.clientSecretFile) { oauth["client_secret"] = .string(secret) }
            if fields.username != nil || fields.passwordFile != nil {
                oauth["password"] = .string(try SecretInput.password.required(file: fields.passwordFile))
            }
            if !oauth.members.isEmpty { patch["oauth"] = .object(oauth) }
            guard !patch.members.isEmpty else {
                throw Failure("nothing to change was named", hint: "`grantee connections edit --help` lists what can be", exitCode: Failure.usage)
            }
            // What is changed is what was seen: an editor who was faster is not overwritten.
            let path = APIClient.path("connections", id)
            let eTag = try await api.exchange(.get, path).eTag
            let changed = try await api.send(.patch, path, body: .object(patch), ifMatch: eTag)
            let sheet = patch["authentication_instructions"] == nil ? nil : try await Connections.sheet(of: id, api)
            server.show(changed) {
                Connections.print(changed)
                sheet?.print()
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a connection with all its grants; they are revoked at the provider where that can be done.")
        @Argument(help: "The connection's id.") var id: String
        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let api = try server.client()
            guard yes || Terminal.confirms("Remove \(id) and all its grants? This cannot be undone.") else {
                throw Failure("nothing was removed", hint: "say yes, or give --yes")
            }
            _ = try await api.send(.delete, APIClient.path("connections", id))
            server.show(["removed": .string(id)]) { Terminal.write("Removed \(id).") }
        }
    }

    /// What the instructions do, beside what they say.
    static func sheet(of id: String, _ api: APIClient) async throws -> InstructionsSheet {
        InstructionsSheet(try await api.send(.get, APIClient.path("connections", id, "instructions")))
    }

    static func print(_ connection: JSONValue) {
        let oauth = connection["oauth"] ?? .null
        var sheet = Sheet()
        sheet.add("id", connection["id"]?.shown)
        sheet.add("name", connection["name"]?.shown)
        sheet.add("preset", connection["preset"]?.shown)
        let health = connection["health"]
        sheet.add("health", [health?["state"]?.string, health?["reason"]?.string].compactMap(\.self).joined(separator: ": "))
        sheet.add("callback URL", connection["callback_url"]?.shown)
        for (name, member) in [
            ("grant type", "grant_type"), ("PKCE", "pkce"), ("issuer", "issuer"), ("authorization URL", "authorization_url"), ("token URL", "token_url"),
            ("refresh URL", "refresh_url"), ("revocation URL", "revocation_url"), ("client ID", "client_id"),
        ] {
            sheet.add(name, oauth[member]?.shown)
        }
        let hasSecret = connection["has_client_secret"]?.bool == true
        if hasSecret { sheet.add("client secret", "(stored)") }
        sheet.add("client secret ends", oauth["client_secret_expires_at"]?.shown)
        // Without a secret the client id is all that is sent.
        sheet.add("client authentication", hasSecret ? oauth["client_authentication"]?.shown : "none")
        sheet.add("scopes", oauth["scopes"]?.shown)
        sheet.add("username", oauth["username"]?.shown)
        if connection["has_password"]?.bool == true { sheet.add("password", "(stored)") }
        sheet.add("base URL", connection["base_url"]?.shown)
        sheet.add("instructions", connection["authentication_instructions"]?.shown)
        if connection["allow_token_in_query"]?.bool == true { sheet.add("token in query", "allowed") }
        for (name, value) in connection["headers"]?.object?.members ?? [] { sheet.add("header \(name)", value.shown) }
        if connection["allow_encoded_slash"]?.bool == true { sheet.add("%2F in paths", "allowed") }
        sheet.add("agents", agentAccess(connection["agent_access"] ?? .null))
        sheet.add("agents' headers", connection["agent_access"]?["headers"]?.shown)
        for (name, value) in connection["variables"]?.object?.members ?? [] { sheet.add("variable \(name)", value.shown) }
        sheet.add("return origins", connection["return_origins"]?.shown)
        if connection["keep_alive"]?.bool == true { sheet.add("kept alive", "yes") }
        sheet.add("refresh token idle", oauth["refresh_token_idle_days"]?.integer.map { "\($0) days at most" })
        sheet.add("created", connection["created_at"]?.shown)
        for warning in connection["warnings"]?.array ?? [] { sheet.add("warning", warning.shown) }
        sheet.print()
    }
}

extension Connections {
    /// `nil` where nothing was ever allowed.
    private static func agentAccess(_ access: JSONValue) -> String? {
        let isOn = access["enabled"]?.bool == true
        let paths = access["paths"]?.shown ?? ""
        guard isOn || !paths.isEmpty else { return nil }
        let what = "\(access["methods"]?.shown ?? "") on \(paths.isEmpty ? "no path yet: name some with --agent-path" : paths)"
        return isOn ? what : "off (\(what))"
    }
}

/// `over` laid over `base`, object by object.
func mergedDocument(_ base: JSONObject, _ over: JSONObject) -> JSONObject {
    var result = base
    for (name, value) in over.members {
        if let inner = value.object, let outer = result[name]?.object {
            result[name] = .object(mergedDocument(outer, inner))
        } else {
            result[name] = value
        }
    }
    return result
}
