import NIOCore

extension Channel {
    /// Keeps new connections from a listener that is about to be closed. Those that wait to be accepted when it is closed would be
    /// reset, some with a request that nobody may send twice. A caller that finds nobody asks again a second later and is refused,
    /// or goes to another node.
    ///
    /// Only Linux can do it. Elsewhere, and where it may not be done, it ends as before: that is no failure.
    func takeNoMoreConnections() async {
        #if os(Linux)
            guard let listener = self as? any SocketOptionProvider else { return }
            let count = Instruction.refuseFirstSegments.count
            let instructions = UnsafeMutableBufferPointer<Instruction>.allocate(capacity: count)
            _ = instructions.initialize(from: Instruction.refuseFirstSegments)
            defer { instructions.deallocate() }
            let program = Program(count: UInt16(count), address: UInt(bitPattern: instructions.baseAddress))
            do {
                try await listener.unsafeSetSocketOption(level: .socket, name: .init(rawValue: Program.attach), value: program).get()
            } catch {}
        #endif
    }
}

#if os(Linux)
    /// Of the kernel's packet filter: `struct sock_filter`.
    private struct Instruction: Sendable {
        let code: UInt16
        let ifTrue: UInt8
        let ifFalse: UInt8
        let value: UInt32

        /// Drops the segment that begins a connection (SYN) and lets all others pass.
        static let refuseFirstSegments = [
            // The byte of the TCP header that has the flags.
            Instruction(code: 0x30, ifTrue: 0, ifFalse: 0, value: 13), Instruction(code: 0x45, ifTrue: 0, ifFalse: 1, value: 0x02),
            Instruction(code: 0x06, ifTrue: 0, ifFalse: 0, value: 0), Instruction(code: 0x06, ifTrue: 0, ifFalse: 0, value: .max),
        ]
    }

    /// `struct sock_fprog`.
    private struct Program: Sendable {
        let count: UInt16
        let address: UInt

        /// `SO_ATTACH_FILTER`
        static let attach: CInt = 26
    }
#endif
