/// A failure as callers see it: `application/problem+json`, RFC 9457. One table of codes for every face.
package struct Problem: Error, Sendable, Hashable {
    package enum Code: String, Sendable, CaseIterable {
        case invalidRequest = "invalid_request"
        case unauthenticated
        case forbidden
        case notFound = "not_found"
        case conflict
        case subjectMismatch = "subject_mismatch"
        case invalidState = "invalid_state"
        case accountMismatch = "account_mismatch"
        case misconfigured
        case methodNotAllowed = "method_not_allowed"
        case preconditionFailed = "precondition_failed"
        case unsupportedMediaType = "unsupported_media_type"
        case misdirectedRequest = "misdirected_request"
        case notConnected = "not_connected"
        case reauthorizationRequired = "reauthorization_required"
        case tooLarge = "too_large"
        case rateLimited = "rate_limited"
        case egressBlocked = "egress_blocked"
        case providerError = "provider_error"
        case `internal`
        case unavailable
        case providerUnreachable = "provider_unreachable"

        package var status: Int {
            switch self {
            case .invalidRequest: 400
            case .unauthenticated: 401
            case .forbidden: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .conflict, .subjectMismatch, .invalidState, .accountMismatch, .misconfigured, .notConnected, .reauthorizationRequired: 409
            case .preconditionFailed: 412
            case .tooLarge: 413
            case .unsupportedMediaType: 415
            case .misdirectedRequest: 421
            case .egressBlocked: 422
            case .rateLimited: 429
            case .internal: 500
            case .providerError: 502
            case .unavailable: 503
            case .providerUnreachable: 504
            }
        }
    }
    /// One wrong field of a request: an RFC 6901 pointer and what to do.
    package struct FieldError: Sendable, Hashable {
        package var pointer: String
        package var detail: String
        package init(pointer: String, detail: String) {
            self.pointer = pointer
            self.detail = detail
        }
    }
    /// What the provider said. Hostile text: cut and escaped by whoever shows it.
    package struct Provider: Sendable, Hashable {
        package var status: Int?
        package var error: String?
        package var errorDescription: String?
        package init(status: Int?, error: String? = nil, errorDescription: String? = nil) {
            self.status = status
            self.error = error
            self.errorDescription = errorDescription
        }
    }
    package var code: Code
    package var detail: String
    /// The one thing to do about it, in words.
    package var fix: String?
    package var errors: [FieldError]
    package var provider: Provider?
    /// Seconds.
    package var retryAfter: Int?
    /// The id that its words and the log name, where it was made up for them.
    package var requestID: String?
    /// A short code for what is to be remembered of it; not shown.
    var reason: String?

    package init(_ code: Code, _ detail: String, fix: String? = nil, errors: [FieldError] = [], provider: Provider? = nil, retryAfter: Int? = nil) {
        self.code = code
        self.detail = detail
        self.fix = fix
        self.errors = errors
        self.provider = provider
        self.retryAfter = retryAfter
    }
}
