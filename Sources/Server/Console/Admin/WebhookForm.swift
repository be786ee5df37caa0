import Broker
import Vault

/// The form of a new webhook, as it was typed.
struct WebhookForm {
    private(set) var url = ""
    private var takesAll = true
    private var events: [String] = []

    init() {}

    init(_ form: ConsoleForm) {
        url = form.trimmed("url")
        takesAll = form["which"] != "some"
        events = form.all("events")
    }

    static let labels = ["url": "URL", "events": "Events"]

    /// - Returns: `nil` = all.
    /// - Throws: `invalid_request` with the pointers of the API's fields.
    func kinds() throws(Problem) -> Set<WebhookEvent.Kind>? {
        var faults: [Problem.FieldError] = []
        if url.isEmpty { faults.append(.init(pointer: "/url", detail: "is required")) }
        if url.utf8.count > ObjectReader.longestText { faults.append(.init(pointer: "/url", detail: "must be at most \(ObjectReader.longestText) bytes")) }
        let kinds = Set(events.compactMap(WebhookEvent.Kind.init(rawValue:)))
        if !takesAll, kinds.isEmpty { faults.append(.init(pointer: "/events", detail: "tick at least one, or choose all")) }
        guard faults.isEmpty else { throw Problem(.invalidRequest, "the webhook cannot be made as asked", errors: faults) }
        return takesAll ? nil : kinds
    }

    func faults(of problem: Problem) -> FieldFaults {
        var faults = FieldFaults()
        var problem = problem
        // At the field, with what can be done.
        if let fix = problem.fix { problem.errors = problem.errors.map { .init(pointer: $0.pointer, detail: "\($0.detail); \(fix)") } }
        faults.add(problem, fields: Set(Self.labels.keys)) { _, _ in nil }
        return faults
    }

    var values: [String: Any] {
        [
            "url": url, "takes_all": takesAll,
            "events": WebhookEvent.Kind.allCases.map {
                ["value": $0.rawValue, "name": WebhookWords.name($0), "help": WebhookWords.help($0), "selected": events.contains($0.rawValue)] as [String: Any]
            },
        ]
    }
}
