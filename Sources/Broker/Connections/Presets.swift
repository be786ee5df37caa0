package import OAuth

/// What is known about a provider: URLs, PKCE, client authentication, quirks, setup notes. Data, never code.
package struct Preset: Sendable, Hashable {
    package let id: String
    package let name: String
    /// The whole entry, as `GET /v1/presets/{id}` shows it.
    package let document: JSONObject

    /// In the order of ids.
    package static let all: [Preset] = {
        // The file is ours and checked by a test: a broken one is a bug, not input.
        guard let list = try? JSONValue(parsing: PackageResources.presets_json).array else { preconditionFailure("presets.json is broken") }
        return list.compactMap { entry in
            guard let object = entry.object, let id = object["id"]?.string, let name = object["name"]?.string else { return nil }
            return Preset(id: id, name: name, document: object)
        }
    }()

    /// Whether its Authentication Instructions have a rule for the query: those whose API takes the token nowhere else.
    package var putsTokenInQuery: Bool {
        guard let text = document["authentication_instructions"]?.string else { return false }
        return (try? Instructions(text))?.rules.contains { $0.place == .query } ?? false
    }

    package static func find(_ id: String) -> Preset? { all.first { $0.id == id } }

    /// Presets whose id or name holds `text`, without regard to case; all when it is empty.
    package static func search(_ text: String) -> [Preset] {
        guard !text.isEmpty else { return all }
        let needle = text.lowercased()
        return all.filter { $0.id.contains(needle) || $0.name.lowercased().contains(needle) }
    }
}
