import Broker
import OAuth

/// What is wrong with a request's body, field by field.
final class FieldErrors {
    private(set) var list: [Problem.FieldError] = []

    func add(_ pointer: String, _ detail: String) { list.append(.init(pointer: pointer, detail: detail)) }

    /// - Throws: `invalid_request` naming every field, when there is one.
    func check() throws(Problem) {
        guard let first = list.first else { return }
        throw Problem(.invalidRequest, "the request is not right: \(first.pointer.isEmpty ? "the body" : first.pointer) \(first.detail)", errors: list)
    }
}

/// Takes an object's members one by one, each with its type and bounds; what is left over is unknown.
struct ObjectReader {
    static let longestText = 2048

    private var object: JSONObject
    private let pointer: String
    private let errors: FieldErrors

    init(_ object: JSONObject, at pointer: String = "", errors: FieldErrors) {
        self.object = object
        self.pointer = pointer
        self.errors = errors
    }

    private func at(_ name: String) -> String { pointer + "/" + pointerToken(name) }

    func wrong(_ name: String, _ detail: String) { errors.add(at(name), detail) }

    /// `nil` when absent or null.
    mutating func take(_ name: String) -> JSONValue? {
        guard let value = object[name] else { return nil }
        object[name] = nil
        return value.isNull ? nil : value
    }

    /// Whether the member is there, null included.
    func has(_ name: String) -> Bool { object[name] != nil }

    func holdsArray(_ name: String) -> Bool { object[name]?.array != nil }

    mutating func text(_ name: String, required: Bool = false, longest: Int = longestText, lines: Bool = false) -> String? {
        guard let value = take(name) else {
            if required { wrong(name, "is required") }
            return nil
        }
        guard let text = value.string else {
            wrong(name, "must be a text")
            return nil
        }
        return judge(text, name, longest: longest, lines: lines) ? text : nil
    }

    private func judge(_ text: String, _ name: String, longest: Int, lines: Bool) -> Bool { judge(text, at: at(name), longest: longest, lines: lines) }

    private func judge(_ text: String, at place: String, longest: Int, lines: Bool) -> Bool {
        if text.isEmpty { errors.add(place, "must not be empty; leave it out instead") }
        if text.utf8.count > longest { errors.add(place, "must be at most \(longest) bytes") }
        let hasControl = text.unicodeScalars.contains { scalar in
            (scalar.value < 0x20 && !(lines && (scalar.value == 0x0A || scalar.value == 0x0D || scalar.value == 0x09))) || (0x7F...0x9F).contains(scalar.value)
        }
        if hasControl { errors.add(place, "must not hold control characters") }
        return !text.isEmpty && text.utf8.count <= longest && !hasControl
    }

    /// A name that pages show to people: no character that turns the text around it. SEC-104.
    mutating func name(_ name: String, required: Bool = false) -> String? {
        guard let text = text(name, required: required, longest: 200) else { return nil }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .format }) else {
            wrong(name, "must not hold invisible characters")
            return nil
        }
        return text
    }

    mutating func choice(_ name: String, _ allowed: [String], required: Bool = false) -> String? {
        guard let text = text(name, required: required) else { return nil }
        guard allowed.contains(text) else {
            wrong(name, "must be one of \(allowed.joined(separator: ", "))")
            return nil
        }
        return text
    }

    mutating func flag(_ name: String) -> Bool? {
        guard let value = take(name) else { return nil }
        guard let flag = value.bool else {
            wrong(name, "must be true or false")
            return nil
        }
        return flag
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int>) -> Int? {
        guard let value = take(name) else { return nil }
        guard let number = value.integer, range.contains(number) else {
            wrong(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    mutating func texts(_ name: String, atMost count: Int = 100, longest: Int = 512) -> [String]? {
        guard let value = take(name) else { return nil }
        guard let values = value.array else {
            wrong(name, "must be an array of texts")
            return nil
        }
        guard values.count <= count else {
            wrong(name, "must hold at most \(count) entries")
            return nil
        }
        var texts: [String] = []
        for (index, value) in values.enumerated() {
            if let text = value.string {
                if judge(text, at: at(name) + "/\(index)", longest: longest, lines: false) { texts.append(text) }
            } else {
                errors.add(at(name) + "/\(index)", "must be a text")
            }
        }
        return texts
    }

    mutating func map(_ name: String, atMost count: Int = 50, longest: Int = longestText, mayBeEmpty: Bool = false) -> [String: String]? {
        guard let value = take(name) else { return nil }
        guard let object = value.object else {
            wrong(name, "must be an object of texts")
            return nil
        }
        guard object.members.count <= count else {
            wrong(name, "must hold at most \(count) members")
            return nil
        }
        var map: [String: String] = [:]
        for (key, value) in object.members {
            let place = at(name) + "/" + pointerToken(key)
            if key.isEmpty || key.utf8.count > 200 || key.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) {
                errors.add(place, "needs a name of 1 to 200 bytes without control characters")
            } else if let text = value.string {
                if text.utf8.count > longest || text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) {
                    errors.add(place, "must be at most \(longest) bytes without control characters")
                }
                map[key] = text
            } else {
                errors.add(place, "must be a text")
            }
        }
        return map
    }

    mutating func object(_ name: String, required: Bool = false) -> JSONObject? {
        guard let value = take(name) else {
            if required { wrong(name, "is required") }
            return nil
        }
        guard let object = value.object else {
            wrong(name, "must be an object")
            return nil
        }
        return object
    }

    /// Names what nobody took.
    func finish() {
        for name in object.names { errors.add(at(String(ProviderText.clean(name, limit: 80))), "is not known") }
    }
}

/// RFC 7396.
func mergePatch(_ target: JSONValue, _ patch: JSONValue) -> JSONValue {
    guard case .object(let changes) = patch else { return patch }
    var result = target.object ?? JSONObject()
    for (name, value) in changes.members {
        if value.isNull {
            result[name] = nil
        } else {
            result[name] = mergePatch(result[name] ?? .null, value)
        }
    }
    return .object(result)
}
