import Broker
import Vault

/// Whether the activity log is whole, judged from the database itself. SEC-114.
package struct ActivityAudit: Sendable {
    /// The chain of one node.
    package struct Chain: Sendable {
        package var node: String
        package var entries: Int
        /// RFC 3339; `nil` without entries.
        package var from: String?
        package var to: String?
        /// Places in the chain.
        package var first: Int?
        package var last: Int?
        package var anchors: Int
        /// Up to here the retention has cut the chain.
        package var cutAt: Int?
        /// `nil` = the chain is whole.
        package var broken: Broken?
    }

    package struct Broken: Sendable {
        /// `altered`, `swapped`, `removed`, `tail_removed`, `replaced`, `forged_anchor`
        package var kind: String
        /// The first place in the chain that is wrong.
        package var sequence: Int
        /// The id of the entry there, where there is one.
        package var entry: String?
        /// The whole of it in words.
        package var words: String
    }

    /// An anchor that was kept elsewhere.
    package struct Anchor: Sendable {
        package var node: String
        package var sequence: Int
        package var mac: [UInt8]
        package init(node: String, sequence: Int, mac: [UInt8]) {
            self.node = node
            self.sequence = sequence
            self.mac = mac
        }
    }

    package var chains: [Chain] = []
    /// Entries that are in no chain, and how many of them were there before there were chains.
    package var unlinked: Int
    package var unlinkedBefore: Int

    /// Entries that somebody added past the chain.
    package var added: Int { max(0, unlinked - unlinkedBefore) }
    package var isWhole: Bool { added == 0 && chains.allSatisfy { $0.broken == nil } }

    /// Reads the database that `configuration` names, also while a server writes to it.
    /// - Throws: ``StartError`` when it cannot be read, or no server has begun a chain in it.
    package init(_ configuration: ServerConfiguration, anchors: [Anchor] = []) async throws {
        let offline = try await Offline(configuration)
        let store = offline.store
        do {
            guard let chain = try await ActivityChain(of: store, keyring: offline.keyring) else {
                throw StartError("the activity log in this database has no chain yet", hint: "start a server of this version on it once")
            }
            unlinked = try await store.unlinkedActivity()
            unlinkedBefore = chain.entriesBefore
            for node in Set(try await store.activityNodes() + anchors.map(\.node)).sorted() {
                let kept = anchors.filter { $0.node == node }.map { ActivityLink(node: node, sequence: $0.sequence, mac: $0.mac) }
                chains.append(Chain(try await ActivityVerifier.report(store, chain: chain, node: node, kept: kept)))
            }
            try await store.close()
        } catch {
            throw StartError(any: error, configuration)
        }
    }
}

extension ActivityAudit.Chain {
    init(_ report: ActivityVerifier.Report) {
        self.init(
            node: report.node, entries: report.entries, from: report.times?.lowerBound.rfc3339, to: report.times?.upperBound.rfc3339, first: report.first,
            last: report.last, anchors: report.anchors, cutAt: report.cutAt, broken: report.broken.map(ActivityAudit.Broken.init))
    }
}

extension ActivityAudit.Broken {
    init(_ finding: ActivityVerifier.Finding) {
        self.init(kind: finding.kind, sequence: finding.sequence, entry: finding.entry?.text, words: finding.words)
    }
}
