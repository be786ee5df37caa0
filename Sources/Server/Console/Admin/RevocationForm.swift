import Broker
import OAuth
import Vault

/// The form of the kill switch: what is named, and the words that say that it is meant.
struct RevocationForm {
    let connection: String
    /// `-` = shared grants.
    let subject: String
    let key: String
    private let typed: String

    /// - Parameter value: of a field of the form, or a parameter of the query.
    init(_ value: (String) -> String) {
        func text(_ name: String) -> String { String(value(name).filter { !$0.isNewline }.prefix(255)) }
        (connection, subject, key, typed) = (text("connection"), text("subject"), text("key_id"), text("confirm"))
    }

    var isEverything: Bool { connection.isEmpty && subject.isEmpty && key.isEmpty }

    /// To be typed: more for more.
    var word: String { isEverything ? "revoke everything" : "revoke" }

    var isConfirmed: Bool { typed.lowercased().split(separator: " ").joined(separator: " ") == word }

    /// What is revoked, as a whole sentence.
    /// - Parameter keyName: what the key is called, where it is known.
    func sentence(keyName: String?) -> String {
        if isEverything { return "Every grant of every connection and every subject is revoked." }
        var parts: [String] = []
        if !connection.isEmpty { parts.append("of the connection \(connection)") }
        if !subject.isEmpty { parts.append(subject == "-" ? "that the whole app shares" : "of the subject \(subject)") }
        if !key.isEmpty { parts.append("whose tokens the key \(keyName.map { "\($0) (\(key))" } ?? key) was given, by the activity log") }
        return "Every grant \(parts.joined(separator: " and ")) is revoked." + (key.isEmpty ? "" : " The key itself is removed.")
    }

    var values: [String: Any] {
        ["connection": connection, "subject": subject, "key": key, "confirm": typed, "word": word, "is_everything": isEverything]
    }
}
