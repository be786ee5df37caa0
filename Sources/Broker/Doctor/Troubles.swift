import Logging
import OAuth
import OAuthClient
import Synchronization
import Vault

/// Connections that are known to have no trouble: their successes ask the store nothing.
final class TroubleBook: Sendable {
    private struct State {
        var quiet: Set<UID> = []
        var epoch: UInt64 = 0
    }
    /// More than these are asked about again.
    private static let capacity = 100_000
    private let state = Mutex(State())

    func isQuiet(_ connection: UID) -> Bool { state.withLock { $0.quiet.contains(connection) } }
    var epoch: UInt64 { state.withLock { $0.epoch } }

    func noteTrouble(_ connection: UID) {
        state.withLock { state in
            state.epoch &+= 1
            state.quiet.remove(connection)
        }
    }

    /// - Parameter epoch: taken before the store was read; trouble since then voids it.
    func noteQuiet(_ connection: UID, epoch: UInt64) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            if state.quiet.count >= Self.capacity { state.quiet = [] }
            state.quiet.insert(connection)
        }
    }
}

/// Keeping what the doctor looks at. What cannot be written is not worth a token: the log says so, and the work goes on.
extension Broker {
    func keep(_ trouble: Trouble, of connection: Connection) async {
        do {
            try await store.put(trouble, connection: connection.uid)
        } catch {
            logFailure(.warning, "what went wrong was not kept for the doctor", error, ["connection": "\(connection.id)"])
        }
        // Behind the write: whoever read the store before it finds another epoch.
        troubleBook.noteTrouble(connection.uid)
    }

    /// A step worked: what was kept of its last failure says nothing any more.
    /// - Parameter subject: who has a token now: what was kept of their own failures is over, whichever step it was.
    func endTrouble(_ stages: [Trouble.Stage], of connection: Connection, subject: String) async {
        // Another node may have noted some since.
        guard shared != nil || !troubleBook.isQuiet(connection.uid) else { return }
        let epoch = troubleBook.epoch
        do {
            let stages = Set(stages)
            let (ended, left) = (try await store.troubles(connection: connection.uid)).reduce(into: ([Trouble.Stage](), 0)) { result, trouble in
                if stages.contains(trouble.stage) || sameBytes(trouble.subject, subject) { result.0.append(trouble.stage) } else { result.1 += 1 }
            }
            if !ended.isEmpty { try await store.deleteTroubles(connection: connection.uid, stages: ended) }
            if left == 0 { troubleBook.noteQuiet(connection.uid, epoch: epoch) }
        } catch {
            logFailure(.warning, "what went wrong before was not cleared", error, ["connection": "\(connection.id)"])
        }
    }

    /// Of an authorization response that gave no code.
    func keepTrouble(_ error: CallbackError, of session: ConnectSession, connection: Connection) async {
        let (code, description, reason): (String?, String?, String?)
        switch error {
        case .denied(let said, let text): (code, description, reason) = (said, text, nil)
        // Of a response from another issuer nothing is kept. SEC-24.
        case .issuerMismatch: (code, description, reason) = (nil, nil, "issuer_mismatch")
        case .missingCode: (code, description, reason) = (nil, nil, "missing_code")
        case .malformed(let why): (code, description, reason) = (nil, nil, "malformed: " + why)
        // Nobody whom we know sent it.
        case .stateMismatch: return
        }
        let mask = Mask(secrets: [], publicValues: [connection.settings.oauth.clientID ?? ""])
        await keep(
            Trouble(
                stage: .authorization, failure: code == nil ? .callback : .refused, at: clock.now(), subject: session.subject,
                revision: connection.revision,
                request: Doctor.authorizationRequest(connection, scopes: session.options.scopes, redirectURI: redirectURI(of: connection)),
                error: code.map(mask.code), errorDescription: description.map { mask.shown($0, limit: 1024) }, reason: reason),
            of: connection)
    }

    func keepTrouble(browserOf session: ConnectSession, connection: Connection) async {
        await keep(
            Trouble(
                stage: .authorization, failure: .callback, at: clock.now(), subject: session.subject, revision: connection.revision,
                reason: "browser_mismatch"),
            of: connection)
    }

    /// What is sent as `redirect_uri`.
    func redirectURI(of connection: Connection) -> String { connection.settings.oauth.redirectURI ?? callbackURL(connectionID: connection.id) }
}
