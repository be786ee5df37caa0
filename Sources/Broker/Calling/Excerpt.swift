/// What a caller sent, fit to stand in a problem: at most 80 characters, printable ASCII only, everything else as `?`.
package func excerpt(_ text: some StringProtocol) -> String {
    excerpt(bytes: text.utf8)
}

package func excerpt(bytes: some Sequence<UInt8>) -> String {
    String(decoding: bytes.prefix(80).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
}
