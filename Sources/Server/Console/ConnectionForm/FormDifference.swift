import Broker
import OAuth
import Vault

/// Two editors of one connection: what stands there now, and what this form says.
struct FormDifference {
    let rows: [(label: String, theirs: String, mine: String)]

    init(theirs: ConnectionForm, mine: ConnectionForm) {
        var rows: [(label: String, theirs: String, mine: String)] = []
        if theirs.choice != mine.choice { rows.append(("Grant Type", theirs.choice.label, mine.choice.label)) }
        for field in FormField.all where field.name != "id" && !field.isSecret && (mine.shows(field) || theirs.shows(field)) {
            Self.compare(field.label, Self.shown(theirs, field), Self.shown(mine, field), &rows)
        }
        for variable in mine.variables {
            let name = ConnectionForm.variableField(variable.name)
            Self.compare(variable.name, theirs[name], mine[name], &rows)
        }
        self.rows = rows
    }

    /// Empty where the grant type has no such field, as that is how it would be saved.
    private static func shown(_ form: ConnectionForm, _ field: FormField) -> String {
        guard form.shows(field) else { return "" }
        switch field.shape {
        case .choice(let options): return options.first { $0.value == form[field.name] }?.label ?? options[0].label
        case .flag: return form.isTicked(field.name) ? "on" : "off"
        case .apart where field.name == "pkce_none": return form.isTicked(field.name) ? "on" : "off"
        default: return form[field.name]
        }
    }

    private static func compare(_ label: String, _ theirs: String, _ mine: String, _ rows: inout [(label: String, theirs: String, mine: String)]) {
        if !sameBytes(theirs.trimmed, mine.trimmed) { rows.append((label, theirs, mine)) }
    }

    var values: [[String: Any]] {
        rows.map { ["label": $0.label, "theirs": $0.theirs.isEmpty ? "(empty)" : $0.theirs, "mine": $0.mine.isEmpty ? "(empty)" : $0.mine] }
    }
}
