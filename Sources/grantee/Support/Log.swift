import Foundation
import Logging
import OAuth
import Vault

/// One line for each event on standard error: text for people, JSON for collectors.
struct LineLog: LogHandler {
    enum Format: String, CaseIterable { case text, json }

    let label: String
    let format: Format
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    static func install(format: Format, level: Logger.Level) {
        LoggingSystem.bootstrap { LineLog(label: $0, format: format, logLevel: level) }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        Terminal.say(line(event.level, event.message, event.metadata ?? [:], at: Timestamp(Date())))
    }

    /// What others supplied may hold line breaks, escapes and whole events: one event stays one line, and its fields stay
    /// its own. SEC-113.
    func line(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata, at time: Timestamp) -> String {
        let fields = self.metadata.merging(metadata) { $1 }.sorted { $0.key < $1.key }.map { ($0.key, ProviderText.clean("\($0.value)")) }
        let text = ProviderText.clean("\(message)")
        switch format {
        case .text:
            return ([time.rfc3339, level.rawValue, text] + fields.map { "\($0)=\(Self.quoted($1))" }).joined(separator: " ")
        case .json:
            var object: JSONObject = ["time": .string(time.rfc3339), "level": .string(level.rawValue), "message": .string(text)]
            for (key, value) in fields { object[key] = .string(value) }
            return String(decoding: JSONValue.object(object).serialized(), as: UTF8.self)
        }
    }

    private static func quoted(_ value: String) -> String {
        value.utf8.contains { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "=") }
            ? String(decoding: JSONValue.string(value).serialized(), as: UTF8.self) : value
    }
}

extension Logger.Level {
    static let names = allCases.map(\.rawValue)
}
