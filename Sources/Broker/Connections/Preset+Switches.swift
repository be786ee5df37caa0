import OAuth
import Vault

extension ProfileSettings {
    /// The switches among a preset's members, by the names that a connection has for them.
    /// - Parameters:
    ///   - variables: fill `{name}` in parameters and headers.
    ///   - clientID: fills `{client_id}` there, whatever it is made of: they are encoded, or judged as a field's value.
    init(preset: Preset, variables: [String: String] = [:], clientID: String? = nil) {
        self.init()
        let document = preset.document
        var values = variables
        if let clientID { values["client_id"] = clientID }
        func filled(_ name: String) -> [String: String]? {
            preset.strings(name)?.mapValues { URLTemplate($0).filled(with: values) ?? $0 }
        }
        scopeSeparator = document["scope_separator"]?.string
        rawScope = document["raw_scope"]?.bool
        responseMode = document["response_mode"]?.string
        authorizationParams = filled("authorization_params")
        tokenParams = filled("token_params")
        refreshParams = filled("refresh_params")
        tokenHeaders = filled("token_headers")
        parameterNames = preset.strings("parameter_names")
        tokenRequestFormat = document["token_request_format"]?.string
        tokenRequestMethod = document["token_request_method"]?.string
        codeParameter = document["code_parameter"]?.string
        stateParameter = document["state_parameter"]?.string
        redirectURIInExchange = document["redirect_uri_in_exchange"]?.bool
        stateInExchange = document["state_in_exchange"]?.bool
        clientIDInBody = document["client_id_in_body"]?.bool
        basicUser = document["basic_user"]?.string
        clientAuthenticationForRefresh = document["client_auth_for_refresh"]?.string
        responsePath = document["response_path"]?.string
        tokenResponseMembers = preset.strings("token_response_members")
        errorPath = document["error_path"]?.string
        errorAliases = preset.strings("error_aliases")
        tokenTypeAliases = document["token_type_aliases"] == nil ? nil : preset.texts("token_type_aliases")
        expiresInUnit = document["expires_in_unit"]?.string
        zeroMeansNever = document["zero_means_never"]?.bool
        defaultExpiresIn = document["default_expires_in"]?.integer
        refreshTokenPolicy = document["refresh_token_policy"]?.string
        scopeInRefresh = document["scope_in_refresh"]?.bool
        rotationGrace = document["rotation_grace"]?.integer
        refreshMargin = document["refresh_margin"]?.integer
    }
}
