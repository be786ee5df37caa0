import NIOPosix
import OAuth
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Names to addresses; a closure, so that a test can answer what it wants.
struct Resolver: Sendable {
    var resolve: @Sendable (_ name: String) async throws(EgressError) -> [IPLiteral]

    static let deadline: Duration = .seconds(5)

    /// `getaddrinfo` on threads of its own, given up after ``deadline``: it cannot be interrupted, only left behind.
    static let system = Resolver { name throws(EgressError) in
        let race = Race()
        return try await race.run { lookUps.join(name, race) }
    }

    private static let lookUps = LookUps()

    fileprivate static func lookUp(_ name: String) -> Result<[IPLiteral], EgressError> {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        #if canImport(Glibc)
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        #else
            hints.ai_socktype = SOCK_STREAM
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &list) == 0 else { return .failure(.unresolved) }
        defer { freeaddrinfo(list) }
        var addresses: [IPLiteral] = []
        var next = list
        while let entry = next {
            if let address = entry.pointee.ai_addr, let literal = literal(address), !addresses.contains(literal) { addresses.append(literal) }
            next = entry.pointee.ai_next
        }
        return addresses.isEmpty ? .failure(.unresolved) : .success(addresses)
    }

    private static func literal(_ address: UnsafeMutablePointer<sockaddr>) -> IPLiteral? {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { IPLiteral(bytes: withUnsafeBytes(of: $0.pointee.sin_addr, Array.init)) }
        case AF_INET6:
            return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { IPLiteral(bytes: withUnsafeBytes(of: $0.pointee.sin6_addr, Array.init)) }
        default: return nil
        }
    }
}

/// One look-up per name at a time, whose answer everybody gets who asks meanwhile: a name server that is silent holds one
/// thread for each of its names, and other names find a free one.
private final class LookUps: Sendable {
    private let waiting = Mutex<[String: [Race]]>([:])
    private let threads = NIOThreadPool(numberOfThreads: 32)

    init() { threads.start() }

    func join(_ name: String, _ race: Race) {
        let isFirst = waiting.withLock { waiting in
            waiting[name, default: []].append(race)
            return waiting[name]?.count == 1
        }
        guard isFirst else { return }
        threads.submit { [self] state in
            let outcome: Race.Outcome = if case .active = state { Resolver.lookUp(name) } else { .failure(.unresolved) }
            for race in waiting.withLock({ $0.removeValue(forKey: name) }) ?? [] { race.finish(outcome) }
        }
    }
}

/// One answer, the deadline or the end of the task: whichever is first.
private final class Race: Sendable {
    typealias Outcome = Result<[IPLiteral], EgressError>
    private struct State {
        var continuation: CheckedContinuation<Outcome, Never>?
        var outcome: Outcome?
    }
    private let state = Mutex(State())

    func finish(_ outcome: Outcome) {
        let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            guard state.outcome == nil else { return nil }
            state.outcome = outcome
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(returning: outcome)
    }

    func run(_ start: @Sendable () -> Void) async throws(EgressError) -> [IPLiteral] {
        let timer = Task {
            try await Task.sleep(for: Resolver.deadline)
            finish(.failure(.timedOut))
        }
        defer { timer.cancel() }
        start()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Outcome, Never>) in
                let early = state.withLock { state -> Outcome? in
                    if state.outcome == nil { state.continuation = continuation }
                    return state.outcome
                }
                if let early { continuation.resume(returning: early) }
            }
        } onCancel: {
            finish(.failure(.timedOut))
        }
        return try outcome.get()
    }
}
