import OAuth

/// What the sign-in page keeps while somebody signs in: where they were going, and what they had typed there.
struct SignInPrompt: Sendable {
    /// Where a form was sent to, or the page that was asked for.
    var next = ConsolePath.home
    /// What a form held when its session was over.
    var typed: [(name: String, value: String)] = []
    /// It held more than is kept.
    var isCut = false

    /// Typed again rather than sent back in a page. SEC-52.
    static let secrets: Set = ["client_secret", "password", "key", "access_token", "refresh_token"]
    /// Of the session that is over.
    private static let dead: Set = ["csrf", "form", "confirm"]
    static let limit = 256 << 10
    private static let mark = "resume."

    init(next: ConsolePath = .home) { self.next = next }

    /// - Parameter form: that came without a session to the path `next`.
    init(unsent form: ConsoleForm, to next: ConsolePath) {
        self.next = next
        keep(form.pairs.filter { !Self.dead.contains($0.name) && !Self.secrets.contains($0.name) })
    }

    /// - Parameter form: the sign-in page's own.
    init(signIn form: ConsoleForm) {
        next = ConsolePath(form["next"]) ?? .home
        isCut = form["cut"] == "1"
        keep(form.pairs.filter { $0.name.hasPrefix(Self.mark) }.map { (name: String($0.name.dropFirst(Self.mark.count)), value: $0.value) })
    }

    private mutating func keep(_ pairs: [(name: String, value: String)]) {
        guard pairs.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count }) <= Self.limit else {
            isCut = true
            return
        }
        typed = pairs
    }

    /// For the sign-in page: `resume.NAME`.
    var fields: [[String: Any]] { typed.map { ["name": Self.mark + $0.name, "value": $0.value] } }
}
