import Broker
import HTTPTypes
import OAuth
import Vault

/// What is wrong with a connection, and the button that mends it.
enum DoctorPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        let diagnosis = try await inbound.broker.lastDiagnosis(connectionID: id, for: try inbound.caller)
        let connection = diagnosis.connection
        let head = try await ConnectionHead.load(inbound)
        let now = inbound.broker.now
        func group(_ states: Check.State..., title: String) -> [String: Any]? {
            let found = diagnosis.checks.filter { states.contains($0.state) }
            guard !found.isEmpty else { return nil }
            return ["title": title, "checks": found.map { value($0, of: connection, now: now) }]
        }
        let groups = [
            group(.bad, title: "Does not work"), group(.warn, title: "Needs a look"), group(.unknown, title: "Not known yet"),
            group(.ok, title: "In order"),
        ].compactMap(\.self)
        var values: [String: Any] = [
            "revision": String(connection.revision), "groups": groups, "verdict": verdict(diagnosis), "fetchesAlone": connection.fetchesAlone,
            "isMachine": connection.settings.oauth.grantType == .clientCredentials,
        ]
        if diagnosis.isLive { values["checked"] = TimeText.value(diagnosis.at, from: now) }
        return inbound.page(head.page(.doctor, values, template: "doctor"))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        let form = try inbound.form
        let caller = try inbound.caller
        let path = ConnectionHead.path(id, .doctor)
        switch form.button {
        case "probe":
            _ = try await inbound.broker.diagnose(connectionID: id, probe: true, by: caller)
            return inbound.see(path)
        case "apply":
            let diagnosis = try await inbound.broker.lastDiagnosis(connectionID: id, for: caller)
            guard form["revision"] == String(diagnosis.connection.revision) else {
                throw Problem(
                    .preconditionFailed, "the connection was changed since this page was loaded", fix: "look at the doctor's page again, then apply")
            }
            try await DoctorAPI.apply([form["check"]], of: diagnosis, inbound)
            return inbound.see(path, done: "doctor-applied")
        default:
            _ = try await inbound.broker.diagnose(connectionID: id, probe: false, by: caller)
            return inbound.see(path)
        }
    }

    // MARK: Parts

    private static func verdict(_ diagnosis: Diagnosis) -> [String: Any] {
        func count(_ state: Check.State) -> Int { diagnosis.checks.filter { $0.state == state }.count }
        let (bad, warn) = (count(.bad), count(.warn))
        func things(_ count: Int) -> String { count == 1 ? "One thing" : "\(count) things" }
        if bad > 0 {
            return [
                "kind": "bad", "text": "\(things(bad)) \(bad == 1 ? "keeps" : "keep") this connection from working.",
                "next": "Each is explained below, with what to do.",
            ]
        }
        if warn > 0 {
            return [
                "kind": "warn", "text": "\(things(warn)) \(warn == 1 ? "needs" : "need") a look.",
                "next": "Each is explained below, with what to do.",
            ]
        }
        return [
            "kind": "good", "text": "Nothing is wrong as far as can be told.",
            "next": diagnosis.isLive
                ? "The provider was looked at, too." : "The provider was not looked at yet: Check now does that, and sends no secret.",
        ]
    }

    private static func value(_ check: Check, of connection: Connection, now: Timestamp) -> [String: Any] {
        let (kind, label): (String, String) =
            switch check.state {
            case .bad: ("bad", "Does not work")
            case .warn: ("warn", "Look")
            case .unknown: ("quiet", "Not known")
            case .ok: ("good", "In order")
            }
        var values: [String: Any] = [
            "id": check.id, "kind": kind, "label": label, "title": check.title, "detail": check.detail,
            "values": check.values.enumerated().map { index, value in ["id": "\(check.id)-\(index)", "label": value.label, "text": value.text] },
        ]
        if let fix = check.fix { values["fix"] = fix }
        if let link = check.link { values["link"] = ["title": link.title, "url": link.url] }
        if let evidence = check.evidence {
            var shown: [String: Any] = ["received": evidence.received]
            if !evidence.sent.isEmpty { shown["sent"] = evidence.sent }
            if let at = evidence.at { shown["at"] = TimeText.value(at, from: now) }
            values["evidence"] = shown
        }
        if let patch = check.apply { values["apply"] = ["changes": changes(patch, of: connection)] }
        return values
    }

    /// Each setting that a patch changes, before and after.
    private static func changes(_ patch: JSONObject, of connection: Connection) -> [[String: Any]] {
        let before = JSONValue.object(ConnectionDocument.editable(connection.settings))
        let after = mergePatch(before, .object(patch))
        func changes(_ before: JSONValue?, _ after: JSONValue?, _ patch: JSONObject, _ name: String) -> [[String: Any]] {
            patch.members.flatMap { member -> [[String: Any]] in
                let name = name.isEmpty ? member.name : name + "." + member.name
                if let inner = member.value.object { return changes(before?[member.name], after?[member.name], inner, name) }
                return [["name": name, "before": shown(before?[member.name]), "after": shown(after?[member.name])]]
            }
        }
        return changes(before, after, patch, "")
    }

    private static func shown(_ value: JSONValue?) -> String {
        switch value {
        case nil, .null: "not set"
        case .string(" "): "a space"
        case .string(let text): text.isEmpty ? "empty" : text
        case .array(let values): values.isEmpty ? "none" : values.compactMap(\.string).joined(separator: " ")
        case let other?: String(decoding: other.serialized(), as: UTF8.self)
        }
    }
}
