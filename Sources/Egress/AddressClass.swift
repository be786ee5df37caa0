import OAuth

/// What kind of address this is. Everything but `public` is forbidden unless the operator allows its network. RFC 6890.
enum AddressClass: String, Sendable, CaseIterable {
    case `public`
    case unspecified
    case loopback
    case `private`
    case linkLocal = "link-local"
    case shared
    case multicast
    case documentation
    case benchmarking
    case reserved
    case embedded = "IPv4-in-IPv6"

    private static let table: [(String, AddressClass)] = [
        ("0.0.0.0/8", .unspecified), ("10.0.0.0/8", .private), ("100.64.0.0/10", .shared), ("127.0.0.0/8", .loopback), ("169.254.0.0/16", .linkLocal),
        ("172.16.0.0/12", .private), ("192.0.0.0/24", .reserved), ("192.0.2.0/24", .documentation), ("192.88.99.0/24", .reserved), ("192.168.0.0/16", .private),
        ("198.18.0.0/15", .benchmarking), ("198.51.100.0/24", .documentation), ("203.0.113.0/24", .documentation), ("224.0.0.0/4", .multicast),
        ("240.0.0.0/4", .reserved),
        ("::/128", .unspecified), ("::1/128", .loopback), ("::ffff:0:0/96", .embedded), ("::/96", .embedded), ("64:ff9b:1::/48", .embedded),
        ("100::/64", .reserved),
        ("2001::/32", .embedded), ("2001:2::/48", .benchmarking), ("2001:10::/28", .reserved), ("2001:20::/28", .reserved), ("2001:db8::/32", .documentation),
        ("3fff::/20", .documentation), ("2002::/16", .embedded), ("5f00::/16", .reserved), ("fc00::/7", .private), ("fe80::/10", .linkLocal),
        ("fec0::/10", .private),
        ("ff00::/8", .multicast),
    ]
    // Read once; the texts are ours, and a test checks that each is a network.
    private static let blocks: [(Egress.CIDR, AddressClass)] = table.compactMap { entry in Egress.CIDR(entry.0).map { ($0, entry.1) } }
    private static let nat64 = Egress.CIDR("64:ff9b::/96")
    /// All that is given out of IPv6. RFC 4291 §2.4.
    private static let globalUnicast = Egress.CIDR("2000::/3")

    static var blockTexts: [String] { table.map(\.0) }

    /// An address of NAT64's well-known prefix is judged by the IPv4 address inside; the first fitting block counts.
    static func of(_ address: IPLiteral) -> AddressClass {
        if nat64?.contains(address) == true, let inner = IPLiteral(bytes: Array(address.bytes.suffix(4))) { return of(inner) }
        if let block = blocks.first(where: { $0.0.contains(address) }) { return block.1 }
        return address.isIPv4 || globalUnicast?.contains(address) == true ? .public : .reserved
    }
}
