import Broker
import HTTPTypes
import OAuth
import Vault

/// The request that a form's fields would make: a fragment, for the form that is being filled in.
enum PreviewPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let values = FormPreview.values(ConnectionForm(sent: try inbound.form))
        return inbound.page(ConsolePage("Preview", .none, template: "part-preview", ["preview": values]))
    }
}
