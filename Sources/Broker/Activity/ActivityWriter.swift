import Logging
import Vault

/// Puts entries into the store, each linked to the one before it. One call at a time: the caller sees to that.
actor ActivityWriter {
    /// Entries between two anchors.
    private static let stride = 1_000
    /// Entries in one transaction: so few that requests, which may have the same core, hardly wait for it; and more where so many
    /// wait that the pauses between would add up.
    private static let smallestPiece = 250
    private static let largestPiece = 1_000
    private static let mostPieces = 20
    private static let anchorInterval: Duration = .seconds(3600)
    /// Between two anchors that entries alone make due: a busy server has thousands of them each second.
    private static let anchorRest: Duration = .seconds(60)

    private let store: any Store
    private let keyring: Keyring
    private let node: String
    private let logger: Logger
    /// Between two pieces.
    private let pause: @Sendable () async -> Void
    private var chain: ActivityChain?
    /// The last entry's place; `nil` = to be read from the store.
    private var head: ActivityLink?
    private var lastAnchor: (sequence: Int, at: Timestamp)?
    /// Before it, entries alone make no anchor due.
    private var restsUntil: Timestamp?

    init(
        store: any Store, keyring: Keyring, node: String, logger: Logger,
        pause: @escaping @Sendable () async -> Void = { try? await Task.sleep(for: .milliseconds(10)) }
    ) {
        self.store = store
        self.keyring = keyring
        self.node = node
        self.logger = logger
        self.pause = pause
    }

    /// What a failed write leaves.
    struct Remainder: Sendable {
        var entries: [Activity]
        /// How many of them, from the first on, may be in the store all the same.
        var inDoubt: Int
        var error: any Error
    }

    /// Piece by piece, each on stable storage before the next.
    /// - Parameter isHurried: in large pieces, without a pause.
    /// - Returns: `nil` when all of them are on stable storage.
    func write(_ entries: [Activity], isHurried: Bool = false) async -> Remainder? {
        let piece = isHurried ? Self.largestPiece : min(max(entries.count / Self.mostPieces, Self.smallestPiece), Self.largestPiece)
        var rest = entries[...]
        while !rest.isEmpty {
            let chunk = Array(rest.prefix(piece))
            do {
                try await append(chunk)
                rest = rest.dropFirst(chunk.count)
                if !isHurried, !rest.isEmpty { await pause() }
            } catch {
                head = nil
                do {
                    // What was reported as failed may have been done.
                    let unwritten = try await unwritten(of: chunk)
                    return Remainder(entries: unwritten + rest.dropFirst(chunk.count), inDoubt: 0, error: error)
                } catch {
                    return Remainder(entries: Array(rest), inDoubt: chunk.count, error: error)
                }
            }
        }
        return nil
    }

    private func append(_ entries: [Activity]) async throws {
        var entries = entries
        for isLastTry in [false, false, true] {
            let linked = try await openChain().linked(entries, after: try await currentHead())
            do {
                try await store.append(linked)
                head = linked.last?.link ?? head
                return
            } catch StoreError.conflict {
                // Written before, or somebody else wrote here meanwhile.
                head = nil
                if isLastTry { throw StoreError.conflict }
                entries = try await unwritten(of: entries)
                if entries.isEmpty { return }
            }
        }
    }

    private func unwritten(of entries: [Activity]) async throws -> [Activity] {
        let written = try await store.writtenActivity(entries.map(\.uid))
        return written.isEmpty ? entries : entries.filter { !written.contains($0.uid) }
    }

    /// Finds the chain and its end. Call it at start: what does not open shows there, and not at the first write.
    func open() async throws -> ActivityChain {
        _ = try await currentHead()
        return try await openChain()
    }

    /// The chain, begun where there is none.
    private func openChain() async throws -> ActivityChain {
        if let chain { return chain }
        let opened: ActivityChain
        if let found = try await ActivityChain(of: store, keyring: keyring) {
            opened = found
        } else {
            opened = try await ActivityChain.make(in: store, keyring: keyring)
        }
        chain = opened
        return opened
    }

    private func currentHead() async throws -> ActivityLink {
        if let head { return head }
        let chain = try await openChain()
        var found = try await store.activityHead(node: node) ?? ActivityChain.beginning(of: node)
        let anchor = try await store.activityAnchors(node: node).last { chain.kind(of: $0) != nil }
        // What stood before the anchor was cut off, or is gone: behind it the chain goes on, and the gap is there to be seen.
        if let anchor, anchor.link.sequence > found.sequence { found = anchor.link }
        if lastAnchor == nil, let anchor { lastAnchor = (anchor.link.sequence, anchor.at) }
        head = found
        return found
    }

    // MARK: Anchors

    /// Signs how far the chain has come: after a thousand entries, at most once a minute, or an hour in which there were some.
    /// - Parameter always: even if that is not due; without new entries there is nothing to sign.
    func anchor(now: Timestamp, always: Bool = false) async {
        do {
            let head = try await currentHead()
            let last = lastAnchor ?? (0, now)
            if lastAnchor == nil { lastAnchor = last }
            let areMany = head.sequence - last.sequence >= Self.stride && restsUntil.map { now >= $0 } ?? true
            guard head.sequence > last.sequence, always || areMany || now - last.at >= Self.anchorInterval else { return }
            let anchor = try await openChain().anchor(.reached, at: head, time: now)
            try await store.insert(anchor)
            lastAnchor = (head.sequence, now)
            restsUntil = now + Self.anchorRest
            announce(anchor)
        } catch {
            logger.warning("the activity chain was not anchored; it is tried again", metadata: ["error": "\(error)"])
        }
    }

    /// Forgets the entries that are older than `before`, of every node.
    func cut(before: Timestamp, now: Timestamp) async throws {
        let chain = try await openChain()
        for node in try await store.activityNodes() {
            while let cut = try await store.cutActivity(
                node: node, before: before, limit: 10_000, anchor: { chain.anchor(.cut, at: $0, time: now) })
            { announce(cut) }
        }
    }

    /// In the log too: a second place that nobody with access to the database alone can change.
    private func announce(_ anchor: ActivityAnchor) {
        logger.notice(
            "activity anchor",
            metadata: [
                "node": "\(anchor.link.node)", "sequence": "\(anchor.link.sequence)",
                "mac": "\(anchor.link.mac.hexadecimal)",
            ])
    }
}
