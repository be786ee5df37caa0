public import OAuth

/// Judges and resolves every outbound connection: nothing leaves the process to an address that was not judged here.
public struct Egress: Sendable {
    /// Networks that outbound requests may reach besides public ones, set by the operator at start. SEC-71.
    public struct Policy: Sendable, Hashable {
        public var allowed: [CIDR]
        /// Our own listeners: never a target, even on an allowed network. SEC-70. (`demo` leaves it empty.)
        public var ownOrigins: [String]
        /// The operator's proxy. Names go to it unresolved; literals are still judged here.
        public var proxy: EndpointURL?
        public init(allowed: [CIDR] = [], ownOrigins: [String] = [], proxy: EndpointURL? = nil) {
            self.allowed = allowed; self.ownOrigins = ownOrigins; self.proxy = proxy
        }
    }

    public struct CIDR: Sendable, Hashable, CustomStringConvertible {
        /// `10.1.0.0/16`, `::1/128`, a bare address. `nil` when it is not one.
        public init?(_ text: String) { fatalError("stub") }
        public var description: String { fatalError("stub") }
    }

    /// An address that may be connected to, for this URL, now.
    public struct Target: Sendable, Hashable {
        public let url: EndpointURL
        /// The judged address as text; `nil` when a proxy resolves the name.
        public let address: String?
    }

    public let policy: Policy
    public init(policy: Policy) { fatalError("stub") }

    /// Checks what can be checked when a URL is saved: scheme (http only to allowed networks), literal addresses.
    /// Resolves nothing.
    /// - Throws: ``EgressError/blocked(_:)``
    public func check(_ url: EndpointURL) throws(EgressError) { fatalError("stub") }

    /// Resolves the host once, judges all its addresses, takes one. At most 5 s.
    public func target(for url: EndpointURL) async throws(EgressError) -> Target { fatalError("stub") }
}

public enum EgressError: Error, Sendable, Hashable {
    /// The reason names a class, never an address that was found. SEC-76.
    case blocked(String)
    case unresolved
    case timedOut
}
