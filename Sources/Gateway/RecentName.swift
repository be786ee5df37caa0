import Broker

/// The name of a line in the last head of a connection, as it was spelled, and what was found for it: in the next head the same name
/// mostly stands in the same place.
struct RecentName {
    private static let most = 32
    /// Padded with zeros.
    private let bytes: SIMD4<UInt64>
    private let mask: SIMD4<UInt64>
    let name: FieldName
    let rule: FieldRules.Answer

    /// - Returns: `nil` for a name that is too long.
    init?(_ line: FieldLine, _ span: Span<UInt8>) {
        guard line.name.count < Self.most else { return nil }
        var (bytes, mask) = (SIMD4<UInt64>(), SIMD4<UInt64>())
        // The colon too.
        for index in 0...line.name.count {
            let shift = UInt64((index & 7) * 8)
            bytes[index >> 3] |= UInt64(span[line.start + index]) << shift
            mask[index >> 3] |= 0xFF << shift
        }
        (self.bytes, self.mask, name) = (bytes, mask, line.name)
        rule = FieldRules.answer(line.name)
    }

    /// Whether the name and a colon stand there.
    @inline(__always)
    func stands(in span: Span<UInt8>, at start: Int) -> Bool {
        guard start + Self.most <= span.count else { return false }
        return span.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start, as: SIMD4<UInt64>.self) } & mask == bytes
    }
}
