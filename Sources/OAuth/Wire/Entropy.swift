/// Where random values come from; passed in where a test needs to hold them still.
public struct Entropy: Sendable {
    /// Exactly `count` random bytes.
    public var bytes: @Sendable (_ count: Int) -> [UInt8]
    public init(bytes: @escaping @Sendable (Int) -> [UInt8]) { self.bytes = bytes }
    /// The system's cryptographically secure source.
    public static let system = Entropy { count in
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
    /// base64url of `count` random bytes: 32 bytes give 43 characters.
    public func token(bytes count: Int = 32) -> String { Base64URL.encode(bytes(count)) }
}
