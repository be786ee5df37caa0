public import OAuth

/// Judges and resolves every outbound connection: nothing leaves the process to an address that was not judged here.
public struct Egress: Sendable {
    /// What the operator set at start; no caller can change it.
    public struct Policy: Sendable, Hashable {
        /// Networks that may be reached besides public ones, by plain http too.
        public var allowed: [CIDR]
        /// Our own listeners (`scheme://host[:port]`): never a target, even on an allowed network.
        public var ownOrigins: [String]
        /// The operator's proxy. Names go to it unresolved, and it is the egress control for them; literals are still
        /// judged here.
        public var proxy: EndpointURL?

        public init(allowed: [CIDR] = [], ownOrigins: [String] = [], proxy: EndpointURL? = nil) {
            self.allowed = allowed
            self.ownOrigins = ownOrigins
            self.proxy = proxy
        }
    }

    /// An address that may be connected to, for this URL, now.
    public struct Target: Sendable, Hashable {
        public let url: EndpointURL
        /// The judged address as text; `nil` when a proxy resolves the name.
        public let address: String?
    }

    public let policy: Policy
    private let resolver: Resolver
    private let onException: @Sendable (EndpointURL) -> Void

    public init(policy: Policy) { self.init(policy: policy, resolver: .system) }

    /// - Parameter onException: told of each connection that only ``Policy/allowed`` lets through. SEC-71.
    package init(policy: Policy, onException: @escaping @Sendable (EndpointURL) -> Void) {
        self.init(policy: policy, resolver: .system, onException: onException)
    }

    init(policy: Policy, resolver: Resolver, onException: @escaping @Sendable (EndpointURL) -> Void = { _ in }) {
        self.policy = policy
        self.resolver = resolver
        self.onException = onException
    }

    /// Checks what can be checked when a URL is saved: literal addresses, `localhost`, our own listeners. Resolves
    /// nothing; a name's addresses are judged when it is connected to.
    /// - Throws: ``EgressError/blocked(_:)``
    public func check(_ url: EndpointURL) throws(EgressError) {
        try checkOwn(url)
        if let literal = IPLiteral(url.host) {
            try judge(literal, scheme: url.scheme)
        } else if Self.isLocalhost(url.host) {
            guard let loopback = IPLiteral("127.0.0.1"), isAllowed(loopback) else { throw .blocked("loopback addresses are not allowed") }
        } else if url.scheme == .http, policy.allowed.isEmpty || policy.proxy != nil {
            // Where a name leads is the proxy's to know, so no network of ours excuses plain http to it.
            throw .blocked(Self.httpIsForbidden)
        }
    }

    /// Resolves the host once, judges all its addresses, and takes one. At most 5 s.
    public func target(for url: EndpointURL) async throws(EgressError) -> Target {
        try check(url)
        if let literal = IPLiteral(url.host) {
            if isException(literal, scheme: url.scheme) { onException(url) }
            return Target(url: url, address: literal.text)
        }
        if policy.proxy != nil, !Self.isLocalhost(url.host) { return Target(url: url, address: nil) }
        let addresses = try await resolver.resolve(url.host)
        guard let first = addresses.first else { throw .unresolved }
        // One forbidden address among many is how a name is rebound between two looks.
        for address in addresses {
            try judge(address, scheme: url.scheme)
            try checkOwn(url, at: address)
        }
        if addresses.contains(where: { isException($0, scheme: url.scheme) }) { onException(url) }
        return Target(url: url, address: (addresses.first(where: \.isIPv4) ?? first).text)
    }

    private static let httpIsForbidden = "http is allowed to networks of --egress-allow only; use https"

    /// A name without the dot that may end it.
    private static func bare(_ host: String) -> Substring { host.hasSuffix(".") ? host.dropLast() : host[...] }

    private static func isLocalhost(_ host: String) -> Bool { bare(host) == "localhost" || bare(host).hasSuffix(".localhost") }

    private func isAllowed(_ address: IPLiteral) -> Bool { policy.allowed.contains { $0.contains(address) } }

    /// Of an address that was let through: whether it is one that nobody else's policy would let through.
    private func isException(_ address: IPLiteral, scheme: EndpointURL.Scheme) -> Bool { AddressClass.of(address) != .public || scheme != .https }

    private func judge(_ address: IPLiteral, scheme: EndpointURL.Scheme) throws(EgressError) {
        if isAllowed(address) { return }
        let kind = AddressClass.of(address)
        guard kind == .public else { throw .blocked("\(kind.rawValue) addresses are not allowed") }
        guard scheme == .https else { throw .blocked(Self.httpIsForbidden) }
    }

    /// - Parameter found: what the name was resolved to; `nil` before that.
    private func checkOwn(_ url: EndpointURL, at found: IPLiteral? = nil) throws(EgressError) {
        let address = found ?? IPLiteral(url.host)
        for text in policy.ownOrigins {
            guard let own = try? EndpointURL(text), own.effectivePort == url.effectivePort else { continue }
            let ownAddress = IPLiteral(own.host)
            let isSame = Self.bare(own.host) == Self.bare(url.host) || (ownAddress != nil && ownAddress == address)
            guard !isSame, !(Self.leadsHere(own.host, ownAddress) && Self.leadsHere(url.host, address)) else {
                throw .blocked("this server itself is not a target")
            }
        }
    }

    /// Whether a connection to it ends at this machine's loopback. The unspecified address does on Linux.
    private static func leadsHere(_ host: String, _ address: IPLiteral?) -> Bool {
        guard let address else { return isLocalhost(host) }
        let isMapped = address.bytes.count == 16 && address.bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
        switch AddressClass.of(isMapped ? IPLiteral(bytes: Array(address.bytes.suffix(4))) ?? address : address) {
        case .loopback, .unspecified: return true
        default: return false
        }
    }
}

public enum EgressError: Error, Sendable, Hashable {
    /// The reason names a class, never an address that was found.
    case blocked(String)
    case unresolved
    case timedOut
}
