package import OAuth

extension Egress {
    /// A network: an address and how many of its leading bits count.
    public struct CIDR: Sendable, Hashable, CustomStringConvertible {
        let address: IPLiteral
        let prefix: Int

        /// `10.1.0.0/16`, `::1/128`, or a bare address. `nil` when it is not one.
        public init?(_ text: String) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, let address = IPLiteral(String(parts[0])) else { return nil }
            let longest = address.bytes.count * 8
            var prefix = longest
            if parts.count == 2 {
                guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(parts[1]),
                    number <= longest
                else { return nil }
                prefix = number
            }
            self.address = address
            self.prefix = prefix
        }

        public var description: String { address.text + "/\(prefix)" }

        package func contains(_ other: IPLiteral) -> Bool {
            guard other.bytes.count == address.bytes.count else { return false }
            let whole = prefix / 8
            guard other.bytes[..<whole].elementsEqual(address.bytes[..<whole]) else { return false }
            let rest = prefix % 8
            guard rest > 0 else { return true }
            let mask = UInt8(truncatingIfNeeded: 0xFF00 >> rest)
            return other.bytes[whole] & mask == address.bytes[whole] & mask
        }
    }
}

extension IPLiteral {
    /// As it is written in a URL, without brackets; IPv6 without compression.
    var text: String {
        if isIPv4 { return bytes.map(String.init).joined(separator: ".") }
        return stride(from: 0, to: 16, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
    }
}
