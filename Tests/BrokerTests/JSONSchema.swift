import Foundation
import OAuth

/// The keywords of JSON Schema that the presets' schema uses; one that it does not know is an error, never ignored.
struct JSONSchema {
    private let root: JSONValue
    private let patterns = Patterns()

    init(_ root: JSONValue) { self.root = root }

    /// What is wrong with `value`, each with its place.
    func errors(in value: JSONValue) -> [String] { errors(value, root, "") }

    private func errors(_ value: JSONValue, _ schema: JSONValue, _ place: String) -> [String] {
        var found: [String] = []
        func wrong(_ what: String) { found.append("\(place.isEmpty ? "the document" : place) \(what)") }
        for (keyword, rule) in schema.object?.members ?? [] {
            switch keyword {
            case "$schema", "$defs", "title", "description": break
            case "$ref": found += errors(value, target(of: rule.string ?? ""), place)
            case "type":
                let allowed = rule.array?.compactMap(\.string) ?? [rule.string ?? ""]
                if !allowed.contains(where: { value.isOf(type: $0) }) { wrong("is not \(allowed.joined(separator: " or "))") }
            case "enum": if rule.array?.contains(value) != true { wrong("is none of its values") }
            case "pattern": if let text = value.string, !patterns.find(rule.string ?? "", in: text) { wrong("does not match: \(text)") }
            case "minLength": if let text = value.string, text.count < rule.integer ?? 0 { wrong("is too short") }
            case "maxLength": if let text = value.string, text.count > rule.integer ?? 0 { wrong("is too long") }
            case "minimum": if let number = value.integer, number < rule.integer ?? 0 { wrong("is too small") }
            case "minItems": if let items = value.array, items.count < rule.integer ?? 0 { wrong("has too few items") }
            case "maxItems": if let items = value.array, items.count > rule.integer ?? 0 { wrong("has too many items") }
            case "uniqueItems": if let items = value.array, Set(items).count < items.count { wrong("has an item twice") }
            case "items":
                for (index, item) in (value.array ?? []).enumerated() { found += errors(item, rule, place + "/" + (item["id"]?.string ?? "\(index)")) }
            case "minProperties": if let object = value.object, object.members.count < rule.integer ?? 0 { wrong("has too few members") }
            case "required":
                for name in rule.array?.compactMap(\.string) ?? [] where value.object != nil && value[name] == nil { wrong("has no \(name)") }
            case "properties":
                for (name, inner) in rule.object?.members ?? [] { if let member = value[name] { found += errors(member, inner, place + "/" + name) } }
            case "additionalProperties":
                for (name, member) in value.object?.members ?? [] where schema["properties"]?[name] == nil {
                    if rule == false { wrong("has a member that is not known: \(name)") } else { found += errors(member, rule, place + "/" + name) }
                }
            case "propertyNames":
                for name in value.object?.names ?? [] { found += errors(.string(name), rule, place + "/" + name) }
            default: wrong("is judged by a keyword that this validator does not know: \(keyword)")
            }
        }
        return found
    }

    private func target(of reference: String) -> JSONValue {
        reference.split(separator: "/").dropFirst().reduce(root) { $0[String($1)] ?? .null }
    }
}

extension JSONValue {
    fileprivate func isOf(type: String) -> Bool {
        switch self {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .number: type == "number" || (type == "integer" && integer != nil)
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }
}

/// Compiled once each.
private final class Patterns {
    private var known: [String: NSRegularExpression] = [:]

    func find(_ pattern: String, in text: String) -> Bool {
        guard let regex = known[pattern] ?? (try? NSRegularExpression(pattern: pattern)) else { return false }
        known[pattern] = regex
        return regex.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
    }
}
