import Crypto
package import Vault

/// The keyed hash chain of activity entries: what was altered, removed, swapped or added behind the server's back shows.
///
/// `mac(n) = HMAC-SHA256(chain key, mac(n-1) | entry n)`, 32 zero bytes before the first. Whoever can write to the
/// database but has no key can make no link, and no anchor. SEC-114.
package struct ActivityChain: Sendable {
    private static let macLength = 32
    private static let encodingVersion = "grantee activity 1"

    /// Of its own each, so that none stands in for another. SEC-125.
    /// With its key hashed in: each link begins as a copy of it.
    private let link: HMAC<SHA256>
    private let anchorKey: SymmetricKey
    private let cutKey: SymmetricKey
    private let argumentsKey: SymmetricKey
    /// How many entries there were before there was a chain: they are in none.
    package let entriesBefore: Int

    /// - Parameter secret: 32 random bytes.
    init(secret: [UInt8], entriesBefore: Int) {
        self.entriesBefore = entriesBefore
        let secret = SymmetricKey(data: secret)
        func key(_ label: String) -> SymmetricKey {
            HKDF<SHA256>.deriveKey(inputKeyMaterial: secret, info: Array(label.utf8), outputByteCount: 32)
        }
        link = HMAC<SHA256>(key: key("grantee activity chain 1"))
        anchorKey = key("grantee activity anchor 1")
        cutKey = key("grantee activity cut 1")
        argumentsKey = key("grantee activity arguments 1")
    }

    /// Where a chain begins: the place before its first entry.
    package static func beginning(of node: String) -> ActivityLink {
        ActivityLink(node: node, sequence: 0, mac: [UInt8](repeating: 0, count: macLength))
    }

    // MARK: Links

    /// The same entries, each linked to the one before it.
    package func linked(_ entries: [Activity], after head: ActivityLink) -> [Activity] {
        var last = head
        return entries.map { entry in
            var entry = entry
            last = ActivityLink(node: head.node, sequence: last.sequence + 1, mac: mac(of: entry, at: last.sequence + 1, after: last))
            entry.link = last
            return entry
        }
    }

    /// What `entry` bears as number `sequence` of the chain behind `previous`.
    func mac(of entry: Activity, at sequence: Int, after previous: ActivityLink) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        bytes += previous.mac
        Self.encode(
            [
                Self.encodingVersion, previous.node, String(sequence), entry.uid.text, String(entry.at.milliseconds), entry.action, entry.connectionUID?.text,
                entry.connection, entry.subject, entry.key, entry.result, String(entry.count), entry.detail, entry.requestID,
            ], into: &bytes)
        var hash = link
        hash.update(data: bytes)
        return Array(hash.finalize())
    }

    /// Each field behind its length in four bytes, an absent one as a length that no text has: no two entries encode alike.
    private static func encode(_ fields: [String?], into bytes: inout [UInt8]) {
        for field in fields {
            let length = field.map { UInt32($0.utf8.count) } ?? .max
            withUnsafeBytes(of: length.bigEndian) { bytes.append(contentsOf: $0) }
            if let field { bytes.append(contentsOf: field.utf8) }
        }
    }

    // MARK: Arguments

    /// A keyed hash of what an agent called with: equal arguments show as equal, and none can be guessed from it. SEC-137.
    /// - Returns: 16 bytes in hexadecimal.
    func fingerprint(of arguments: [UInt8]) -> String {
        HMAC<SHA256>.authenticationCode(for: arguments, using: argumentsKey).prefix(16).hexadecimal
    }

    // MARK: Anchors

    /// What an anchor is for.
    enum AnchorKind: CaseIterable {
        /// The chain has come so far.
        case reached
        /// Everything up to here was cut off by the retention.
        case cut
    }

    func anchor(_ kind: AnchorKind, at link: ActivityLink, time: Timestamp) -> ActivityAnchor {
        ActivityAnchor(link: link, at: time, signature: Array(HMAC<SHA256>.authenticationCode(for: Self.signed(link, time), using: key(kind))))
    }

    /// What the anchor is for; `nil` when it was not signed here.
    func kind(of anchor: ActivityAnchor) -> AnchorKind? {
        AnchorKind.allCases.first {
            HMAC<SHA256>.isValidAuthenticationCode(anchor.signature, authenticating: Self.signed(anchor.link, anchor.at), using: key($0))
        }
    }

    private func key(_ kind: AnchorKind) -> SymmetricKey { kind == .cut ? cutKey : anchorKey }

    private static func signed(_ link: ActivityLink, _ time: Timestamp) -> [UInt8] {
        var bytes: [UInt8] = []
        encode([encodingVersion, link.node, String(link.sequence), String(time.milliseconds)], into: &bytes)
        return bytes + link.mac
    }
}

extension Sequence<UInt8> {
    var hexadecimal: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
