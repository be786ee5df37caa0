import OAuth
import Synchronization
import Testing

@testable import Egress

@Suite("Each use of an exception is told (SEC-71)") struct ExceptionTests {
    @Test(arguments: [
        ("https://93.184.216.34/", [], false), ("https://10.1.2.3/", [], true), ("http://10.1.2.3/", [], true), ("http://93.184.216.34/", [], true),
        ("https://as.example/", ["93.184.216.34"], false), ("https://as.example/", ["10.1.2.3"], true),
        ("https://as.example/", ["93.184.216.34", "10.1.2.3"], true),
        ("http://as.example/", ["93.184.216.34"], true), ("https://10.2.0.1/", [], nil), ("https://as.example/", ["10.2.0.1"], nil),
    ])
    func target(url: String, addresses: [String], isException: Bool?) async throws {
        let told = Mutex<[String]>([])
        let resolver = Resolver { _ throws(EgressError) in addresses.compactMap { IPLiteral($0) } }
        let networks = ["10.1.0.0/16", "93.184.216.34/32"].compactMap { Egress.CIDR($0) }
        let egress = Egress(policy: .init(allowed: networks), resolver: resolver) { url in told.withLock { $0.append(url.host) } }
        let url = try EndpointURL(url)
        if let isException {
            _ = try await egress.target(for: url)
            #expect(told.withLock { $0 } == (isException ? [url.host] : []))
        } else {
            await #expect(throws: EgressError.self) { _ = try await egress.target(for: url) }
            #expect(told.withLock { $0.isEmpty })
        }
        // What is only looked at is not used.
        told.withLock { $0 = [] }
        do { try egress.check(url) } catch {}
        #expect(told.withLock { $0.isEmpty })
    }
}
