import OAuth

/// A form as it was sent: names may repeat, as ticked boxes do.
struct ConsoleForm: Sendable {
    /// As they were sent.
    let pairs: [(name: String, value: String)]

    init(_ pairs: [(name: String, value: String)]) { self.pairs = pairs }

    /// The first of a name, with the line ends of this system; `""` when there is none.
    subscript(_ name: String) -> String { pairs.first { $0.name == name }?.value.replacing("\r\n", with: "\n") ?? "" }

    /// Without white space around it: what is pasted brings some.
    func trimmed(_ name: String) -> String {
        String(self[name].trimmingPrefix(while: \.isWhitespace).reversed().trimmingPrefix(while: \.isWhitespace).reversed())
    }

    func has(_ name: String) -> Bool { pairs.contains { $0.name == name } }

    func all(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

    /// Which button was pressed; `""` for the first.
    var button: String { self["button"] }
}
