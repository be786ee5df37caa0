import Broker
import NIOCore
import OAuth
import Vault

/// The gateway on one event loop: connections to APIs, exchanges under way, callers' connections. Only touched there.
final class LoopGateway {
    let gateway: Gateway
    let broker: Broker
    let eventLoop: any EventLoop
    /// The time of the last tick: exact to a part of the shortest limit, and free.
    private(set) var now = NIODeadline.now()

    private struct Place: Hashable {
        let connection: UID
        let origin: String
    }
    private var upstreams: [Place: Upstream] = [:]
    private var last: (credential: Credential, upstream: Upstream)?
    private var lastScan: (credential: Credential, scan: TokenScan)?
    private var exchanges = Roster<Exchange>()
    private var callers = Roster<GatewayHandler>()
    private var ids = RequestIDs()
    private var ticks: RepeatedTask?
    private var scratch: ByteBuffer?

    init(_ gateway: Gateway, on eventLoop: any EventLoop) {
        self.gateway = gateway
        broker = gateway.broker
        self.eventLoop = eventLoop
        let limits = gateway.limits
        let shortest = [limits.connect, limits.firstByte, limits.idle, limits.keepAlive, .seconds(4)].min() ?? .seconds(4)
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        ticks = eventLoop.scheduleRepeatedTask(initialDelay: TimeAmount(shortest / 4), delay: TimeAmount(shortest / 4)) { _ in box.value.tick() }
    }

    /// After the last request.
    func close() {
        ticks?.cancel()
        for upstream in upstreams.values { upstream.close() }
    }

    private func tick() {
        now = .now()
        // From the end: each may remove itself, and the last takes its place.
        for exchange in exchanges.members.reversed() { exchange.checkDeadline() }
        for caller in callers.members.reversed() { caller.checkIdle() }
        for upstream in upstreams.values { upstream.dropIdle() }
        let unused = upstreams.filter { $0.value.isUnused }
        for place in unused.keys { upstreams[place] = nil }
        if !unused.isEmpty { (last, lastScan) = (nil, nil) }
    }

    func makeID() -> String { ids.next() }

    /// Where a credential's requests go. Connections of ours never share a socket. SEC-77.
    func upstream(for credential: Credential) -> Upstream {
        if let last, last.credential === credential { return last.upstream }
        let place = Place(connection: credential.destination.connection.uid, origin: credential.base.origin)
        let upstream = upstreams[place] ?? Upstream(credential.base, on: self)
        upstreams[place] = upstream
        last = (credential, upstream)
        return upstream
    }

    /// Of nothing yet. What it looks for is compiled once for a token.
    func scan(for credential: Credential) -> TokenScan {
        if let lastScan, lastScan.credential === credential { return lastScan.scan }
        let scan = credential.withSecrets { TokenScan(secrets: $0) }
        lastScan = (credential, scan)
        return scan
    }

    // MARK: Memory to write messages into, used again for the next as soon as the network has taken the last

    /// Longer pieces are written as they are rather than copied.
    static let mostCopied = 16 << 10
    private static let largest = 64 << 10

    /// An empty buffer.
    func takeScratch() -> ByteBuffer {
        guard var taken = scratch.take() else { return ByteBufferAllocator().buffer(capacity: 1 << 10) }
        // Makes another one where somebody still holds it.
        taken.clear(minimumCapacity: 1 << 10)
        return taken
    }

    /// - Parameter used: written; whoever has not sent it yet may go on holding it.
    func giveScratch(_ used: ByteBuffer) {
        if used.capacity <= Self.largest { scratch = used }
    }

    func add(_ exchange: Exchange) { exchanges.add(exchange) }
    func remove(_ exchange: Exchange) { exchanges.remove(exchange) }
    func add(_ caller: GatewayHandler) { callers.add(caller) }
    func remove(_ caller: GatewayHandler) { callers.remove(caller) }
}

/// Knows its place in a ``Roster``; -1 = it is in none.
protocol Placed: AnyObject {
    var place: Int { get set }
}

/// Who is there now: taken out without a search.
struct Roster<Member: Placed> {
    private(set) var members: [Member] = []

    mutating func add(_ member: Member) {
        member.place = members.count
        members.append(member)
    }

    mutating func remove(_ member: Member) {
        guard member.place >= 0 else { return }
        let last = members.removeLast()
        if last !== member {
            members[member.place] = last
            last.place = member.place
        }
        member.place = -1
    }
}

/// Names of requests: 15 characters, which a string holds without memory of its own.
struct RequestIDs {
    private let prefix: [UInt8]
    private var count: UInt64 = 0

    init() { prefix = Array(Entropy.system.token(bytes: 6).utf8.prefix(7)) }

    mutating func next() -> String {
        count &+= 1
        var rest = count
        return String(unsafeUninitializedCapacity: 15) { text in
            var length = 0
            for byte in prefix {
                text[length] = byte
                length += 1
            }
            for _ in 0..<8 {
                let digit = UInt8(truncatingIfNeeded: rest & 31)
                text[length] = digit < 10 ? 0x30 + digit : 0x57 + digit
                length += 1
                rest >>= 5
            }
            return length
        }
    }
}
