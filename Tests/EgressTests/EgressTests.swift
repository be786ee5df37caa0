import OAuth
import Synchronization
import Testing

@testable import Egress

private let loopbackIsForbidden = EgressError.blocked("loopback addresses are not allowed")
private let httpIsForbidden = EgressError.blocked("http is allowed to networks of --egress-allow only; use https")
private let ownIsForbidden = EgressError.blocked("this server itself is not a target")

/// Answers look-ups from a list, the last answer again and again, and counts them.
private final class Names: Sendable {
    private struct State {
        var answers: [[String]]
        var asked: [String] = []
    }
    private let state: Mutex<State>

    init(_ answers: [String]...) { state = Mutex(State(answers: answers)) }

    var asked: [String] { state.withLock { $0.asked } }

    func egress(_ allowed: String..., own: [String] = [], proxy: String? = nil) throws -> Egress {
        let networks = try allowed.map { try #require(Egress.CIDR($0)) }
        let policy = Egress.Policy(allowed: networks, ownOrigins: own, proxy: try proxy.map { try EndpointURL($0) })
        return Egress(policy: policy, resolver: Resolver { name throws(EgressError) in try self.answer(name) })
    }

    private func answer(_ name: String) throws(EgressError) -> [IPLiteral] {
        let texts: [String] = state.withLock { state in
            state.asked.append(name)
            return state.answers.count > 1 ? state.answers.removeFirst() : state.answers.first ?? []
        }
        if texts == ["timeout"] { throw .timedOut }
        return texts.compactMap { IPLiteral($0) }
    }
}

@Suite struct EgressTests {
    // MARK: Schemes, SEC-67

    @Test func httpGoesToAllowedNetworksOnly() async throws {
        let names = Names(["93.184.216.34"])
        let closed = try names.egress()
        #expect(throws: httpIsForbidden) { try closed.check(EndpointURL("http://1.1.1.1/")) }
        #expect(throws: httpIsForbidden) { try closed.check(EndpointURL("http://as.example/")) }
        await #expect(throws: httpIsForbidden) { try await closed.target(for: EndpointURL("http://as.example/")) }
        #expect(names.asked.isEmpty)
        // With a network allowed a name may lie in it, so it is looked up; this one does not.
        let open = try names.egress("10.1.0.0/16")
        await #expect(throws: httpIsForbidden) { try await open.target(for: EndpointURL("http://as.example/")) }
        await #expect(throws: httpIsForbidden) { try await open.target(for: EndpointURL("http://[64:ff9b::101:101]/")) }
        #expect(try await open.target(for: EndpointURL("http://10.1.2.3:8080/")).address == "10.1.2.3")
        #expect(try await Names(["10.1.2.3"]).egress("10.1.0.0/16").target(for: EndpointURL("http://inner.example/")).address == "10.1.2.3")
    }

    @Test func httpsGoesToEveryPublicAddressAtEveryPort() async throws {
        let egress = try Names(["93.184.216.34"]).egress()
        for text in ["https://as.example/", "https://as.example:8443/token", "https://as.example:25/"] {
            let url = try EndpointURL(text)
            let target = try await egress.target(for: url)
            #expect(target.url == url)
            #expect(target.address == "93.184.216.34")
        }
        #expect(try await egress.target(for: EndpointURL("https://[2606:4700::1111]/")).address == "2606:4700:0:0:0:0:0:1111")
    }

    // MARK: Names, SEC-69

    @Test(
        "Sets with one forbidden address",
        arguments: [
            ["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["93.184.216.34", "::1"], ["93.184.216.34", "10.0.0.1"],
            ["2606:4700::1", "::ffff:10.0.0.1"], ["93.184.216.34", "64:ff9b::7f00:1"], ["93.184.216.34", "169.254.169.254"], ["0.0.0.0"], ["::"], ["fd00::1"],
        ])
    func oneForbiddenAddressForbidsTheName(addresses: [String]) async throws {
        let names = Names(addresses)
        let egress = try names.egress()
        let url = try EndpointURL("https://as.example/")
        let error = await #expect(throws: EgressError.self) { try await egress.target(for: url) }
        guard case .blocked(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        // The class is told, an address never.
        for address in addresses { #expect(!reason.contains(address)) }
        #expect(!reason.contains("as.example"))
        #expect(names.asked == ["as.example"])
    }

    @Test(
        arguments: [
            (["93.184.216.34"], "93.184.216.34"), (["2606:4700::1"], "2606:4700:0:0:0:0:0:1"), (["2606:4700::1", "93.184.216.34"], "93.184.216.34"),
            (["64:ff9b::5db8:d822"], "64:ff9b:0:0:0:0:5db8:d822"), (["93.184.216.34", "93.184.216.35"], "93.184.216.34"),
        ] as [([String], String)])
    func oneOfTheJudgedAddressesIsTaken(addresses: [String], taken: String) async throws {
        #expect(try await Names(addresses).egress().target(for: EndpointURL("https://as.example/")).address == taken)
    }

    @Test func everyConnectionLooksAgainAndOnlyOnce() async throws {
        let url = try EndpointURL("https://as.example/")
        for _ in 0..<500 {
            let names = Names(["93.184.216.34"], ["127.0.0.1"])
            let egress = try names.egress()
            #expect(try await egress.target(for: url).address == "93.184.216.34")
            #expect(names.asked.count == 1)
            await #expect(throws: loopbackIsForbidden) { try await egress.target(for: url) }
            #expect(names.asked.count == 2)
        }
    }

    @Test func aNameWithoutAddressIsNotReached() async throws {
        let url = try EndpointURL("https://as.example/")
        await #expect(throws: EgressError.unresolved) { try await Names([]).egress().target(for: url) }
        await #expect(throws: EgressError.timedOut) { try await Names(["timeout"]).egress().target(for: url) }
    }

    @Test func savingAURLResolvesNothing() throws {
        let names = Names(["127.0.0.1"])
        let egress = try names.egress()
        try egress.check(EndpointURL("https://as.example/"))
        #expect(names.asked.isEmpty)
    }

    @Test(arguments: ["localhost", "LOCALHOST", "localhost.", "a.localhost", "a.localhost."])
    func localhostIsLoopbackHoweverItIsWritten(host: String) async throws {
        let names = Names(["127.0.0.1", "::1"])
        let url = try EndpointURL("https://\(host):8443/")
        #expect(throws: loopbackIsForbidden) { try names.egress().check(url) }
        await #expect(throws: loopbackIsForbidden) { try await names.egress("10.0.0.0/8").target(for: url) }
        #expect(names.asked.isEmpty)
        #expect(try await names.egress("127.0.0.0/8", "::1/128").target(for: url).address == "127.0.0.1")
        // Half a permission is none.
        await #expect(throws: loopbackIsForbidden) { try await names.egress("127.0.0.0/8").target(for: url) }
    }

    @Test func theSystemKnowsLocalhost() async throws {
        let networks = try ["127.0.0.0/8", "::1/128"].map { try #require(Egress.CIDR($0)) }
        let target = try await Egress(policy: .init(allowed: networks)).target(for: EndpointURL("http://localhost:1/"))
        let address = try #require(target.address.flatMap { IPLiteral($0) })
        #expect(AddressClass.of(address) == .loopback)
    }

    // MARK: Allowed networks, SEC-71

    @Test(arguments: ["http", "https"])
    func anAllowedNetworkOpensItselfAndNothingElse(scheme: String) async throws {
        let egress = try Names([]).egress("10.1.0.0/16", "fd00:1::/32")
        for host in ["10.1.0.0", "10.1.2.3", "10.1.255.255", "[fd00:1::1]"] { _ = try await egress.target(for: EndpointURL("\(scheme)://\(host)/")) }
        for host in [
            "10.0.255.255", "10.2.0.0", "10.2.0.1", "127.0.0.1", "169.254.169.254", "192.168.0.1", "[::1]", "[fd00:2::1]", "[::ffff:10.1.2.3]", "[::a01:203]",
            "[64:ff9b::a01:203]", "[2002:a01:203::1]", "[fe80::a01:203]",
        ] {
            let url = try EndpointURL("\(scheme)://\(host)/")
            #expect(throws: EgressError.self, "\(host)") { try egress.check(url) }
            await #expect(throws: EgressError.self, "\(host)") { try await egress.target(for: url) }
        }
    }

    // MARK: Our own listeners, SEC-70

    @Test(arguments: [
        "http://127.0.0.1:8080/", "https://127.0.0.1:8080/", "http://127.0.0.2:8080/", "http://localhost:8080/x", "http://localhost.:8080/",
        "http://a.localhost:8080/",
        "http://[::1]:8080/", "http://[0:0:0:0:0:0:0:1]:8080/", "http://[::0.0.0.1]:8080/", "http://inner.example:8080/", "https://grantee.example/",
        "https://grantee.example:443/", "https://GRANTEE.example./", "http://10.1.2.3:9090/", "http://[fd00:0:0::5]:9090/", "http://ten.example:9090/",
    ])
    func ourOwnListenersAreNoTargetEvenWhereTheirNetworkIsAllowed(text: String) async throws {
        let names = text.contains("ten.") ? Names(["10.1.2.3"]) : Names(["127.0.0.1"])
        let egress = try names.egress(
            "0.0.0.0/0", "::/0", own: ["http://127.0.0.1:8080", "https://grantee.example", "http://10.1.2.3:9090", "http://[fd00::5]:9090"])
        await #expect(throws: ownIsForbidden) { try await egress.target(for: EndpointURL(text)) }
    }

    @Test(arguments: ["http://127.0.0.1:8081/", "http://[::1]:8081/", "https://grantee.example:8443/", "https://as.example/", "http://10.1.2.4:9090/"])
    func aNeighbourOfOurListenersIsATarget(text: String) async throws {
        let egress = try Names(["127.0.0.1"]).egress(
            "0.0.0.0/0", "::/0", own: ["http://127.0.0.1:8080", "https://grantee.example", "http://10.1.2.3:9090"])
        _ = try await egress.target(for: EndpointURL(text))
    }

    // MARK: The operator's proxy

    @Test func namesGoToTheProxyUnresolvedAndLiteralsAreJudged() async throws {
        let names = Names(["127.0.0.1"])
        let egress = try names.egress("10.1.0.0/16", own: ["https://grantee.example"], proxy: "http://proxy.example:3128")
        #expect(try await egress.target(for: EndpointURL("https://as.example/")).address == nil)
        #expect(try await egress.target(for: EndpointURL("https://1.1.1.1/")).address == "1.1.1.1")
        #expect(try await egress.target(for: EndpointURL("http://10.1.2.3/")).address == "10.1.2.3")
        for host in ["127.0.0.1", "10.2.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "localhost", "a.localhost"] {
            let url = try EndpointURL("https://\(host)/")
            await #expect(throws: EgressError.self, "\(host)") { try await egress.target(for: url) }
        }
        await #expect(throws: ownIsForbidden) { try await egress.target(for: EndpointURL("https://grantee.example/")) }
        #expect(names.asked.isEmpty)
    }

    /// Where the name leads is not known here, so no network can excuse it.
    @Test func aNameIsNotSentToTheProxyInTheClear() async throws {
        let egress = try Names(["10.1.2.3"]).egress("10.1.0.0/16", proxy: "http://proxy.example:3128")
        await #expect(throws: httpIsForbidden) { try await egress.target(for: EndpointURL("http://as.example/")) }
    }
}
