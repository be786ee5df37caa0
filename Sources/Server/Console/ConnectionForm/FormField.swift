/// One field of the form: what it is called, where its value stands in a connection's document, and when it is shown.
struct FormField: Sendable {
    /// How the text of the form and the document's value are each other.
    enum Shape: Sendable {
        case text
        /// A text of several lines.
        case prose
        /// Several words, white space between.
        case words
        /// One on each line.
        case lines
        /// A name and a value on each line, with this between.
        case pairs(Character)
        case flag, number, time, json
        /// Never shown again.
        case secret
        /// One of these; the first is what a document leaves out.
        case choice([Option])
        /// No member of the document: the form makes something else of it.
        case apart
    }
    struct Option: Sendable {
        let value: String
        let label: String
        var help: String?
        /// Stands under more options.
        var isRare = false
    }
    enum Place: Sendable { case top, oauth }

    /// In the form, and in the document.
    let name: String
    let label: String
    let hint: String
    let shape: Shape
    let place: Place
    /// The grant types that have it; what is not shown is not read.
    let choices: Set<GrantChoice>
    /// Under more options.
    let isRare: Bool
    let placeholder: String?

    init(
        _ name: String, _ label: String, _ shape: Shape, _ place: Place = .oauth, for choices: Set<GrantChoice> = Set(GrantChoice.allCases),
        rare: Bool = false, placeholder: String? = nil, hint: String
    ) {
        self.name = name
        self.label = label
        self.shape = shape
        self.place = place
        self.choices = choices
        isRare = rare
        self.placeholder = placeholder
        self.hint = hint
    }

    /// Classes that show and hide it; none where every grant type has it.
    var groups: String {
        choices.count == GrantChoice.allCases.count ? "" : GrantChoice.allCases.filter(choices.contains).map(\.group).joined(separator: " ")
    }

    var pointer: String { (place == .oauth ? "/oauth/" : "/") + name }

    var isSecret: Bool { if case .secret = shape { true } else { false } }

    static func find(_ name: String) -> FormField? { byName[name] }

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
