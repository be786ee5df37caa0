/// Which browser a `User-Agent` speaks for, as far as it matters to who looks for a session that is not theirs.
enum BrowserText {
    /// `Firefox on Linux`; of what is no browser the name of the program.
    static func name(_ userAgent: String) -> String {
        guard !userAgent.isEmpty else { return "Unknown program" }
        func first(_ table: [(mark: String, name: String)]) -> String? { table.first { userAgent.contains($0.mark) }?.name }
        // Each but the last says what it is compatible with, too: the order decides.
        let browser = first([
            ("Edg/", "Edge"), ("EdgA/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
        ])
        let system = first([
            ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"),
            ("Linux", "Linux"),
        ])
        guard let browser else { return String(userAgent.prefix { $0 != "/" && $0 != " " }.prefix(40)) }
        return system.map { "\(browser) on \($0)" } ?? browser
    }
}
