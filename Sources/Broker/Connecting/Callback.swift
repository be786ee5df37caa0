import Crypto
import OAuth
import Vault

/// Where providers send the browser back.
extension Broker {
    package struct CallbackOutcome: Sendable {
        /// 303 here: the `return_url` with its parameters, or `/connect/result/{session}`. `nil` = show `error` on a page.
        package var location: String?
        /// A callback failure's code; `nil` when it went well.
        package var error: String?
        /// Whose result page tells how it ended, where a session was found.
        package var sessionID: String?
    }

    /// Judges a callback and, unless the application completes it, exchanges the code. What the browser sent never
    /// throws: failures are in the outcome.
    /// - Parameters:
    ///   - query: the query's own bytes, undecoded; at most 16 KiB.
    ///   - binding: the binding cookie's value, `nil` when there is none.
    package func callback(connectionID: String, query: String, binding: String?) async -> CallbackOutcome {
        do {
            return try await judgeCallback(connectionID: connectionID, query: query, binding: binding)
        } catch {
            let problem = (error as? Problem) ?? internalProblem(error)
            return CallbackOutcome(location: nil, error: problem.code.rawValue)
        }
    }

    private func judgeCallback(connectionID: String, query: String, binding: String?) async throws -> CallbackOutcome {
        /// Of nobody whom we know: whoever finds the URL can send as many as he likes.
        func stray(_ error: String, at connection: Connection?, session: String? = nil) -> CallbackOutcome {
            tally("connect.callback", connection: connection, result: error, detail: session)
            return CallbackOutcome(error: error, sessionID: session)
        }
        guard let connection = try await findConnection(connectionID) else { return stray("invalid_state", at: nil) }
        let response: AuthorizationResponse
        do {
            response = try AuthorizationResponse(query: query.utf8, profile: connection.settings.profile)
        } catch {
            return stray("invalid_request", at: connection)
        }
        guard let state = response.state else { return stray("invalid_state", at: connection) }
        let attempt: AuthorizationAttempt
        switch try await store.takeAttempt(stateHash: Self.hash(state), now: clock.now()) {
        case .taken(let taken): attempt = taken
        case .alreadyTaken(let sessionID), .expired(let sessionID):
            return stray("invalid_state", at: connection, session: sessionID)
        case .unknown: return stray("invalid_state", at: connection)
        }
        guard let session = try await store.session(id: attempt.sessionID) else { return stray("invalid_state", at: connection) }
        // From here the attempt is spent, whatever follows.
        do {
            return try await judge(response, attempt: attempt, session: session, connection: connection, binding: binding)
        } catch {
            return try await fail(session, connection: connection, error: error)
        }
    }

    private func judge(
        _ response: AuthorizationResponse, attempt: AuthorizationAttempt, session: ConnectSession, connection: Connection, binding: String?
    ) async throws -> CallbackOutcome {
        guard session.state == .open || session.state == .failed, session.expiresAt > clock.now() else {
            note("connect.callback", connection: connection, subject: session.subject, result: "invalid_state", detail: session.id)
            return CallbackOutcome(error: "invalid_state", sessionID: session.id)
        }
        // A code must not arrive at another connection's URL than the one it was asked for. SEC-10.
        guard attempt.connectionUID == connection.uid else {
            note("connect.callback", connection: connection, subject: session.subject, result: "invalid_state", detail: session.id)
            return CallbackOutcome(error: "invalid_state")
        }
        let isBound = binding.map { constantTimeEqual(Self.hash($0), attempt.bindingHash) }
        guard isBound ?? (session.options.completion == .application) else {
            throw CallbackFailure(code: "browser_mismatch", detail: "the answer came from another browser than the one that started")
        }
        guard attempt.connectionRevision == connection.revision else {
            throw CallbackFailure(code: "exchange_failed", detail: "the connection was changed meanwhile; start over")
        }
        guard let pending = PendingAuthorization(archive: try await keyring.opened(attempt.pending, at: .pending(stateHash: attempt.stateHash))) else {
            throw KeyringError.damaged
        }
        let code = try pending.accept(response)
        let captured: [String: String]
        do {
            captured = try Capture.values(prefix: "callback.", patterns: connection.settings.variablePatterns) { response[$0] }
        } catch {
            throw CallbackFailure(code: "exchange_failed", detail: "the provider sent a value for \(error.name) that does not match its pattern")
        }
        if session.options.completion == .application {
            return try await park(code, captured: captured, session: session, connection: connection)
        }
        let view = try await exchange(
            .authorizationCode(code), step: .code, connection: connection, subject: session.subject, guardedBy: .init(session.options),
            callbackValues: captured)
        try await end(session, as: .connected, grant: view.grant.uid)
        note("connect.connected", connection: connection, subject: session.subject, detail: session.id)
        return CallbackOutcome(location: location(of: session, status: "connected"), error: nil, sessionID: session.id)
    }

    /// Keeps the checked code sealed until the application says who is signed in. SEC-03.
    private func park(_ code: CheckedCode, captured: [String: String], session: ConnectSession, connection: Connection) async throws -> CallbackOutcome {
        try await store.put(
            Completion(
                sessionID: session.id, connectionRevision: connection.revision,
                code: try keyring.seal(code.archive(), at: .code(session: session.id), scope: connection.uid), captured: captured,
                expiresAt: clock.now() + Self.completionLifetime))
        try await end(session, as: .pending)
        note("connect.pending", connection: connection, subject: session.subject, detail: session.id)
        return CallbackOutcome(location: location(of: session, status: "pending"), error: nil, sessionID: session.id)
    }

    /// Ends this try; the link can be used again until its time has passed.
    private func fail(_ session: ConnectSession, connection: Connection, error: any Error) async throws -> CallbackOutcome {
        let code: String
        let detail: String?
        switch error {
        case let failure as CallbackFailure:
            (code, detail) = (failure.code, failure.detail)
            if code == "browser_mismatch" { await keepTrouble(browserOf: session, connection: connection) }
        case let error as CallbackError:
            code = error.code
            await keepTrouble(error, of: session, connection: connection)
            // Of a response from the wrong issuer nothing is shown. SEC-24.
            if case .denied(_, let description) = error { detail = description.map { ProviderProblem.shown($0) } } else { detail = nil }
        case let problem as Problem:
            code = problem.code == .accountMismatch ? "account_mismatch" : "exchange_failed"
            detail = problem.shown
        default:
            code = "exchange_failed"
            detail = internalProblem(error).detail
        }
        note("connect.failed", connection: connection, subject: session.subject, result: code, detail: session.id)
        try await end(session, as: .failed, error: code, detail: detail)
        return CallbackOutcome(location: location(of: session, status: "failed", error: code), error: code, sessionID: session.id)
    }

    private func location(of session: ConnectSession, status: String, error: String? = nil) -> String {
        guard let returnURL = session.options.returnURL, let url = try? EndpointURL(returnURL) else {
            return configuration.publicURL + "/connect/result/" + session.id
        }
        var pairs = [("grantee_status", status)]
        if let error { pairs.append(("grantee_error", error)) }
        pairs.append(("grantee_session", session.id))
        return url.appending(pairs)
    }

    // MARK: Completion by the application

    /// Exchanges the parked code, once, if `subject` is the one that the session was begun for.
    package func completeSession(id: String, subject: String, by caller: Caller) async throws(Problem) -> GrantView {
        let view = try await session(id: id, for: caller)
        let session = view.session
        guard session.options.completion == .application, session.state == .pending else {
            throw Problem(
                .invalidState, "the session is \(session.state.rawValue), not pending", fix: "begin anew with connect",
                errors: [])
        }
        guard constantTimeEqual(subject, session.subject) else {
            note("connect.completed", subject: session.subject, caller: caller, result: "subject_mismatch", detail: session.id)
            throw Problem(
                .subjectMismatch, "the session was begun for another subject",
                fix: "send the subject of the person who is signed in now; if that is another one, begin anew for them")
        }
        let connection = try await requireConnection(uid: session.connectionUID)
        guard let completion = try await asProblem({ try await store.takeCompletion(sessionID: id) }), completion.expiresAt > clock.now() else {
            throw Problem(.invalidState, "the session was completed before, or its time has passed", fix: "begin anew with connect")
        }
        do throws(Problem) {
            guard completion.connectionRevision == connection.revision else {
                throw Problem(.conflict, "the connection was changed meanwhile", fix: "begin anew with connect")
            }
            let archive = try await asProblem { try await keyring.opened(completion.code, at: .code(session: id)) }
            guard let code = CheckedCode(archive: archive) else { throw internalProblem(KeyringError.damaged) }
            let grant = try await exchange(
                .authorizationCode(code), step: .code, connection: connection, subject: session.subject, guardedBy: .init(session.options),
                callbackValues: completion.captured)
            try await end(session, as: .connected, grant: grant.grant.uid)
            note("connect.completed", connection: connection, subject: session.subject, caller: caller, detail: session.id)
            return grant
        } catch {
            note("connect.completed", connection: connection, subject: session.subject, caller: caller, result: error.code.rawValue, detail: session.id)
            try await end(session, as: .failed, error: error.code == .accountMismatch ? "account_mismatch" : "exchange_failed", detail: error.shown)
            throw error
        }
    }
}

/// A refused callback, with its documented code and words for the result page.
struct CallbackFailure: Error {
    let code: String
    let detail: String
}

extension CallbackError {
    /// The code that pages and `grantee_error` show; a provider's own is bounded to the registry's characters.
    var code: String {
        switch self {
        case .stateMismatch: "invalid_state"
        case .issuerMismatch: "issuer_mismatch"
        case .missingCode: "missing_code"
        case .malformed: "invalid_request"
        case .denied(let code, _):
            !code.isEmpty && code.utf8.count <= 64
                && code.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || $0 == 0x5F || $0 == 0x2D || $0 == 0x2E
                }
                ? code : "unknown_error"
        }
    }
}
