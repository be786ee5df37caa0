import Mustache

/// Escapes text for HTML byte by byte, as browsers read it.
///
/// The library's own escaping goes by Swift's characters, and a quote with a combining accent behind it is one of those:
/// it would pass, and end an attribute.
struct HTMLText: MustacheContentType {
    /// What `{{% CONTENT_TYPE: … }}` at the top of a template names.
    static let name = "HTML_BYTES"

    func escapeText(_ text: String) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "&"): bytes += "&amp;".utf8
            case UInt8(ascii: "<"): bytes += "&lt;".utf8
            case UInt8(ascii: ">"): bytes += "&gt;".utf8
            case UInt8(ascii: "\""): bytes += "&quot;".utf8
            case UInt8(ascii: "'"): bytes += "&#39;".utf8
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
