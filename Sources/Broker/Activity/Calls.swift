import ServiceLifecycle
import Synchronization
package import Vault

/// One request to a connection's API, as it is recorded: who, for whom, what, with what result. No query and no body.
package struct APICall: Sendable {
    /// What all calls with one token have in common: made once for them.
    package final class Target: Sendable, Equatable {
        package let connectionUID: UID
        package let connection: String
        /// Whose token went out with it; `nil` = nothing was sent.
        package let grant: UID?
        /// With the port where it is not the scheme's.
        package let host: String

        package init(_ connection: Connection, grant: UID?, host: String) {
            (connectionUID, self.connection, self.grant, self.host) = (connection.uid, connection.id, grant, host)
        }

        package init(connectionUID: UID, connection: String, grant: UID?, host: String) {
            (self.connectionUID, self.connection, self.grant, self.host) = (connectionUID, connection, grant, host)
        }

        package static func == (one: Target, other: Target) -> Bool {
            one === other
                || one.grant == other.grant && one.connectionUID == other.connectionUID && one.connection == other.connection && one.host == other.host
        }
    }

    /// The id of the API key.
    package var key: String
    package var target: Target
    /// `""` = the shared grant.
    package var subject: String
    package var method: String
    /// Without the query.
    package var path: String
    /// What the API answered; `nil` = it did not.
    package var status: Int?
    /// `ok`, or the code of the problem that the caller got instead of an answer.
    package var result: String
    package var requestID: String?
    /// For agents: by which revision of the connection it was judged.
    package var policyRevision: Int?
    /// For agents: ``Broker/fingerprint(of:)`` of what it was called with. SEC-137.
    package var arguments: String?

    package init(
        key: String, target: Target, subject: String, method: String, path: String, status: Int?, result: String = "ok", requestID: String? = nil,
        policyRevision: Int? = nil, arguments: String? = nil
    ) {
        self.key = key
        self.target = target
        self.subject = subject
        self.method = method
        self.path = path
        self.status = status
        self.result = result
        self.requestID = requestID
        self.policyRevision = policyRevision
        self.arguments = arguments
    }
}

extension Broker {
    /// False while uses cannot be recorded: then nothing is sent. SEC-115.
    package var isRecording: Bool { activityLog.isAccepting }

    /// Notes one call, refused ones too. Nothing is formatted or hashed here that can wait for the flush.
    package func record(_ call: APICall, at now: Timestamp) {
        if call.isLong { activityLog.append(call.cut, at: now) } else { activityLog.append(call, at: now) }
    }

    /// A keyed hash of what an agent called with: equal arguments show as equal, and none can be guessed from it. SEC-137.
    /// - Returns: `nil` before the start.
    package func fingerprint(of arguments: [UInt8]) -> String? { activityChain.withLock { $0 }?.fingerprint(of: arguments) }

    /// Writes calls that come faster than a second's flush may take them.
    func flushWhenFilling() async {
        await cancelWhenGracefulShutdown { [self] in
            for await _ in activityLog.fillings { await flushActivity() }
        }
    }
}
