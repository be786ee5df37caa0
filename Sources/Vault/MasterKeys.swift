import Crypto
import OAuth

extension Keyring {
    /// Master keys by id; the first one seals, all open.
    package struct MasterKeys: Sendable {
        struct Key: Sendable {
            let id: String
            let key: SymmetricKey
        }
        let keys: [Key]

        var first: Key { keys[0] }
        func find(_ id: String) -> Key? { keys.first { $0.id == id } }

        /// `id:base64url of 32 bytes`, separated by commas, white space or both.
        /// - Throws: ``KeyringError/badMasterKeys(_:)`` naming the position, never the text.
        package init(parsing text: String) throws(KeyringError) {
            var keys: [Key] = []
            for entry in Self.entries(text) {
                let place = "master key \(keys.count + 1)"
                let parts = entry.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else { throw .badMasterKeys("\(place) is not id:base64url") }
                let id = String(parts[0])
                guard (1...64).contains(id.utf8.count), id.utf8.allSatisfy({ Self.isIDByte($0) }) else {
                    throw .badMasterKeys("the id of \(place) must be 1 to 64 letters, digits, - or _")
                }
                guard let bytes = Base64URL.decode(String(parts[1])), bytes.count == 32 else {
                    throw .badMasterKeys("\(place) must be 32 bytes in base64url (43 characters, no padding)")
                }
                // What somebody typed or repeated is no key; 32 random bytes are never taken for it. SEC-119.
                guard Set(bytes).count > 8, !bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                    throw .badMasterKeys("\(place) is not random: repeated bytes, or text")
                }
                let key = SymmetricKey(data: bytes)
                if let earlier = keys.firstIndex(where: { $0.id == id }) {
                    let first = "master key \(earlier + 1)"
                    throw .badMasterKeys(keys[earlier].key == key ? "\(place) repeats \(first)" : "\(place) has the id of \(first), and other bytes")
                }
                keys.append(Key(id: id, key: key))
            }
            self.keys = keys
        }

        /// What stands between commas must not be nothing: there a key may be missing.
        private static func entries(_ text: String) -> [Substring] {
            text.split(separator: ",", omittingEmptySubsequences: false).flatMap { part in
                let words = part.split(whereSeparator: \.isWhitespace)
                return words.isEmpty ? [""] : words
            }
        }

        private init(keys: [Key]) { self.keys = keys }

        package var ids: [String] { keys.map(\.id) }

        /// Another new key in front: it seals from now on, and the others still open.
        /// - Parameter used: ids that belong to other keys, `k1` and the like among them: the new one's number is higher.
        package func withNewKey(besides used: some Sequence<String>) -> MasterKeys {
            let numbers = (ids + used).compactMap { id in id.hasPrefix("k") ? Int(id.dropFirst()) : nil }.filter { (1...999_999_999).contains($0) }
            return MasterKeys(keys: [Key(id: "k\((numbers.max() ?? 0) + 1)", key: SymmetricKey(size: .bits256))] + keys)
        }

        /// Without the keys that nothing is wrapped by any more.
        package var firstAlone: MasterKeys { MasterKeys(keys: [first]) }

        /// What ``init(parsing:)`` reads: the keys themselves, for `master.key` and nothing else.
        package var secretText: String {
            keys.map { key in key.id + ":" + key.key.withUnsafeBytes { Base64URL.encode($0) } }.joined(separator: ",")
        }

        private static func isIDByte(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D || byte == 0x5F
        }

        /// A new single key with the id `k1`, as the text that ``init(parsing:)`` reads.
        package static func generate() -> String {
            "k1:" + SymmetricKey(size: .bits256).withUnsafeBytes { Base64URL.encode($0) }
        }
    }
}
