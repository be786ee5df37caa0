import Foundation
import Logging
import OAuth
import Testing
import Vault

@testable import grantee

@Suite struct LogTests {
    /// What a user agent, a subject, a path or a provider's error may hold.
    static let payloads = [
        "a\r\n2026-01-01T00:00:00Z error forged key=value", "\n{\"level\":\"error\",\"message\":\"forged\"}", "\u{1B}[2J\u{1B}[1;31mred", "\u{9B}2J\u{7F}\u{0}",
        "x\" level=\"critical", "a=b c=d", "\u{2028}next\u{2029}line\u{85}third", "\u{202E}desrever", "\\n\\u000a", String(repeating: "long ", count: 10_000),
        "",
    ]

    private let time = Timestamp(milliseconds: 1_800_000_000_000)

    @Test("One event is one line, and its fields stay its own (SEC-113)", arguments: payloads, [LineLog.Format.text, .json])
    func oneLine(payload: String, format: LineLog.Format) throws {
        let log = LineLog(label: "test", format: format, logLevel: .trace)
        let line = log.line(.notice, "refused", ["client": "\(payload)", "route": "/v1/keys"], at: time)
        let isHostile = { (scalar: Unicode.Scalar) in
            [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
        }
        #expect(!line.unicodeScalars.contains(where: isHostile))
        switch format {
        case .json:
            let object = try #require(try JSONValue(parsing: line.utf8).object)
            #expect(object.members.map(\.name) == ["time", "level", "message", "client", "route"])
            #expect(object["level"]?.string == "notice")
            #expect(object["route"]?.string == "/v1/keys")
        case .text:
            #expect(line.hasPrefix("2027-01-15T08:00:00Z notice refused client="))
            #expect(line.hasSuffix(" route=/v1/keys"))
            // What stands between is one word, or one quoted text.
            let value = line.dropFirst("2027-01-15T08:00:00Z notice refused client=".count).dropLast(" route=/v1/keys".count)
            if value.contains(" ") || value.contains("=") { #expect(try JSONValue(parsing: value.utf8).string != nil, "\(value)") }
        }
    }
}
