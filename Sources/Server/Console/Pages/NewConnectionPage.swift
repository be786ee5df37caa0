import Broker
import HTTPTypes
import OAuth
import Vault

/// Step two: the form, with what is known about the provider filled in.
enum NewConnectionPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let name = String(inbound.asked("name").trimmed.prefix(200))
        let id = inbound.asked("preset")
        var form: ConnectionForm
        if id.isEmpty {
            form = ConnectionForm(name: name.isEmpty ? "My API" : name)
        } else {
            guard let preset = Preset.find(id) else {
                throw Problem(.notFound, "there is no preset \(ProviderText.clean(id, limit: 80))", fix: "choose one in the gallery, or Custom")
            }
            form = ConnectionForm(preset: preset, name: name.isEmpty ? preset.name : name)
        }
        form["id"] = try await FreeID.from(form["name"], inbound)
        return page(view(form, inbound), inbound)
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let sent = try inbound.form
        var form = sent.has("grant_type") ? ConnectionForm(sent: sent) : fromGallery(sent)
        if form["id"].isEmpty { form["id"] = try await FreeID.from(form["name"], inbound) }
        switch sent.button {
        case "preview": return page(view(form, inbound), inbound)
        case "discover":
            return try await discover(form, inbound) { form, errors, filled in
                view(form, inbound, errors, filled: filled)
            }
        default: return try await save(form, inbound)
        }
    }

    /// The gallery asks for an issuer alone; the rest is as in an empty form.
    private static func fromGallery(_ sent: ConsoleForm) -> ConnectionForm {
        let issuer = FormDiscovery.issuer(sent.trimmed("issuer"))
        var form = ConnectionForm(name: (try? EndpointURL(issuer))?.host ?? "")
        form["issuer"] = issuer
        return form
    }

    private static func save(_ form: ConnectionForm, _ inbound: Inbound) async throws(Problem) -> Outbound {
        do throws(Problem) {
            let draft = try form.draft()
            let id = draft.id ?? form["id"]
            var visit = try inbound.visit
            // Back at the form, whoever types something else means another connection.
            visit.form = ConsoleForm([(name: "form", value: visit.form["form"].prefix(16) + "." + form.digest)])
            let (saved, isFirst) = try await inbound.faces.sentForms.once(visit) { () async throws(Problem) -> String in
                try await inbound.broker.addConnection(
                    id: id, settings: draft.settings, clientSecret: draft.clientSecret, password: draft.password, by: try inbound.caller
                ).id
            }
            if isFirst, try inbound.form.button != "save" { return await connect(saved, inbound) }
            return inbound.see(ConnectionHead.path(saved), done: created(draft))
        } catch {
            guard !error.errors.isEmpty || error.code == .invalidRequest else { throw error }
            if error.code == .conflict { return page(try await renamed(form, inbound), inbound, status: .conflict) }
            return page(view(form, inbound, FormErrors(error, in: form)), inbound, status: .init(code: error.code.status))
        }
    }

    /// What to do next.
    private static func created(_ draft: ConnectionDocument.Draft) -> String {
        switch draft.settings.oauth.grantType {
        case .authorizationCode: "created"
        case .password where draft.settings.oauth.username == nil || draft.password == nil: "created-typed"
        case .password, .clientCredentials: "created-alone"
        }
    }

    /// It is saved, whatever comes of this.
    private static func connect(_ id: String, _ inbound: Inbound) async -> Outbound {
        do throws(Problem) {
            let connection = try await inbound.broker.connection(id: id, for: try inbound.caller)
            return try await ConnectionPage.begin(connection, Broker.ConnectOptions(), inbound)
        } catch {
            return inbound.see(ConnectionHead.path(id, .doctor), done: "created-refused")
        }
    }

    /// Somebody else took the id meanwhile, and with it the Callback URL that was shown.
    private static func renamed(_ form: ConnectionForm, _ inbound: Inbound) async throws(Problem) -> ConnectionFormView {
        var form = form
        let taken = form["id"]
        form["id"] = try await FreeID.from(taken, inbound)
        var errors = FormErrors()
        let instead = "if you have registered the Callback URL of \(taken), register the one below instead"
        errors.add("id", "\(taken) is taken. \(form["id"]) is free and stands here now: \(instead)", in: form)
        return view(form, inbound, errors)
    }

    // MARK: The page

    private static func view(
        _ form: ConnectionForm, _ inbound: Inbound, _ errors: FormErrors = FormErrors(), filled: FormDiscovery? = nil
    ) -> ConnectionFormView {
        ConnectionFormView(form: form, errors: errors, callbackURL: inbound.broker.callbackURL(connectionID: form["id"]), filled: filled)
    }

    private static func page(_ view: ConnectionFormView, _ inbound: Inbound, status: HTTPResponse.Status = .ok) -> Outbound {
        let title = view.form.preset.map { "Connect to \($0.name)" } ?? "Connect to an API"
        return inbound.page(
            ConsolePage(
                title, .connections, template: "connection-form", view.values(action: "/console/new/form", cancel: "/console/new"), status: status,
                crumbs: [(title: "Connections", path: "/console"), (title: "New connection", path: "/console/new")]))
    }

    /// Asks the provider for its metadata and shows the form with what came of it; nothing is saved.
    static func discover(
        _ form: ConnectionForm, _ inbound: Inbound, view: (ConnectionForm, FormErrors, FormDiscovery?) -> ConnectionFormView
    ) async throws(Problem) -> Outbound {
        var form = form
        form["issuer"] = FormDiscovery.issuer(form["issuer"])
        var errors = FormErrors()
        do throws(Problem) {
            guard !form["issuer"].isEmpty else {
                throw Problem(.invalidRequest, "is empty: type the provider's issuer, such as https://login.example.com")
            }
            let metadata = try await inbound.broker.discover(issuer: FormPreview.filled(form["issuer"], in: form), for: try inbound.caller)
            let filled = FormDiscovery(metadata, into: &form)
            return try await show(view(form, errors, filled), inbound)
        } catch {
            guard ![.internal, .unavailable, .forbidden].contains(error.code) else { throw error }
            errors.add("issuer", error.detail, in: form)
            errors.fix = error.fix
            return try await show(view(form, errors, nil), inbound, status: .unprocessableContent)
        }
    }

    private static func show(
        _ view: ConnectionFormView, _ inbound: Inbound, status: HTTPResponse.Status = .ok
    ) async throws(Problem) -> Outbound {
        if view.connection != nil { return try await EditConnectionPage.page(view, inbound, status: status) }
        return page(view, inbound, status: status)
    }
}
