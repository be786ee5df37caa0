package import Vault

/// Judges the chain of one node, entry by entry in its order. Holds no store: whoever reads the pages feeds them in.
package struct ActivityVerifier: Sendable {
    /// The first thing that is wrong.
    package enum Finding: Sendable, Hashable {
        /// The entry is not what was written there.
        case altered(sequence: Int, entry: UID)
        /// The entry at `sequence` was exchanged with the one at `other`.
        case swapped(sequence: Int, other: Int, entry: UID)
        /// Entries are missing between those that are there, or before the first one.
        case removed(from: Int, to: Int)
        /// Entries are missing at the end: an anchor stands further on than the last one.
        case tailRemoved(after: Int, anchor: Int)
        /// An anchor says that another entry stood there.
        case replaced(sequence: Int)
        /// The anchor was not signed by this server.
        case forgedAnchor(sequence: Int)

        /// Where it begins.
        package var sequence: Int {
            switch self {
            case .altered(let sequence, _), .swapped(let sequence, _, _), .replaced(let sequence), .forgedAnchor(let sequence): sequence
            case .removed(let first, _): first
            case .tailRemoved(let last, _): last + 1
            }
        }

        /// `altered`, `swapped`, `removed`, `tail_removed`, `replaced`, `forged_anchor`
        package var kind: String {
            switch self {
            case .altered: "altered"
            case .swapped: "swapped"
            case .removed: "removed"
            case .tailRemoved: "tail_removed"
            case .replaced: "replaced"
            case .forgedAnchor: "forged_anchor"
            }
        }

        /// The id of the entry there, where there is one.
        package var entry: UID? {
            switch self {
            case .altered(_, let entry), .swapped(_, _, let entry): entry
            case .removed, .tailRemoved, .replaced, .forgedAnchor: nil
            }
        }

        /// The whole of it, for people.
        package var words: String {
            switch self {
            case .altered(let place, let entry): "entry \(place) (\(entry)) is not what was written there"
            case .swapped(let place, let other, _): "entries \(place) and \(other) were exchanged"
            case .removed(let first, let last): first == last ? "entry \(first) is missing" : "entries \(first) to \(last) are missing"
            case .tailRemoved(let last, let anchor): "entries after \(last) are missing: an anchor says that there were \(anchor)"
            case .replaced(let place): "an anchor says that another entry stood at \(place)"
            case .forgedAnchor(let place): "the anchor at \(place) was not signed by this server"
            }
        }
    }

    package struct Report: Sendable {
        package var node: String
        package var entries = 0
        /// Of the first and the last entry.
        package var times: ClosedRange<Timestamp>?
        package var first: Int?
        package var last: Int?
        package var anchors = 0
        /// Up to here the retention has cut the chain.
        package var cutAt: Int?
        /// `nil` = the chain is whole.
        package var broken: Finding?

        init(node: String) { self.node = node }
    }

    private enum State {
        case following
        /// Behind an altered entry: nothing more can be judged, but the one that belongs in its place may follow.
        case seeking(place: Int, mac: [UInt8], entry: UID)
        case lost
    }

    private let chain: ActivityChain
    /// The macs that anchors name, by place.
    private var anchored: [Int: [UInt8]] = [:]
    private var previous: ActivityLink
    private var state = State.following
    private var report: Report

    /// - Parameters:
    ///   - anchors: those that the store has.
    ///   - kept: those that were kept elsewhere: they are believed without a signature.
    package init(chain: ActivityChain, node: String, anchors: [ActivityAnchor], kept: [ActivityLink] = []) {
        self.chain = chain
        report = Report(node: node)
        report.anchors = anchors.count
        previous = ActivityChain.beginning(of: node)
        for anchor in anchors {
            switch chain.kind(of: anchor) {
            case nil: find(.forgedAnchor(sequence: anchor.link.sequence))
            case .reached: hold(anchor.link)
            case .cut:
                hold(anchor.link)
                if anchor.link.sequence > previous.sequence { previous = anchor.link }
            }
        }
        if previous.sequence > 0 { report.cutAt = previous.sequence }
        for link in kept { hold(link) }
    }

    private mutating func hold(_ link: ActivityLink) {
        if let other = anchored.updateValue(link.mac, forKey: link.sequence), other != link.mac { find(.replaced(sequence: link.sequence)) }
    }

    private mutating func find(_ finding: Finding) {
        if let known = report.broken, known.sequence <= finding.sequence { return }
        report.broken = finding
    }

    /// The next entry in the order of the chain.
    package mutating func check(_ entry: Activity) {
        guard let link = entry.link else { return }
        report.entries += 1
        report.times = min(report.times?.lowerBound ?? entry.at, entry.at)...max(report.times?.upperBound ?? entry.at, entry.at)
        report.first = report.first ?? link.sequence
        report.last = link.sequence
        switch state {
        case .lost: break
        case .seeking(let place, let mac, let broken):
            let fitting = chain.mac(of: entry, at: place, after: previous)
            guard fitting == mac || fitting == link.mac else { return }
            state = .lost
            if report.broken == .altered(sequence: place, entry: broken) { report.broken = .swapped(sequence: place, other: link.sequence, entry: broken) }
        case .following: follow(entry, link)
        }
    }

    private mutating func follow(_ entry: Activity, _ link: ActivityLink) {
        let place = previous.sequence + 1
        if link.sequence > place {
            find(.removed(from: place, to: link.sequence - 1))
            state = .lost
        } else if link.sequence < place {
            // In front of a cut there is nothing.
            find(.altered(sequence: link.sequence, entry: entry.uid))
        } else if chain.mac(of: entry, at: place, after: previous) != link.mac {
            find(.altered(sequence: place, entry: entry.uid))
            state = .seeking(place: place, mac: link.mac, entry: entry.uid)
        } else {
            if let mac = anchored[place], mac != link.mac { find(.replaced(sequence: place)) }
            previous = link
        }
    }

    /// After the last entry.
    package mutating func finish() -> Report {
        let last = max(report.last ?? 0, report.cutAt ?? 0)
        if let furthest = anchored.keys.max(), furthest > last { find(.tailRemoved(after: last, anchor: furthest)) }
        return report
    }
}

extension ActivityVerifier {
    private static let pageSize = 1_000

    /// The whole chain of a node, as the store has it.
    package static func report(_ store: any Store, chain: ActivityChain, node: String, kept: [ActivityLink] = []) async throws -> Report {
        while true {
            let anchors = try await store.activityAnchors(node: node)
            var verifier = ActivityVerifier(chain: chain, node: node, anchors: anchors, kept: kept)
            var last = 0
            while true {
                let page = try await store.activityPage(node: node, afterSequence: last, limit: pageSize)
                for entry in page { verifier.check(entry) }
                guard page.count == pageSize, let link = page.last?.link else { break }
                last = link.sequence
            }
            let report = verifier.finish()
            // A server that cut its chain meanwhile has another first anchor now: what is missing may have gone by right.
            guard report.broken != nil, try await store.activityAnchors(node: node).first != anchors.first else { return report }
        }
    }
}
