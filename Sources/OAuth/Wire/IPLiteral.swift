/// An IP address as it may stand in a URL: strict dotted quad, or RFC 4291 text without a zone.
package struct IPLiteral: Sendable, Hashable {
    /// 4 or 16 bytes, in network order.
    package let bytes: [UInt8]

    package var isIPv4: Bool { bytes.count == 4 }

    /// - Parameter bytes: 4 or 16.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// `nil` for every other spelling that a C library would take (`0x7f.1`, `127.1`, `010.0.0.1`).
    package init?(_ text: String) {
        if let four = Self.ipv4(text[...]) {
            bytes = four
        } else if let sixteen = Self.ipv6(text) {
            bytes = sixteen
        } else {
            return nil
        }
    }

    package static func ipv4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part.utf8.count == 1 || part.utf8.first != UInt8(ascii: "0"), let value = UInt8(part)
            else { return nil }
            bytes.append(value)
        }
        return bytes
    }

    private static func ipv6(_ text: String) -> [UInt8]? {
        guard text.utf8.contains(UInt8(ascii: ":")), text.utf8.count <= 45 else { return nil }
        let halves = text.split(separator: "::", omittingEmptySubsequences: false).map { $0 }
        guard halves.count <= 2, !text.contains(":::") else { return nil }
        func groups(_ half: Substring, isLast: Bool) -> [UInt8]? {
            if half.isEmpty { return [] }
            var bytes: [UInt8] = []
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (index, part) in parts.enumerated() {
                if isLast, index == parts.count - 1, part.contains(".") {
                    guard let four = ipv4(part) else { return nil }
                    bytes += four
                    continue
                }
                guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy({ Form.hexValue($0) != nil }), let value = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
            }
            return bytes
        }
        if halves.count == 1 {
            guard let bytes = groups(halves[0], isLast: true), bytes.count == 16 else { return nil }
            return bytes
        }
        guard let head = groups(halves[0], isLast: false), let tail = groups(halves[1], isLast: true), head.count + tail.count <= 14 else { return nil }
        return head + Array(repeating: 0, count: 16 - head.count - tail.count) + tail
    }
}
