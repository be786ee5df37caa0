import Logging
import Vault

/// That a server runs on this store: what tells a shutdown from a crash at the next start.
extension Broker {
    /// - Throws: a store error; then it does not count as started.
    func begin() async throws {
        if shared != nil {
            for node in configuration.lostNodes { note(lost: node) }
            await noteLostNodes()
            note("node.started", detail: configuration.node)
            return
        }
        if let mark = try await store.meta(RunningMark.name), !mark.isEmpty {
            logger.warning("the server ended without a shutdown before; uses of its last second may be missing from the activity log")
            note("node.recovered", detail: "ended without a shutdown; uses of its last second may be missing")
        }
        try await store.setMeta(RunningMark.name, Array(configuration.node.utf8))
        note("node.started", detail: configuration.node)
    }

    /// Writes what waits, and then that nothing follows. What could not be written is said at the next start.
    func end() async {
        await flushActivity(everything: true)
        note("node.stopped", detail: configuration.node)
        await flushActivity(everything: true)
        guard activityLog.isEmpty else {
            logger.critical("the last uses could not be recorded")
            return
        }
        await activityWrites.inTurn { [self] in await activityWriter.anchor(now: clock.now(), always: true) }
        do {
            if let shared {
                try await shared.removeNode(configuration.node)
            } else {
                try await store.setMeta(RunningMark.name, [])
            }
        } catch {
            logger.warning("the shutdown was not noted; the next start will take it for a crash", metadata: ["error": "\(error)"])
        }
    }

    /// Among others: that this node is at work, and which one is no longer, without having said so.
    func beSeen() async {
        guard let shared else { return }
        do {
            try await shared.noteNode(configuration.node, version: configuration.version, masterKeyIDs: keyring.masterKeys.ids)
            await noteLostNodes()
        } catch {
            logger.debug("that this node is at work was not noted", metadata: ["error": "\(error)"])
        }
    }

    private func noteLostNodes() async {
        do {
            for node in try await shared?.takeLostNodes() ?? [] where node.name != configuration.node {
                note(lost: node)
            }
        } catch {
            logger.debug("lost nodes were not looked for", metadata: ["error": "\(error)"])
        }
    }

    private func note(lost node: NodeRecord) {
        logger.warning("a node ended without a shutdown; uses of its last second may be missing from the activity log", metadata: ["node": "\(node.name)"])
        note("node.recovered", detail: "\(node.name) ended without a shutdown; uses of its last second may be missing")
    }
}
