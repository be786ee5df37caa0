import HTTPTypes

/// The members of a token endpoint's answer, whatever syntax it came in.
enum TokenAnswer {
    case members(JSONObject)
    /// The reason in words, without anything from the body.
    case unreadable(String)

    /// `{` as the first character decides for JSON, under any media type; else a form, where the answer is declared one,
    /// or as plain text that holds a token or an error. Never HTML, never XML.
    static func read(_ response: WireResponse) -> TokenAnswer {
        guard response.body.count <= WireResponse.maximumBody else { return .unreadable("it is larger than 1 MiB") }
        var body = response.body[...]
        if body.starts(with: [0xEF, 0xBB, 0xBF]) { body = body.dropFirst(3) }
        guard let first = body.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) else { return .unreadable("the body is empty") }
        let mediaType = MediaType.essence(response.head.headerFields[.contentType])
        if first == UInt8(ascii: "{") { return json(body) }
        switch mediaType {
        // What begins like a page or like XML is one, whatever it is declared as.
        case "application/x-www-form-urlencoded" where first != UInt8(ascii: "<"): return form(body)
        case "text/plain" where first != UInt8(ascii: "<"): return form(body, requiring: ["access_token", "error"])
        case "text/html", "application/xhtml+xml": return .unreadable("it is a page for people (HTML), not JSON")
        case "text/xml", "application/xml": return .unreadable("it is XML, not JSON")
        default: return .unreadable("it is neither a JSON object nor a form")
        }
    }

    private static func json(_ body: ArraySlice<UInt8>) -> TokenAnswer {
        do {
            guard let object = try JSONValue(parsing: body).object else { return .unreadable("it is not a JSON object") }
            return .members(object)
        } catch {
            return .unreadable(error.description)
        }
    }

    private static func form(_ body: ArraySlice<UInt8>, requiring names: [String] = []) -> TokenAnswer {
        // A final line break is no part of the last value.
        let trimmed = body.prefix(body.count - body.reversed().prefix { $0 == 0x0A || $0 == 0x0D }.count)
        let pairs: [(name: String, value: String)]
        do {
            pairs = try Form.parse(trimmed)
        } catch {
            return .unreadable("it is not a form: \(error.description)")
        }
        var seen: Set<[UInt8]> = []
        for pair in pairs where !seen.insert(Array(pair.name.utf8)).inserted { return .unreadable("a parameter of its form is repeated") }
        if !names.isEmpty, !pairs.contains(where: { pair in names.contains { sameBytes($0, pair.name) } }) {
            return .unreadable("it is neither a JSON object nor a form")
        }
        // RFC 6749 §3.2: a parameter without a value is as if left out.
        return .members(JSONObject(pairs.filter { !$0.value.isEmpty }.map { (name: $0.name, value: .string($0.value)) }))
    }
}

/// Type and subtype of a `Content-Type` value.
enum MediaType {
    /// In lower case and without parameters; `nil` when there is none.
    static func essence(_ field: String?) -> String? {
        guard let field else { return nil }
        let essence = field.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)[0]
        let trimmed = essence.drop { $0 == " " || $0 == "\t" }.lowercased()
        let end = trimmed.lastIndex { $0 != " " && $0 != "\t" }
        guard let end else { return nil }
        return String(trimmed[...end])
    }
}

extension WireResponse {
    /// Scheme and host of an absolute `Location`, where this is a redirect.
    var redirectOrigin: String? {
        guard (300..<400).contains(head.status.code), let location = head.headerFields[.location] else { return nil }
        return (try? EndpointURL(location))?.origin
    }

    /// `Retry-After` in seconds: a number, or a date counted from the answer's own `Date`, else from `now`. At most a day.
    package func retryAfter(now: Int) -> Int? {
        guard let text = head.headerFields[.retryAfter]?.drop(while: { $0 == " " }) else { return nil }
        if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) { return min(Int(text) ?? 86_400, 86_400) }
        guard let until = HTTPDate.seconds(String(text)) else { return nil }
        let from = head.headerFields[.date].flatMap(HTTPDate.seconds) ?? now
        return min(max(until - from, 0), 86_400)
    }
}

/// The IMF-fixdate of RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
package enum HTTPDate {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Seconds since 1970; `nil` when it is no such date.
    package static func seconds(_ text: String) -> Int? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let month = months.firstIndex(of: String(parts[2])),
            let year = Int(parts[3]), (1...31).contains(day), (1970...9999).contains(year)
        else { return nil }
        let time = parts[4].split(separator: ":").compactMap { Int($0) }
        guard time.count == 3, (0...23).contains(time[0]), (0...59).contains(time[1]), (0...60).contains(time[2]) else { return nil }
        return days(year, month + 1, day) * 86_400 + time[0] * 3600 + time[1] * 60 + time[2]
    }

    /// Days since 1970-01-01 in the Gregorian calendar.
    static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
