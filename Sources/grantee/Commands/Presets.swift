import ArgumentParser
import OAuth

struct Presets: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List what is known about providers, or show one.",
        discussion: "A query that is a preset's id shows that preset with its setup notes.")

    @Argument(help: "A part of an id or name, or a host.") var query: String?
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let items = try await server.client().list("/v1/presets", query: [("q", query)])
        if let query, let preset = items.first(where: { $0["id"]?.string == query }) { return server.show(preset) { Self.print(preset) } }
        server.show(["items": .array(items)]) {
            var table = Table("ID", "NAME", "GRANT TYPES", "STATE")
            for item in items {
                // Those that a connection can have; a preset knows more of its provider.
                let types = (item["grant_types"]?.array ?? []).compactMap(\.string).filter {
                    ["authorization_code", "client_credentials", "password"].contains($0)
                }
                table.add(item["id"]?.shown ?? "", item["name"]?.shown ?? "", types.joined(separator: " "), Self.state(item))
            }
            table.print(nothing: "No preset fits. `grantee connections add` takes the URLs of any provider.")
        }
    }

    /// In one word: whether a connection can be made with it, and how well its endpoints are known.
    private static func state(_ preset: JSONValue) -> String {
        if preset["unsupported"] != nil { return "unsupported" }
        if preset["deprecated"] != nil { return "deprecated" }
        return preset["verified"]?.bool == true ? "verified" : "one source"
    }

    private static func print(_ preset: JSONValue) {
        var sheet = Sheet()
        for (name, member) in [
            ("id", "id"), ("name", "name"), ("website", "website"), ("authorization URL", "authorization_url"), ("token URL", "token_url"),
            ("issuer", "issuer"),
            ("base URL", "base_url"), ("PKCE", "pkce"), ("client authentication", "client_authentication"), ("scopes", "scopes"),
        ] {
            sheet.add(name, preset[member]?.shown)
        }
        for (name, value) in preset["variables"]?.object?.members ?? [] {
            sheet.add(
                "variable \(name)", [value["description"]?.string, value["example"]?.string.map { "such as \($0)" }].compactMap(\.self).joined(separator: ", "))
        }
        sheet.add("state", state(preset))
        for name in ["caution", "unsupported", "deprecated"] { sheet.add(name, preset[name]?.shown) }
        for note in preset["setup_notes"]?.array ?? [] { sheet.add("note", note.shown) }
        sheet.print()
    }
}
