import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The network between one node and the database: TCP through this process, which fails in the ways that networks do.
final class Relay: Sendable {
    enum State: Sendable, CaseIterable {
        case open
        /// Nothing passes, in neither direction, and nobody is told. What was sent passes once it is healed, as a kernel sends again.
        case held
        /// The same, but connections that were there stay dead when it is healed: what stood between has forgotten them.
        case lost
        /// Connections are reset, and new ones are refused.
        case refused
    }

    let port: Int
    private let target: Int
    /// `nil` = the end.
    private let state = Mutex<State?>(.open)

    /// - Parameter target: a port on loopback.
    init(to target: Int) throws {
        signal(SIGPIPE, SIG_IGN)
        guard let (listener, port) = Self.listen(0) else { throw CocoaError(.featureUnsupported) }
        (self.port, self.target) = (port, target)
        Thread.detachNewThread { [self] in run(listener) }
    }

    /// From now on.
    func become(_ state: State) { self.state.withLock { if $0 != nil { $0 = state } } }
    func heal() { become(.open) }
    func end() { state.withLock { $0 = nil } }

    // MARK: On its thread

    private func run(_ first: Int32) {
        var listener = first
        var pairs: [Pair] = []
        while let state = state.withLock({ $0 }) {
            if state == .refused {
                if listener >= 0 { close(listener) }
                listener = -1
                for pair in pairs { pair.reset() }
                pairs = []
                usleep(5000)
                continue
            }
            pairs.removeAll { $0.ends == [-1, -1] }
            if listener < 0 {
                listener = Self.listen(port)?.descriptor ?? -1
                if listener < 0 { usleep(5000) }
                continue
            }
            if state == .lost { for index in pairs.indices { pairs[index].isLost = true } }
            // The database's kernel asks after a connection that its node has given up, and hears that there is none.
            if state == .open { for index in pairs.indices where pairs[index].isLost && pairs[index].ends[0] < 0 { pairs[index].finish() } }
            var polled = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
            var places: [(pair: Int, end: Int)] = []
            for (index, pair) in pairs.enumerated() where state == .open || pair.isLost {
                for end in 0...1 where pair.ends[end] >= 0 {
                    polled.append(pollfd(fd: pair.ends[end], events: pair.events(of: end), revents: 0))
                    places.append((index, end))
                }
            }
            // Short, so that another state is seen soon.
            guard poll(&polled, nfds_t(polled.count), 10) > 0 else { continue }
            for (place, entry) in zip(places, polled.dropFirst()) where entry.revents != 0 { pairs[place.pair].serve(place.end, Int32(entry.revents)) }
            if polled[0].revents != 0, let pair = take(listener) { pairs.append(pair) }
        }
        if listener >= 0 { close(listener) }
        for pair in pairs { pair.reset() }
    }

    private func take(_ listener: Int32) -> Pair? {
        let node = accept(listener, nil, nil)
        guard node >= 0 else { return nil }
        let database = socket(AF_INET, Self.stream, 0)
        var address = Self.loopback(target)
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(database, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
        guard isConnected else {
            close(node)
            close(database)
            return nil
        }
        return Pair(node: node, database: database)
    }

    /// A connection of the node, and the one that goes on from it.
    private struct Pair {
        var ends: [Int32]
        /// What came from each end, and is still to be given to the other.
        private var waiting: [[UInt8]] = [[], []]
        var isLost = false

        init(node: Int32, database: Int32) {
            ends = [node, database]
            for end in ends {
                _ = fcntl(end, F_SETFD, FD_CLOEXEC)
                _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
            }
        }

        func events(of end: Int) -> Int16 {
            if isLost { return Int16(POLLIN) }
            return Int16(waiting[end].isEmpty ? POLLIN : 0) | Int16(waiting[1 - end].isEmpty ? 0 : POLLOUT)
        }

        mutating func serve(_ end: Int, _ events: Int32) {
            guard ends[end] >= 0 else { return }
            if events & Int32(POLLOUT) != 0, !isLost {
                let count = waiting[1 - end].withUnsafeBytes { write(ends[end], $0.baseAddress, $0.count) }
                if count > 0 { waiting[1 - end].removeFirst(count) } else if errno != EAGAIN { return finish() }
            }
            guard events & Int32(POLLIN | POLLHUP | POLLERR) != 0, isLost || waiting[end].isEmpty else { return }
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = read(ends[end], &buffer, buffer.count)
            if count > 0 {
                if !isLost { waiting[end] += buffer[..<count] }
            } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                // Nobody hears of an end on the other side of a network that is gone.
                if isLost { finish(end) } else { finish() }
            }
        }

        mutating func finish() { for end in 0...1 { finish(end) } }

        private mutating func finish(_ end: Int) {
            if ends[end] >= 0 { close(ends[end]) }
            ends[end] = -1
        }

        func reset() {
            for end in ends where end >= 0 {
                var now = linger(l_onoff: 1, l_linger: 0)
                setsockopt(end, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
                close(end)
            }
        }
    }

    // MARK: Sockets

    #if canImport(Glibc)
        private static let stream = Int32(SOCK_STREAM.rawValue)
    #else
        private static let stream = SOCK_STREAM
    #endif

    private static func loopback(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        address.sin_port = in_port_t(port).bigEndian
        return address
    }

    /// - Parameter port: 0 = any.
    private static func listen(_ port: Int) -> (descriptor: Int32, port: Int)? {
        let listener = socket(AF_INET, stream, 0)
        guard listener >= 0 else { return nil }
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
        var address = loopback(port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(listener, generic, length) == 0 && Foundation.listen(listener, 64) == 0 && getsockname(listener, generic, &length) == 0
            }
        }
        guard isListening else {
            close(listener)
            return nil
        }
        return (listener, Int(in_port_t(bigEndian: address.sin_port)))
    }
}
