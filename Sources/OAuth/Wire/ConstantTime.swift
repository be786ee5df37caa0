/// Whether two values are the same bytes, in time that depends on their lengths only. Strings compare as UTF-8:
/// Swift's `==` on strings is canonical equivalence, which no protocol here means.
public func constantTimeEqual(_ a: some Collection<UInt8>, _ b: some Collection<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
}

public func constantTimeEqual(_ a: String, _ b: String) -> Bool { constantTimeEqual(a.utf8, b.utf8) }

/// Byte for byte, for values that are not secret.
public func sameBytes(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
