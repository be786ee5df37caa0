/// The parameters of a callback, read from its query (or form) bytes once. RFC 6749 §4.1.2.
public struct AuthorizationResponse: Sendable {
    /// A query longer than this is refused.
    public static let maximumLength = 16 * 1024

    /// By the name's bytes: Swift's strings equal more than the wire does.
    private let parameters: [[UInt8]: String]
    private let profile: ProviderProfile

    /// - Throws: ``CallbackError/malformed(_:)`` for broken encoding, a repeated name, both code and error, or more than
    ///   ``maximumLength`` bytes. An empty value is the same as none; unknown parameters are ignored. RFC 6749 §3.1.
    public init(query: some Collection<UInt8>, profile: ProviderProfile = ProviderProfile()) throws(CallbackError) {
        guard query.count <= Self.maximumLength else { throw .malformed("the query is longer than \(Self.maximumLength) bytes") }
        let pairs: [(name: String, value: String)]
        do {
            pairs = try Form.parse(query)
        } catch {
            throw .malformed(error.description)
        }
        var parameters: [[UInt8]: String] = [:]
        for (name, value) in pairs {
            guard parameters.updateValue(value, forKey: Array(name.utf8)) == nil else { throw .malformed("a parameter is repeated") }
        }
        self.parameters = parameters
        self.profile = profile
        guard code == nil || self["error"] == nil else { throw .malformed("it holds both a code and an error") }
    }

    /// By its standard name, whatever the profile calls it. `nil` when absent or empty.
    public var state: String? { self[profile.stateParameter] }
    var code: String? { self[profile.codeParameter] }

    /// The error, its code by the registry's characters and through the profile's aliases; the description on one line.
    var error: (code: String, description: String?)? {
        guard let text = self["error"] else { return nil }
        let code = ProviderText.errorCode(text) ?? ""
        return (profile.errorAliases[code] ?? code, self["error_description"].map { ProviderText.clean($0) })
    }

    /// Any parameter by name, for values that a profile captures; `nil` when absent or empty. Attacker-controlled.
    public subscript(_ name: String) -> String? {
        guard let value = parameters[Array(name.utf8)], !value.isEmpty else { return nil }
        return value
    }
}

extension AuthorizationResponse: CustomStringConvertible, CustomReflectable {
    public var description: String { "AuthorizationResponse(redacted)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }  // the parameters hold code and `state`
}
