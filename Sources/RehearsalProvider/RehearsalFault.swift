package import OAuth

/// One way to misbehave, for one client: always, or so many times, everywhere or for one grant type.
package struct RehearsalFault: Sendable {
    package enum Kind: String, Sendable, CaseIterable {
        // Before anything is done
        /// Waits `value` seconds, which may have a fraction; then goes on, though its client may have gone.
        case slow
        case droppedBefore = "dropped_before"
        case status500 = "status_500"
        case status503 = "status_503"
        /// `value`: seconds of `Retry-After`.
        case status429 = "status_429"
        case html
        /// `value`: where the token endpoint redirects to.
        case redirect
        /// `value`: `{"status", "content_type", "body", "headers"}`, sent as it is.
        case answer
        /// `value`: an error code, sent with status 400.
        case error
        // After tokens were made
        case droppedAfter = "dropped_after"
        case errorWith200 = "error_with_200"
        case formEncoded = "form_encoded"
        case noExpiresIn = "no_expires_in"
        case stringExpiresIn = "string_expires_in"
        /// `value`: the scope that is granted.
        case narrowedScope = "narrowed_scope"
        case noRefreshToken = "no_refresh_token"
        /// `value`: the `token_type` that is sent.
        case tokenType = "token_type"
        case bigBody = "big_body"
        /// `value`: claims that replace an ID token's; null takes one out.
        case idToken = "id_token"
        // In the authorization response
        /// `value`: the `iss` that is sent.
        case wrongIss = "wrong_iss"
        case noIss = "no_iss"
        case wrongState = "wrong_state"
        case noState = "no_state"
        /// `value`: the query that is sent, with `{state}` and `{code}` filled in.
        case redirectQuery = "redirect_query"
        // At the authorization endpoint
        case refuseS256 = "refuse_s256"
        // At the revocation endpoint
        /// `value`: the status.
        case revocationStatus = "revocation_status"
    }

    package var kind: Kind
    package var value: JSONValue
    /// How often it is left; `nil` = always.
    package var times: Int?
    /// A grant type; `nil` = all.
    package var on: String?

    package init(_ kind: Kind, value: JSONValue = .null, times: Int? = nil, on: String? = nil) {
        self.kind = kind
        self.value = value
        self.times = times
        self.on = on
    }

    /// A name, or `{"fault", "value"?, "times"?, "on"?}`.
    init(_ json: JSONValue) throws(RehearsalError) {
        let object = json.object ?? ["fault": json]
        guard let kind = object["fault"]?.string.flatMap(Kind.init(rawValue:)) else {
            throw RehearsalError("a fault must be one of " + Kind.allCases.map(\.rawValue).joined(separator: ", "))
        }
        self.init(kind, value: object["value"] ?? .null, times: object["times"]?.integer, on: object["on"]?.string)
    }

    var json: JSONValue {
        var object: JSONObject = ["fault": .string(kind.rawValue), "value": value]
        if let times { object["times"] = .number(JSONNumber(times)) }
        if let on { object["on"] = .string(on) }
        return .object(object)
    }
}
