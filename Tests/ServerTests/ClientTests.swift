import Egress
import Testing

@testable import Server

/// Whose request it is, where reverse proxies stand in front. SEC-108.
@Suite struct ClientTests {
    @Test(
        arguments: [
            // Nobody is trusted, or the peer is none of the trusted.
            ("192.0.2.1", "198.51.100.7", [], "192.0.2.1"), ("192.0.2.1", "198.51.100.7", ["10.0.0.0/8"], "192.0.2.1"),
            ("10.0.0.1", nil, ["10.0.0.0/8"], "10.0.0.1"), ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7", ["10.0.0.0/8"], "198.51.100.7"),
            // What the client wrote itself stands before what the proxy saw, and does not count.
            ("10.0.0.1", "127.0.0.1, 198.51.100.7", ["10.0.0.0/8"], "198.51.100.7"),
            ("10.0.0.1", "127.0.0.1,198.51.100.7 , 10.2.2.2", ["10.0.0.0/8"], "198.51.100.7"),
            ("10.0.0.1", "evil\r\nname", ["10.0.0.0/8"], "10.0.0.1"), ("10.0.0.1", "10.0.0.2", ["10.0.0.0/8"], "10.0.0.2"),
            ("::1", "2001:db8::1", ["::1/128"], "2001:db8::1"),
        ] as [(String, String?, [String], String)])
    func clientsAreFoundBehindListedProxies(peer: String, forwarded: String?, proxies: [String], expected: String) {
        #expect(ClientContext.client(peer: peer, forwarded: forwarded, behind: proxies.compactMap { Egress.CIDR($0) }) == expected)
    }
}
