import Gateway
import OAuth

/// What an API answered to *Try it*, fit to be shown: cut, inert, the token masked.
enum TryAnswer {
    /// Bytes of the body that are shown.
    static let shown = 64 << 10
    private static let longestField = 2048

    static func values(_ answer: Call.Answer, to call: Call, took: Duration) -> [String: Any] {
        let type = answer.headers.first { $0.name.lowercased() == "content-type" }?.value
        let body = ShownBody.of(answer.body, isCut: answer.isCut, type: type)
        let text = ModelText(body.kind == .json ? body.value.pretty : body.text, limit: shown)
        var values: [String: Any] = [
            "status": answer.status, "badge": ["kind": kind(answer.status).rawValue, "label": reason(answer.status)],
            "milliseconds": Int(took.components.seconds * 1000 + took.components.attoseconds / 1_000_000_000_000_000),
            "fields": answer.headers.map { ["name": line($0.name), "value": line($0.value)] }, "request": ModelText(answer.request, limit: shown).text,
        ]
        if !text.text.isEmpty { values["body"] = text.text }
        if let sent = call.body { values["sent_body"] = ModelText(String(decoding: sent, as: UTF8.self), limit: shown).text }
        if let advice = advice(answer.status, call) { values["advice"] = advice }
        var notes: [String] = []
        if body.kind == .binary { notes += body.notes }
        if answer.isCut || text.isCut { notes.append("The body is longer: its first \(shown >> 10) KiB are shown.") }
        if !notes.isEmpty { values["notes"] = notes }
        return values
    }

    private static func line(_ text: String) -> String { ProviderText.clean(text, limit: longestField) }

    private static func kind(_ status: Int) -> ActivityWords.Mark {
        switch status {
        case 200..<300: .good
        case 300..<400: .info
        case 400..<500: .warn
        default: .bad
        }
    }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 200..<300: "\(status) It works"
        case 300..<400: "\(status) Redirect"
        case 401: "401 Token not taken"
        case 403: "403 Not allowed"
        case 404: "404 Not found"
        case 429: "429 Too many requests"
        case 400..<500: "\(status) Refused"
        default: "\(status) The API failed"
        }
    }

    /// What to look at next.
    private static func advice(_ status: Int, _ call: Call) -> String? {
        switch status {
        case 300..<400: "The API points elsewhere, and that is not followed. If location lies below the API base URL, try its path."
        case 401:
            "The API does not take the token, though it was renewed for this. Check how the Authentication Instructions carry it, whether it is meant for "
                + "this API (audience or resource), and whether the API base URL is right."
        case 403: "The API knows the account but does not allow this: a scope may be missing, or a permission of the account."
        case 404: "There is nothing at this path, or the account may not see it. Check the path, and what the API base URL ends with."
        case 405: "The API does not take \(call.method) at this path."
        case 429: "The API asks to wait. See retry-after among the header fields."
        case 400..<500: "The API refuses the request as it is. Its answer says what to correct."
        case 500...: "The API itself failed. The token was most likely taken."
        default: nil
        }
    }
}
