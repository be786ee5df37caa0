import Crypto
import Foundation

/// The bytes of a ciphertext: `version | algorithm | data key id(4) | salt(16) | nonce(12) | ciphertext | tag(16)`.
///
/// Each has its own salt and so its own AES key: the nonce could repeat without harm.
enum Envelope {
    private static let version: UInt8 = 1
    /// AES-256-GCM under HKDF-SHA256.
    private static let algorithm: UInt8 = 1
    private static let headerLength = 6
    private static let saltLength = 16
    private static let nonceLength = 12
    private static let tagLength = 16
    private static let overhead = headerLength + saltLength + nonceLength + tagLength

    static func seal(_ plaintext: [UInt8], key: SymmetricKey, keyID: UInt32, additionalData: [UInt8]) throws(KeyringError) -> [UInt8] {
        let header = [version, algorithm] + withUnsafeBytes(of: keyID.bigEndian, Array.init)
        var random = SystemRandomNumberGenerator()
        let salt = (0..<saltLength).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        do {
            let box = try AES.GCM.seal(plaintext, using: derive(key, salt), authenticating: header + additionalData)
            return header + salt + Array(box.nonce) + Array(box.ciphertext) + Array(box.tag)
        } catch {
            throw .damaged
        }
    }

    static func open(_ bytes: [UInt8], key: SymmetricKey, additionalData: [UInt8]) throws(KeyringError) -> [UInt8] {
        guard bytes.count >= overhead, bytes[0] == version, bytes[1] == algorithm else { throw .damaged }
        let salt = Array(bytes[headerLength..<headerLength + saltLength])
        do {
            let box = try AES.GCM.SealedBox(combined: bytes[(headerLength + saltLength)...])
            return Array(try AES.GCM.open(box, using: derive(key, salt), authenticating: bytes[..<headerLength] + additionalData))
        } catch {
            throw .damaged
        }
    }

    /// `nil` when the bytes are no envelope.
    static func keyID(of bytes: [UInt8]) -> UInt32? {
        guard bytes.count >= overhead else { return nil }
        return bytes[2..<6].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func derive(_ key: SymmetricKey, _ salt: [UInt8]) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(inputKeyMaterial: key, salt: salt, info: Array("grantee seal 1".utf8), outputByteCount: 32)
    }
}
