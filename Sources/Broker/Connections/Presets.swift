package import OAuth

/// What is known about a provider: URLs, PKCE, client authentication, quirks, setup notes. Data, never code.
package struct Preset: Sendable, Hashable {
    package let id: String
    package let name: String
    /// The whole entry, as `GET /v1/presets/{id}` shows it.
    package let document: JSONObject

    /// In the order of ids; read when it is first asked for.
    package static let all: [Preset] = {
        // The file is ours and checked by a test: a broken one is a bug, not input.
        guard let list = try? JSONValue(parsing: PackageResources.presets_json).array else { preconditionFailure("presets.json is broken") }
        return list.compactMap { entry in
            guard let object = entry.object, let id = object["id"]?.string, let name = object["name"]?.string else { return nil }
            return Preset(id: id, name: name, document: object)
        }
    }()

    private static let byID = Dictionary(all.map { ($0.id, $0) }) { first, _ in first }

    package static func find(_ id: String) -> Preset? { byID[id] }

    /// Whether its Authentication Instructions have a rule for the query: those whose API takes the token nowhere else.
    package var putsTokenInQuery: Bool {
        guard let text = document["authentication_instructions"]?.string else { return false }
        return (try? Instructions(text))?.rules.contains { $0.place == .query } ?? false
    }
}
