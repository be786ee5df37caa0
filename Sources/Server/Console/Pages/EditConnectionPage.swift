import Broker
import HTTPTypes
import OAuth
import Vault

/// The form again, with a connection's settings in it.
enum EditConnectionPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let connection = try await inbound.broker.connection(id: try inbound.path("id"), for: try inbound.caller)
        return try await page(view(ConnectionForm(connection.settings), of: connection, inbound), inbound)
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let sent = try inbound.form
        var connection = try await inbound.broker.connection(id: try inbound.path("id"), for: try inbound.caller)
        let form = ConnectionForm(sent: sent)
        // What the form was made from: an unreadable one is older than all.
        let revision = Int(sent["etag"]) ?? 0
        switch sent.button {
        case "preview", "discover":
            // The form still stands for the state that it was made from.
            connection.revision = revision
            let made = connection
            if sent.button == "preview" { return try await page(view(form, of: made, inbound), inbound) }
            return try await NewConnectionPage.discover(form, inbound) { form, errors, filled in
                var view = view(form, errors, of: made, inbound)
                view.filled = filled
                return view
            }
        default: return try await save(form, connection, revision, inbound)
        }
    }

    private static func save(_ form: ConnectionForm, _ connection: Connection, _ etag: Int, _ inbound: Inbound) async throws(Problem) -> Outbound {
        do throws(Problem) {
            let draft = try form.draft(agentAccess: connection.settings.agentAccess)
            if form["keep_grants"].isEmpty, etag == connection.revision, connection.losesGrants(with: draft.settings),
                let count = try await grantsInUse(connection, inbound)
            {
                return try await page(asking(count, form, connection, inbound), inbound, status: .conflict)
            }
            return try await update(form, draft, connection, etag, inbound)
        } catch {
            guard !error.errors.isEmpty || error.code == .invalidRequest else { throw error }
            // Not the revision that is there now: who was faster is to be noticed still.
            var made = connection
            made.revision = etag
            var view = view(form, FormErrors(error, in: form), of: made, inbound)
            if !form["keep_grants"].isEmpty { view.endangered = "the grants" }
            return try await page(view, inbound, status: .init(code: error.code.status))
        }
    }

    private static func update(
        _ form: ConnectionForm, _ draft: ConnectionDocument.Draft, _ connection: Connection, _ revision: Int, _ inbound: Inbound
    ) async throws(Problem) -> Outbound {
        // Another grant type takes none, and its field was not there to say so.
        let losesPassword = form.isTicked("clear_password") || form.choice != .password && connection.password != nil
        do throws(Problem) {
            _ = try await inbound.broker.updateConnection(
                id: connection.id, settings: draft.settings,
                clientSecret: change(draft.clientSecret, isCleared: form.isTicked("clear_client_secret")),
                password: change(draft.password, isCleared: losesPassword), keepGrants: form["keep_grants"] == "true", expectedRevision: revision,
                by: try inbound.caller)
            return inbound.see(ConnectionHead.path(connection.id), done: "saved")
        } catch {
            guard error.code == .preconditionFailed else { throw error }
            return try await conflict(form, draft.settings, connection.id, inbound)
        }
    }

    private static func change<Kind>(_ typed: Secret<Kind>?, isCleared: Bool) -> Broker.SecretChange<Kind> {
        if let typed { return .set(typed) }
        return isCleared ? .clear : .keep
    }

    /// Somebody else saved between this form's loading and its sending: both are shown, and the next sending is from what is there now.
    private static func conflict(
        _ form: ConnectionForm, _ settings: ConnectionSettings, _ id: String, _ inbound: Inbound
    ) async throws(Problem) -> Outbound {
        let connection = try await inbound.broker.connection(id: id, for: try inbound.caller)
        let difference = FormDifference(theirs: ConnectionForm(connection.settings), mine: ConnectionForm(settings))
        // Sent twice: the first made it so.
        if difference.rows.isEmpty, !form.changesSecrets { return inbound.see(ConnectionHead.path(connection.id), done: "saved") }
        var view = view(form, of: connection, inbound)
        view.conflict = (difference, TimeText.value(connection.updatedAt, from: inbound.broker.now))
        return try await page(view, inbound, status: .preconditionFailed)
    }

    // MARK: Grants

    /// In words; `nil` = none that would be lost.
    private static func grantsInUse(_ connection: Connection, _ inbound: Inbound) async throws(Problem) -> String? {
        let most = 100
        var count = 0
        for state in ["active", "expired"] {
            count += try await inbound.broker.grants(
                connectionID: connection.id, subject: nil, state: state, after: nil, limit: most, for: try inbound.caller
            ).count
        }
        guard count > 0 else { return nil }
        if count >= most { return "\(count) grants or more" }
        return count == 1 ? "1 grant" : "\(count) grants"
    }

    private static func asking(_ count: String, _ form: ConnectionForm, _ connection: Connection, _ inbound: Inbound) -> ConnectionFormView {
        var errors = FormErrors()
        errors.add("keep_grants", "a URL leads to another host now; say what becomes of \(count)", in: form)
        var view = view(form, errors, of: connection, inbound)
        view.endangered = count
        return view
    }

    // MARK: The page

    private static func view(
        _ form: ConnectionForm, _ errors: FormErrors = FormErrors(), of connection: Connection, _ inbound: Inbound
    ) -> ConnectionFormView {
        ConnectionFormView(form: form, errors: errors, connection: connection, callbackURL: inbound.broker.callbackURL(connectionID: connection.id))
    }

    static func page(_ view: ConnectionFormView, _ inbound: Inbound, status: HTTPResponse.Status = .ok) async throws(Problem) -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let path = ConnectionHead.path(head.connection.id)
        var page = head.page(.edit, view.values(action: ConnectionHead.path(head.connection.id, .edit), cancel: path), template: "connection-form")
        page.status = status
        return inbound.page(page)
    }
}
