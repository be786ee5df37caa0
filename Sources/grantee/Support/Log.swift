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
        let (level, message) = (event.level, event.message)
        let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let time = Timestamp(Date()).rfc3339
        let text: String
        switch format {
        case .text:
            // What others supplied may hold line breaks and escapes: one event stays one line. SEC-113.
            let pairs = all.map { "\($0.key)=\(Self.quoted("\($0.value)"))" }
            text = ([time, level.rawValue, ProviderText.clean("\(message)")] + pairs).joined(separator: " ")
        case .json:
            var object: JSONObject = ["time": .string(time), "level": .string(level.rawValue), "message": .string("\(message)")]
            for (key, value) in all { object[key] = .string("\(value)") }
            text = String(decoding: JSONValue.object(object).serialized(), as: UTF8.self)
        }
        Terminal.say(text)
    }

    private static func quoted(_ value: String) -> String {
        let clean = ProviderText.clean(value)
        return clean.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) ? String(decoding: JSONValue.string(clean).serialized(), as: UTF8.self) : clean
    }
}

extension Logger.Level {
    static let names = allCases.map(\.rawValue)
}
