import Broker
import NIOHTTP1

/// The header fields by which a caller steers the gateway itself, found in one pass.
struct SteeringFields {
    /// The first of a name, and how many there are.
    struct Field {
        private(set) var value: String?
        private(set) var count = 0

        mutating func add(_ value: String) {
            if count == 0 { self.value = value }
            count += 1
        }
    }

    private(set) var host = Field()
    private(set) var authorization = Field()
    private(set) var fetchSite = Field()
    private(set) var expect = Field()
    private(set) var upgrade = Field()
    private(set) var transferEncoding = Field()
    private(set) var contentLength = Field()
    private(set) var subject = Field()
    /// `X-Forwarded-For`, as one list. Whether it counts is the door's to say.
    private(set) var forwarded: String?

    init(_ headers: HTTPHeaders) {
        for (name, value) in headers {
            // Most names are told from these by their length alone.
            switch name.utf8.count {
            case 4: if FieldName.isSame(name, lowerCase: "host") { host.add(value) }
            case 6: if FieldName.isSame(name, lowerCase: "expect") { expect.add(value) }
            case 7: if FieldName.isSame(name, lowerCase: "upgrade") { upgrade.add(value) }
            case 13: if FieldName.isSame(name, lowerCase: "authorization") { authorization.add(value) }
            case 14:
                if FieldName.isSame(name, lowerCase: "content-length") { contentLength.add(value) }
                if FieldName.isSame(name, lowerCase: "sec-fetch-site") { fetchSite.add(value) }
            case 15:
                if FieldName.isSame(name, lowerCase: "grantee-subject") { subject.add(value) }
                if FieldName.isSame(name, lowerCase: "x-forwarded-for") { forwarded = forwarded.map { $0 + "," + value } ?? value }
            case 17: if FieldName.isSame(name, lowerCase: "transfer-encoding") { transferEncoding.add(value) }
            default: break
            }
        }
    }

    var expectsContinue: Bool { expect.value.map { $0[...].trimming.lowercased() == "100-continue" } ?? false }

    /// Whether one host is named: whoever splits a list at its commas finds one, too.
    var namesOneHost: Bool { host.count == 1 && !(host.value?.utf8.contains(UInt8(ascii: ",")) ?? true) }

    /// What curl asks for by itself; to go on in HTTP/1.1 is an answer to it. RFC 9110 §7.8.
    var upgradesToHTTP2Only: Bool { upgrade.count == 1 && upgrade.value.map { $0[...].trimming.lowercased() == "h2c" } ?? false }

    /// How the body's length is said; `nil` when that can be read in two ways. SEC-85.
    var framing: AskedRequest.Framing? {
        if transferEncoding.count > 0 {
            let isChunked = transferEncoding.value.map { $0[...].trimming.lowercased() == "chunked" } ?? false
            return transferEncoding.count == 1 && isChunked && contentLength.count == 0 ? .chunked : nil
        }
        guard let length = contentLength.value else { return AskedRequest.Framing.none }
        return contentLength.count == 1 && !length.isEmpty && length.utf8.allSatisfy { (0x30...0x39).contains($0) } ? .length(length) : nil
    }
}
