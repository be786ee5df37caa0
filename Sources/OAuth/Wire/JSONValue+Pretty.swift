extension JSONValue {
    /// Two spaces a level, members in order, for people who read JSON.
    package var pretty: String {
        var text = ""
        write(to: &text, indent: "")
        return text
    }

    private func write(to text: inout String, indent: String) {
        let inner = indent + "  "
        switch self {
        case .array(let values) where !values.isEmpty:
            text += "[\n"
            for (index, value) in values.enumerated() {
                text += inner
                value.write(to: &text, indent: inner)
                text += index == values.count - 1 ? "\n" : ",\n"
            }
            text += indent + "]"
        case .object(let object) where !object.members.isEmpty:
            text += "{\n"
            for (index, member) in object.members.enumerated() {
                text += inner + String(decoding: JSONValue.string(member.name).serialized(), as: UTF8.self) + ": "
                member.value.write(to: &text, indent: inner)
                text += index == object.members.count - 1 ? "\n" : ",\n"
            }
            text += indent + "}"
        default: text += String(decoding: serialized(), as: UTF8.self)
        }
    }
}
