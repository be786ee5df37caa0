import HTTPTypes
import OAuth
import OAuthClient
import Vault

/// The way out, with a note of each request that egress stops.
struct NotingTransport: Transport {
    private let transport: any Transport
    private let log: ActivityLog
    private let clock: WallClock

    init(_ transport: any Transport, log: ActivityLog, clock: WallClock) {
        self.transport = transport
        self.log = log
        self.clock = clock
    }

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        do {
            return try await transport.send(request)
        } catch {
            if error.reason == .blocked { log.noteBlocked(host: request.head.authority ?? "", at: clock.now()) }
            throw error
        }
    }
}

extension ActivityLog {
    /// - Parameter host: as a connection or an issuer names it; an address that it was resolved to is not told.
    func noteBlocked(host: String, at now: Timestamp) {
        append(
            Activity(
                uid: .make(at: now), at: now, action: "egress.blocked", key: RequestID.scope?.key, result: Problem.Code.egressBlocked.rawValue, detail: host,
                requestID: RequestID.current))
    }
}
