import OAuth
import Vault

/// Grant types that are not enabled.
extension Cause {
    static let grant: [Cause] = [
        Cause(
            "grant_type", "The grant type is not enabled for the client",
            when: { _, said, _ in
                said.isCode(
                    "unauthorized_client", "unsupported_grant_type", "invalid_grant_type", "unsupported_response_type", "unauthorized_grant_type")
                    || said.says(
                        "grant type", "not allowed for direct access grants", "not enabled to retrieve service account",
                        "no client credentials user enabled",
                        "may not use the code flow", "does not have permission to use direct access grants", "grant_type is not supported")
            }
        ).saying { trouble, said, facts in
            let grantType = trouble.stage == .refresh ? "refresh_token" : facts.oauth.grantType.rawValue
            let isOffered = facts.metadata?.grantTypesSupported.map { $0.contains(grantType) } ?? true
            var detail = "\(facts.providerName) does not let this client use the grant type \(grantType)."
            if said.isCode("unsupported_grant_type") || !isOffered {
                detail = "\(facts.providerName) does not offer the grant type \(grantType) at this Access Token URL."
            }
            if said.says("no client credentials user enabled") {
                detail = "Salesforce needs to know as which user the client works when no person is there."
            }
            var fix =
                facts.provider.map { "At \($0.name): \($0.grantTypes)." }
                ?? "Enable \(grantType) for the client at the provider. Where it is not offered, choose another grant type."
            if said.isCode("unsupported_grant_type") { fix += " Check, too, that the Access Token URL is the provider's token endpoint." }
            if grantType == "refresh_token" { fix += " Until then, people connect again whenever a token ends." }
            return Words(detail, fix: fix)
        }
    ]
}
