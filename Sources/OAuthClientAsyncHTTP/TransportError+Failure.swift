import AsyncHTTPClient
import NIOCore
import NIOPosix
import NIOSSL
package import OAuthClient

extension TransportError {
    /// What a failure below means, in words fit to show: never an address, a banner or a body.
    package init(failure: any Error, mayHaveBeenSent: Bool) {
        switch failure {
        case let error as TransportError: self = error
        case is CancellationError: self.init(.cancelled, mayHaveBeenSent: mayHaveBeenSent)
        case is TooLarge: self.init(.broken("it is larger than 1 MiB"), mayHaveBeenSent: true)
        case is UnfitHead: self.init(.broken("its head is larger than 64 KiB or 100 fields, or has no status"), mayHaveBeenSent: true)
        case is NIOConnectionError: self.init(.unreachable("the connection was refused or not possible"), mayHaveBeenSent: false)
        case let error as HTTPClientError: self.init(client: error, mayHaveBeenSent: mayHaveBeenSent)
        case let error as NIOSSLError: self.init(tls: error, mayHaveBeenSent: mayHaveBeenSent)
        case is BoringSSLError, is NIOSSLExtraError:
            self.init(.unreachable("TLS failed: \(Self.certificateProblem(failure))"), mayHaveBeenSent: mayHaveBeenSent)
        case is IOError, is ChannelError:
            self.init(
                mayHaveBeenSent ? .broken("the connection was lost") : .unreachable("the connection was refused or lost"), mayHaveBeenSent: mayHaveBeenSent)
        default: self.init(.broken("it is not HTTP, or the connection was lost"), mayHaveBeenSent: mayHaveBeenSent)
        }
    }

    private init(client error: HTTPClientError, mayHaveBeenSent: Bool) {
        switch error {
        case .connectTimeout: self.init(.unreachable("no connection in time"), mayHaveBeenSent: false)
        case .tlsHandshakeTimeout: self.init(.unreachable("TLS was not set up in time"), mayHaveBeenSent: false)
        case .getConnectionFromPoolTimeout, .httpProxyHandshakeTimeout: self.init(.unreachable("no connection in time"), mayHaveBeenSent: false)
        case .invalidProxyResponse, .proxyAuthenticationRequired:
            self.init(.unreachable("the outbound proxy refused the connection"), mayHaveBeenSent: false)
        case .deadlineExceeded, .readTimeout: self.init(.timedOut, mayHaveBeenSent: mayHaveBeenSent)
        case .cancelled: self.init(.cancelled, mayHaveBeenSent: mayHaveBeenSent)
        default: self.init(closedWhen: mayHaveBeenSent)
        }
    }

    private init(closedWhen mayHaveBeenSent: Bool) {
        self.init(
            mayHaveBeenSent
                ? .broken("the connection was closed before the answer was whole") : .unreachable("the connection was closed before the request had left"),
            mayHaveBeenSent: mayHaveBeenSent)
    }

    private init(tls error: NIOSSLError, mayHaveBeenSent: Bool) {
        if case .uncleanShutdown = error {
            self.init(closedWhen: mayHaveBeenSent)
        } else {
            self.init(.unreachable("TLS failed: \(Self.certificateProblem(error))"), mayHaveBeenSent: mayHaveBeenSent)
        }
    }

    /// BoringSSL tells the kind of failure only in its text.
    private static func certificateProblem(_ error: any Error) -> String {
        let text = String(describing: error)
        if text.contains("CERTIFICATE_VERIFY_FAILED") { return "its certificate is not trusted (unknown issuer, or expired)" }
        if text.contains("failedToValidateHostname") || text.contains("unableToValidateCertificate") || text.contains("HOSTNAME") {
            return "its certificate is for another name"
        }
        if text.contains("WRONG_VERSION_NUMBER") { return "it does not speak TLS at this port" }
        if text.contains("PROTOCOL_VERSION") || text.contains("UNSUPPORTED_PROTOCOL") { return "it speaks no TLS 1.2 or later" }
        return "no secure connection could be set up"
    }
}
