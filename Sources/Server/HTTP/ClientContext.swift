import Egress
import HTTPTypes
import Hummingbird
import NIOCore
import OAuth

/// What a request's connection tells: who is at its other end.
struct ClientContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let peer: SocketAddress?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress
    }

    func client(of request: Request, behind proxies: [Egress.CIDR]) -> String {
        let forwarded = proxies.isEmpty ? nil : HTTPField.Name("X-Forwarded-For").flatMap { request.headers[$0] }
        return Self.client(peer: peer?.ipAddress ?? "unknown", forwarded: forwarded, behind: proxies)
    }

    /// The client's address. A forwarding field counts when a listed proxy sent it, and as far as listed proxies wrote
    /// it: from its end, the first address that is none of theirs. SEC-108.
    static func client(peer: String, forwarded: String?, behind proxies: [Egress.CIDR]) -> String {
        var client = peer
        for hop in (forwarded ?? "").split(separator: ",").reversed() {
            guard let address = IPLiteral(client), proxies.contains(where: { $0.contains(address) }) else { break }
            let text = String(hop.trimmingPrefix { $0 == " " }.prefix { $0 != " " })
            guard IPLiteral(text) != nil else { break }
            client = text
        }
        return client
    }
}
