import Logging
import Synchronization
import Testing
import Vault

@testable import Broker

/// What a node has in memory is served only while the database has said, within the last second, that it is so.
struct CoherenceTests {
    /// Two nodes that have the token of one grant in memory.
    private func nodes() async throws -> (NodesBench, Connection) {
        let bench = try await NodesBench()
        bench.store.beginLog()
        try await bench.main.connection("app", .authorizationCode)
        try await bench.main.importGrant("app", expiresIn: 3600)
        for node in 0..<2 {
            await bench.nodes[node].followChanges()
            _ = try await bench.token(node)
        }
        return (bench, try #require(try await bench.store.connection(id: "app")))
    }

    private func isInMemory(_ bench: NodesBench, _ node: Int) -> Bool {
        bench.nodes[node].cachedToken(connectionID: "app", query: .init(), for: bench.main.admin) != nil
    }

    @Test func whatAnotherNodeRevokesIsServedUntilThatWasReadAndNoLonger() async throws {
        let (bench, connection) = try await nodes()
        #expect(isInMemory(bench, 0) && isInMemory(bench, 1))
        _ = try await bench.nodes[0].revoke(connectionID: "app", subject: "", by: bench.main.admin)
        #expect(!isInMemory(bench, 0))
        #expect(isInMemory(bench, 1), "nothing has told it yet")
        bench.store.note(.grant(connection: connection.uid, subject: ""))
        await bench.nodes[1].followChanges()
        #expect(!isInMemory(bench, 1))
        #expect(await bench.ask(1).value == "not_connected")
    }

    @Test func anotherGrantsChangeLeavesATokenInMemory() async throws {
        let (bench, connection) = try await nodes()
        bench.store.note(.grant(connection: connection.uid, subject: "somebody"))
        bench.store.note(.grant(connection: .make(at: bench.main.time.wall.now()), subject: ""))
        await bench.nodes[1].followChanges()
        #expect(isInMemory(bench, 1))
        bench.store.note(.connection(connection.uid))
        await bench.nodes[1].followChanges()
        #expect(!isInMemory(bench, 1))
    }

    @Test func aSecondWithoutAConfirmationServesNothingFromMemory() async throws {
        let (bench, _) = try await nodes()
        let node = bench.nodes[1]
        #expect(node.isCoherent)
        bench.store.set(isAway: true)
        await node.followChanges()
        try await Task.sleep(for: Coherence.limit + .milliseconds(50))
        #expect(!node.isCoherent)
        #expect(!isInMemory(bench, 1))
        #expect(node.knownDestination("app") == nil)
        #expect(await bench.ask(1).value == "unavailable")
        #expect(await !node.isReady())
        // The next who asks finds it back, without waiting for the half second.
        bench.store.set(isAway: false)
        #expect(await bench.ask(1).value.hasPrefix("at"))
        #expect(node.isCoherent && isInMemory(bench, 1))
    }

    @Test func aKeyThatAnotherNodeMadeIsFoundAndOneThatIsNowhereIsNot() async throws {
        let (bench, _) = try await nodes()
        let (key, text) = try await bench.nodes[0].addKey(.init(name: "new", role: .use), by: bench.main.admin)
        bench.store.note(.keys)
        let node = bench.nodes[1]
        #expect(node.authenticate(text) == nil)
        #expect(try await node.lookUp { node.authenticate(text) }?.key.id == key.id)
        let before = bench.store.polls
        #expect(try await node.lookUp { node.authenticate("gk_nobody") } == nil)
        #expect(bench.store.polls > before, "the database was asked")
    }

    @Test func whoeverComesWhileChangesAreReadWaitsForTheSameAnswer() async throws {
        let (bench, _) = try await nodes()
        try await Task.sleep(for: Coherence.limit + .milliseconds(50))
        let before = bench.store.polls
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { try await bench.nodes[1].catchUp() } }
            try await group.waitForAll()
        }
        #expect(bench.store.polls - before < 50)
        #expect(bench.nodes[1].isCoherent)
    }

    /// A node that has read nothing for so long that changes may have been dropped forgets everything.
    @Test func aGapDropsEverything() async throws {
        let (bench, _) = try await nodes()
        bench.store.endLog()
        await bench.nodes[1].followChanges()
        #expect(!isInMemory(bench, 1))
        #expect(bench.nodes[1].knownDestination("app") == nil)
    }

    @Test func aloneOnItsStoreANodeIsAlwaysCoherent() async throws {
        let bench = try await Bench()
        #expect(bench.broker.isCoherent)
        #expect(bench.broker.changesAge == nil)
        #expect(try await bench.broker.lookUp { nil } == nil)
    }

    /// A node that was given other master keys than another one serves nothing, and says once what it lacks.
    @Test func aMissingMasterKeyIsNotTakenForADatabaseThatIsAway() async throws {
        let (bench, _) = try await nodes()
        let lines = Mutex<[String]>([])
        let k1 = bench.main.broker.keyring.masterKeys
        let node = Broker(
            store: bench.store, keyring: try await Keyring(masterKeys: k1, store: bench.store), transport: bench.wires[1],
            egress: bench.main.broker.egress, clock: bench.main.time.wall,
            logger: Logger(label: "test") { _ in TestLog { line in lines.withLock { $0.append(line) } } },
            configuration: bench.nodes[1].configuration)
        await node.followChanges()
        func code() async throws -> Problem? {
            do throws(Problem) {
                try await node.catchUp()
                return nil
            } catch {
                return error
            }
        }
        #expect(try await code() == nil)

        let k2 = k1.withNewKey(besides: [])
        try await bench.main.broker.keyring.adopt(k2)
        _ = try await bench.main.broker.keyring.rewrap()
        bench.store.note(.dataKeys)
        for _ in 0..<3 { await node.followChanges() }
        try await Task.sleep(for: Coherence.limit + .milliseconds(50))
        for _ in 0..<3 {
            let problem = try #require(try await code())
            #expect(problem.code == .unavailable && problem.retryAfter == 1)
            #expect(problem.detail == "the vault is sealed with a master key that this server was not given")
            #expect(await node.unreadiness() == [.keys])
        }
        let errors = lines.withLock { lines in lines.filter { $0.hasPrefix("error ") || $0.hasPrefix("critical ") } }
        #expect(errors.count == 1 && errors.first?.contains("master key that this server was not given") == true, "\(errors)")
        #expect(errors.first?.hasSuffix("master_key=k2") == true, "\(errors)")

        try await node.keyring.adopt(k2)
        await node.followChanges()
        #expect(try await code() == nil)
        #expect(await node.unreadiness().isEmpty)
        #expect(lines.withLock { lines in lines.contains { $0.hasPrefix("notice everything in the vault opens again") } })
        #expect(!lines.withLock { lines in lines.contains { $0.contains("database does not answer") } })
    }

    @Test func nothingIsRotatedToAMasterKeyThatANodeAtWorkLacks() async throws {
        let (bench, _) = try await nodes()
        let node = bench.nodes[0]
        let admin = bench.main.admin
        for (name, ids) in [("fine", ["k2", "k1"]), ("late", ["k1"]), ("later", ["k1"])] {
            try await bench.store.noteNode(name, version: "1", masterKeyIDs: ids)
        }
        try await node.keyring.adopt(node.keyring.masterKeys.withNewKey(besides: []))
        let before = try await bench.store.dataKeys()
        let problem = await #expect(throws: Problem.self) { try await node.rotation(dataKeys: true, by: admin) }
        #expect(problem?.code == .conflict)
        #expect(problem?.detail.hasPrefix("the master key k2 is not known to every node: late, later could") == true, "\(problem?.detail ?? "")")
        #expect(try await bench.store.dataKeys() == before)
        #expect(try await !node.vaultStatus(for: admin).isRotating)

        try await bench.store.noteNode("late", version: "1", masterKeyIDs: ["k1", "k2"])
        try await bench.store.removeNode("later")
        let rotation = try await node.rotation(dataKeys: false, by: admin)
        #expect(rotation.masterKeyID == "k2" && rotation.rewrapped == before.count && rotation.removableMasterKeys == ["k1"], "\(rotation)")
    }
}
