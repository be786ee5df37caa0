import OAuth
import Testing

@testable import Egress

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// First and last address of what is forbidden. RFC 6890 and its registries, written out by hand: the product's table
/// is judged by this one.
private let forbidden: [(first: String, last: String)] = [
    ("0.0.0.0", "0.255.255.255"), ("10.0.0.0", "10.255.255.255"), ("100.64.0.0", "100.127.255.255"), ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"), ("172.16.0.0", "172.31.255.255"), ("192.0.0.0", "192.0.0.255"), ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"), ("192.168.0.0", "192.168.255.255"), ("198.18.0.0", "198.19.255.255"), ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"), ("224.0.0.0", "239.255.255.255"), ("240.0.0.0", "255.255.255.255"),
    ("::", "::"), ("::1", "::1"), ("::", "::ffff:ffff"), ("::ffff:0:0", "::ffff:ffff:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"), ("100::", "100::ffff:ffff:ffff:ffff"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"), ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"), ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"), ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
]

/// An address as a number, so that neighbours are one apart.
private struct Number: Hashable, CustomStringConvertible {
    let value: UInt128
    let isIPv4: Bool

    init(_ value: UInt128, isIPv4: Bool) {
        self.value = value
        self.isIPv4 = isIPv4
    }
    init(_ text: String) throws { self.init(try #require(IPLiteral(text), "\(text)")) }
    init(_ address: IPLiteral) { self.init(address.bytes.reduce(0) { $0 << 8 | UInt128($1) }, isIPv4: address.isIPv4) }

    var bytes: [UInt8] { (0..<(isIPv4 ? 4 : 16)).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * UInt128($0))) } }
    func address() throws -> IPLiteral { try #require(IPLiteral(bytes: bytes)) }
    var description: String { IPLiteral(bytes: bytes)?.text ?? "none" }

    var before: Number? { value == 0 ? nil : Number(value - 1, isIPv4: isIPv4) }
    var after: Number? { value == (isIPv4 ? UInt128(UInt32.max) : UInt128.max) ? nil : Number(value + 1, isIPv4: isIPv4) }

    /// The last IPv6 groups are this IPv4 address.
    func inside(_ prefix: String) throws -> Number { Number(try Number(prefix).value | value, isIPv4: false) }
}

/// What the hand-written table says; `nil` for IPv6 outside of it, of NAT64 and of `2000::/3`: another test's matter.
private struct Oracle {
    private let blocks: [ClosedRange<UInt128>]
    private let blocks4: [ClosedRange<UInt128>]
    private let nat64: ClosedRange<UInt128>

    init() throws {
        let ranges = try forbidden.map { (try Number($0.first), try Number($0.last)) }
        blocks = ranges.filter { !$0.0.isIPv4 }.map { $0.0.value...$0.1.value }
        blocks4 = ranges.filter { $0.0.isIPv4 }.map { $0.0.value...$0.1.value }
        nat64 = try Number("64:ff9b::").value...Number("64:ff9b::ffff:ffff").value
    }

    func isPublic(_ number: Number) -> Bool? {
        if number.isIPv4 { return !blocks4.contains { $0.contains(number.value) } }
        if nat64.contains(number.value) { return isPublic(Number(number.value & 0xFFFF_FFFF, isIPv4: true)) }
        if blocks.contains(where: { $0.contains(number.value) }) { return false }
        return number.value >> 125 == 1 ? true : nil
    }
}

/// The same numbers in every run.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// What an operator who allowed nothing gets: the classification, and the same by way of a URL.
private func isOpen(_ number: Number) throws -> Bool {
    let address = try number.address()
    let url = try EndpointURL("https://\(address.isIPv4 ? address.text : "[\(address.text)]")/")
    let passes: Bool
    do {
        try Egress(policy: .init()).check(url)
        passes = true
    } catch {
        passes = false
    }
    #expect(passes == (AddressClass.of(address) == .public), "\(number)")
    return passes
}

/// SEC-70.
@Suite struct AddressTests {
    @Test func everyBlockFromItsFirstToItsLastAndNotOneFurther() throws {
        let oracle = try Oracle()
        for block in forbidden {
            let first = try Number(block.first)
            let last = try Number(block.last)
            for number in [first, last, Number(first.value + (last.value - first.value) / 2, isIPv4: first.isIPv4)] {
                #expect(try !isOpen(number), "\(number)")
            }
            for neighbour in [first.before, last.after].compactMap({ $0 }) {
                guard let expected = oracle.isPublic(neighbour) else { continue }
                #expect(try isOpen(neighbour) == expected, "\(neighbour), beside \(block.first)")
            }
        }
    }

    @Test func everyIPv4AddressInEveryFormOfIPv6ThatCarriesOne() throws {
        let oracle = try Oracle()
        var numbers: [Number] = []
        for block in forbidden where !block.first.contains(":") {
            let first = try Number(block.first)
            let last = try Number(block.last)
            numbers += [first, last, first.before, last.after].compactMap { $0 }
        }
        numbers += try ["1.1.1.1", "8.8.8.8", "93.184.216.34", "169.254.169.254", "255.255.255.255"].map { try Number($0) }
        for number in numbers {
            // Its own judgement counts under NAT64's well-known prefix and nowhere else.
            #expect(try isOpen(number.inside("64:ff9b::")) == oracle.isPublic(number), "\(number)")
            for prefix in ["::", "::ffff:0:0", "64:ff9b:1::"] { #expect(try !isOpen(number.inside(prefix)), "\(number) in \(prefix)") }
            let sixToFour = Number(try Number("2002::1").value | number.value << 80, isIPv4: false)
            #expect(try !isOpen(sixToFour), "\(sixToFour)")
            let teredo = Number(try Number("2001:0:4136:e378:8000:63bf::").value | (number.value ^ 0xFFFF_FFFF), isIPv4: false)
            #expect(try !isOpen(teredo), "\(teredo)")
        }
    }

    @Test func tenThousandAddressesAreJudgedAsTheTableSays() throws {
        let oracle = try Oracle()
        var generator = Seeded(state: 70)
        var open = 0
        for round in 0..<10_000 {
            let high = UInt128(UInt64.random(in: .min ... .max, using: &generator))
            let low = UInt128(UInt64.random(in: .min ... .max, using: &generator))
            let number: Number =
                switch round % 4 {
                case 0, 1: Number(low & 0xFFFF_FFFF, isIPv4: true)
                case 2: Number(1 << 125 | (high << 64 | low) >> 3, isIPv4: false)
                default: try Number(low & 0xFFFF_FFFF, isIPv4: true).inside("64:ff9b::")
                }
            let isPublic = oracle.isPublic(number)
            #expect(try isOpen(number) == isPublic, "\(number)")
            if isPublic == true { open += 1 }
        }
        #expect(open > 5_000)
    }

    /// Nobody has an address there yet, and some of it carries IPv4 (`::ffff:0:a.b.c.d`, RFC 2765).
    @Test(arguments: [
        "::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1", "0:0:1::1", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:0:0", "64:ff9b:2::", "100:0:0:1::1",
        "200::1", "400::1", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5eff::1", "5f01::1", "8000::1", "e000::1", "f000::1", "fbff::1", "fe00::1",
        "fe7f:ffff::1",
    ])
    func whatIsNoGlobalUnicastOfIPv6IsNoTarget(text: String) throws {
        #expect(try !isOpen(Number(text)))
    }

    @Test(arguments: [
        "1.1.1.1", "9.9.9.9", "192.0.1.1", "172.15.0.1", "172.32.0.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::101:101",
    ])
    func whatIsPublicIsOpen(text: String) throws {
        #expect(try isOpen(Number(text)))
    }

    @Test(
        arguments: [
            ("127.0.0.1", AddressClass.loopback), ("::1", .loopback), ("0.0.0.0", .unspecified), ("::", .unspecified), ("10.1.2.3", .private),
            ("fd00::1", .private),
            ("fec0::1", .private), ("169.254.169.254", .linkLocal), ("fe80::1", .linkLocal), ("100.100.100.200", .shared), ("224.0.0.1", .multicast),
            ("ff02::1", .multicast), ("192.0.2.1", .documentation), ("198.18.0.1", .benchmarking), ("255.255.255.255", .reserved),
            ("::ffff:1.1.1.1", .embedded),
            ("2002:7f00:1::", .embedded), ("64:ff9b::7f00:1", .loopback), ("64:ff9b::a9fe:a9fe", .linkLocal), ("64:ff9b::808:808", .public),
        ] as [(String, AddressClass)])
    func theClassIsNamed(text: String, expected: AddressClass) throws {
        let address = try #require(IPLiteral(text))
        #expect(AddressClass.of(address) == expected)
    }

    @Test func eachLineOfTheTableIsANetwork() throws {
        for text in AddressClass.blockTexts {
            let network = try #require(Egress.CIDR(text), "\(text)")
            let address = try #require(IPLiteral(String(text.prefix { $0 != "/" })))
            #expect(network.contains(address))
            #expect(AddressClass.of(address) != .public, "\(text)")
        }
    }
}

@Suite struct CIDRTests {
    @Test(arguments: [
        ("10.1.0.0/16", "10.1.0.0/16"), ("127.0.0.1", "127.0.0.1/32"), ("0.0.0.0/0", "0.0.0.0/0"), ("255.255.255.255/32", "255.255.255.255/32"),
        ("::1", "0:0:0:0:0:0:0:1/128"), ("fd00::/8", "fd00:0:0:0:0:0:0:0/8"), ("::/0", "0:0:0:0:0:0:0:0/0"),
        ("::ffff:1.2.3.4/128", "0:0:0:0:0:ffff:102:304/128"),
    ])
    func reads(text: String, written: String) throws {
        let network = try #require(Egress.CIDR(text))
        #expect(network.description == written)
        #expect(Egress.CIDR(written) == network)
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/ 8", " 10.0.0.0/8", "10.0.0.0/8 ", "10.0.0.0/1000",
        "10.0.0/8", "10.0.0.0.0/8", "010.0.0.0/8", "0x0a.0.0.0/8", "10.0.0.256/8", "10/8", "localhost", "example.com/8", "::1/129", "[::1]", "[::1]/128",
        "fe80::1%lo/64",
        ":::/0", "1::2::3/64", "10.0.0.0/8,10.1.0.0/16", "10.0.0.0/٨", "10.0.0.0/255.0.0.0",
    ])
    func refuses(text: String) {
        #expect(Egress.CIDR(text) == nil)
    }

    @Test func holdsItsFirstAndLastAddressAndNotTheNext() throws {
        var generator = Seeded(state: 71)
        for round in 0..<2_000 {
            let isIPv4 = round % 2 == 0
            let bits = isIPv4 ? 32 : 128
            let high = UInt128(UInt64.random(in: .min ... .max, using: &generator))
            let low = UInt128(UInt64.random(in: .min ... .max, using: &generator))
            let sample = Number(isIPv4 ? low & 0xFFFF_FFFF : high << 64 | low, isIPv4: isIPv4)
            let prefix = Int.random(in: 0...bits, using: &generator)
            let network = try #require(Egress.CIDR("\(sample)/\(prefix)"))
            // The bits behind the prefix; a shift by all of them leaves none.
            let rest: UInt128 = isIPv4 ? UInt128(UInt32.max) >> UInt128(prefix) : UInt128.max >> UInt128(prefix)
            let first = Number(sample.value & ~rest, isIPv4: isIPv4)
            let last = Number(sample.value | rest, isIPv4: isIPv4)
            for inner in [sample, first, last] { #expect(try network.contains(inner.address()), "\(inner) in \(network)") }
            for outer in [first.before, last.after].compactMap({ $0 }) { #expect(try !network.contains(outer.address()), "\(outer) in \(network)") }
        }
    }

    @Test func aNetworkOfOneFamilyHoldsNoneOfTheOther() throws {
        let everyIPv4 = try #require(Egress.CIDR("0.0.0.0/0"))
        let everyIPv6 = try #require(Egress.CIDR("::/0"))
        for text in ["::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            let address = try #require(IPLiteral(text))
            #expect(everyIPv6.contains(address))
            #expect(!everyIPv4.contains(address))
        }
        let loopback = try #require(IPLiteral("127.0.0.1"))
        #expect(everyIPv4.contains(loopback))
        #expect(!everyIPv6.contains(loopback))
    }
}

/// SEC-68: one strict parser.
@Suite struct HostTests {
    @Test(arguments: [
        "http://2130706433/", "https://0177.0.0.1/", "https://0x7f.1/", "https://0x7f000001/", "https://127.1/", "https://0/", "https://127.0.0.1./",
        "https://1.2.3/",
        "https://1.2.3.4.5/", "https://1.2.3.256/", "https://a.0x10/", "https://a.1/", "https://good%2eevil.example/", "https://good%00.evil/",
        #"https://good\@evil/"#, #"https://good\.evil/"#, "https://[::1%25lo]/", "https://[fe80::1%eth0]/", "https://[127.0.0.1]/", "https://[::1",
        "https://::1/",
        "https://[::1]x/", "https://[1::2::3]/", "https://[:::]/", "https://[12345::]/", "https://[::ffff:1.2.3.4.5]/", "https://[v1.x]/", "https://[]/",
        "https://host:99999/", "https://host:65536/", "https://host:0/", "https://host:0443/", "https://host:/", "https://host:+1/", "https://host:4 3/",
        "https://user@host/", "https://user:pass@host/", "https://@host/", "https://host/#x", "https://host#", "https:///x", "https://", "https://?x",
        "https:host",
        "https:/host/", "//host/", "host", "", "https://exаmple.com/", "https://①②⑦.0.0.1/", "https://evil。example/", "https://ho st/", "https://host/a b",
        "https://host\t/", "https://host/\r\nX: y", "https://host/\0", "https://a..b/", "https://.a/", "https://-a.example/", "https://a-.example/",
        "https://a,b/",
        "https://host/%zz", "https://host/%", "https://host/%4", "https://host/é",
    ])
    func refuses(text: String) {
        #expect(throws: EndpointURLError.self) { try EndpointURL(text) }
    }

    /// SEC-67.
    @Test(arguments: ["ftp", "file", "gopher", "unix", "ws", "wss", "javascript", "data", "http+unix", "https+unix", "httpss", "HTTP ", ""])
    func speaksHTTPAndHTTPSOnly(scheme: String) {
        #expect(throws: EndpointURLError.self) { try EndpointURL("\(scheme)://host/") }
    }

    @Test(arguments: [
        ("HTTPS://Good.Example/Path", "good.example", "https://good.example/Path"), ("https://host", "host", "https://host/"),
        ("https://host?x=1", "host", "https://host/?x=1"), ("https://host./", "host.", "https://host./"),
        ("https://[2606:4700:4700::1111]:8443/x?y=%2F", "2606:4700:4700::1111", "https://[2606:4700:4700::1111]:8443/x?y=%2F"),
        ("https://[::FFFF:1.2.3.4]/", "::ffff:1.2.3.4", "https://[::ffff:1.2.3.4]/"), ("https://1.2.3.4:65535/", "1.2.3.4", "https://1.2.3.4:65535/"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", "https://xn--bcher-kva.example/"),
        ("https://a_b.example/", "a_b.example", "https://a_b.example/"),
        ("https://host//evil/../x", "host", "https://host//evil/../x"), ("https://0x7f.example/", "0x7f.example", "https://0x7f.example/"),
    ])
    func keepsWhatItChecked(text: String, host: String, written: String) throws {
        let url = try EndpointURL(text)
        #expect(url.host == host)
        #expect(url.description == written)
        #expect(try EndpointURL(written) == url)
    }

    /// What is taken for an address is the address that the C library takes it for.
    @Test func aLiteralMeansWhatTheSystemMeans() {
        var generator = Seeded(state: 68)
        let alphabet = Array("0123456789abcdefABCDEF::::....%x ".utf8)
        let seeds = ["127.0.0.1", "::1", "::", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "fe80::1", "255.255.255.255", "1::8", "1:2:3:4:5:6:1.2.3.4"]
        var taken = 0
        for _ in 0..<20_000 {
            var bytes = Array(seeds[Int.random(in: 0..<seeds.count, using: &generator)].utf8)
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let letter = alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
                let index = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes.insert(letter, at: index)
                case 1: if index < bytes.count { bytes[index] = letter }
                default: if index < bytes.count { bytes.remove(at: index) }
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let literal = IPLiteral(text) else { continue }
            taken += 1
            #expect(system(text) == literal.bytes, "\(text)")
        }
        #expect(taken > 4_000)
    }

    private func system(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        var sixteen = in6_addr()
        if inet_pton(AF_INET6, text, &sixteen) == 1 { return withUnsafeBytes(of: sixteen) { Array($0) } }
        return nil
    }
}
