/// A value that never prints itself. `Kind` stops a refresh token going where an access token is due.
///
/// The one way out is ``withExposed(_:)``, so every place that reads a secret is found by searching for one word.
public struct Secret<Kind>: Sendable {
    private let value: String

    public init(_ value: String) { self.value = value }

    /// Hands the value to `body` and to nobody else.
    public func withExposed<R, E: Error>(_ body: (String) throws(E) -> R) throws(E) -> R { try body(value) }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Secret(redacted)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: [:]) }  // `dump` reads the mirror, not `description`
}

/// What a ``Secret`` is a secret of.
public enum SecretKind {
    public enum AccessToken {}
    public enum RefreshToken {}
    public enum IDToken {}
    public enum ClientSecret {}
    public enum Password {}
    public enum AuthorizationCode {}
    public enum CodeVerifier {}
    public enum Nonce {}
    public enum State {}
}

public typealias AccessToken = Secret<SecretKind.AccessToken>
public typealias RefreshToken = Secret<SecretKind.RefreshToken>
public typealias IDToken = Secret<SecretKind.IDToken>
public typealias ClientSecret = Secret<SecretKind.ClientSecret>
public typealias Password = Secret<SecretKind.Password>
public typealias AuthorizationCode = Secret<SecretKind.AuthorizationCode>
public typealias CodeVerifier = Secret<SecretKind.CodeVerifier>
public typealias Nonce = Secret<SecretKind.Nonce>
