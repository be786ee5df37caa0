#if PostgreSQL
    import PostgresStore
    import Synchronization
    import TestSupport
    import Testing
    import Vault

    /// What several nodes do at once to revocations and webhooks.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresRaceTests {
        private func event(_ id: String, _ grant: Grant) -> WebhookEvent {
            WebhookEvent(
                id: "evt_" + id, kind: .grantRefreshed, at: now, connectionUID: grant.connectionUID, orderKey: grant.uid, subject: grant.subject, data: "{}")
        }

        private func makeGrants(_ count: Int, _ nodes: TwoNodes, announced: Bool = false) async throws -> [Grant] {
            let grants = (0..<count).map { makeGrant(nodes.connection, subject: "s\($0)") }
            for grant in grants {
                #expect(try await nodes.a.put(grant, expectedGeneration: nil, events: announced ? [event("made " + grant.subject, grant)] : []))
            }
            return grants
        }

        @Test func aDeliveryIsGivenToOneNode() async throws {
            try await TwoNodes.with { nodes in
                _ = try await makeGrants(300, nodes, announced: true)
                let given = Mutex<[Int]>([])
                _ = try await nodes.race(4) { node, _ in
                    while given.withLock({ $0.count }) < 300 {
                        let some = try await node.dueDeliveries(now: now, room: DeliveryRoom(perWebhook: 7))
                        #expect(some.count <= 7)
                        #expect(some.allSatisfy { $0.nextTryAt == now + Delivery.taken })
                        given.withLock { $0 += some.map(\.sequence) }
                    }
                }
                let all = given.withLock { $0 }
                #expect(all.count == 300)
                #expect(Set(all).count == 300)
                // A node that died left them.
                let left = try await nodes.b.dueDeliveries(now: now + Delivery.taken, room: DeliveryRoom(perWebhook: 1000))
                #expect(left.map(\.sequence) == all.sorted())
            }
        }

        @Test func whatThereIsNoRoomForIsNotTaken() async throws {
            try await TwoNodes.with { nodes in
                try await nodes.a.insert(Webhook(id: "wh_2", url: "https://app.example/", kinds: nil, secret: Sealed(bytes: [1]), createdAt: now))
                let grants = try await makeGrants(6, nodes, announced: true)
                var room = DeliveryRoom(perWebhook: 4, count: 3, underWay: ["wh_1": 3])
                room.excepted = [.init(webhook: "wh_2", orderKey: grants[0].uid)]
                // To whom the fewest are under way, and nothing of a lane that is busy.
                let first = try await nodes.a.dueDeliveries(now: now, room: room)
                #expect(first.map { $0.webhookID + ($0.event.subject ?? "") } == ["wh_2s1", "wh_2s2", "wh_2s3"])
                let rest = try await nodes.b.dueDeliveries(now: now, room: DeliveryRoom(perWebhook: 100))
                #expect(rest.count == 9)
            }
        }

        @Test func anOrphanIsGivenToOneNode() async throws {
            try await TwoNodes.with { nodes in
                _ = try await makeGrants(300, nodes)
                let revoked = try await nodes.a.revoke(.init(), at: now, askAt: now, revocation: nil, limit: 1000) { _, _ in [] }
                #expect(revoked.count == 300)
                let given = Mutex<[OrphanToken]>([])
                _ = try await nodes.race(4) { node, _ in
                    while given.withLock({ $0.count }) < 300 {
                        let some = try await node.orphans(due: now, limit: 7)
                        given.withLock { $0 += some }
                    }
                }
                let all = given.withLock { $0 }
                #expect(all.count == 300)
                #expect(Set(all.map(\.uid)).count == 300)
                // What is given back is due again, unless it was given another time meanwhile.
                try await nodes.a.updateOrphan(all[0].uid, nextTryAt: now + .seconds(500), tries: 1)
                try await nodes.b.giveBack(orphans: Array(all.prefix(10)), due: now)
                #expect(Set(try await nodes.a.orphans(due: now, limit: 1000).map(\.uid)) == Set(all[1..<10].map(\.uid)))
            }
        }

        /// Each event is announced by a change of its grant, as a renewal does; what is due is ended at the same time.
        @Test func aLaneNeitherStopsNorGivesTwoAtOnce() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await makeGrants(2, nodes)
                let perWriter = 60
                let total = grants.count * 2 * perWriter
                let sent = Mutex<[Delivery]>([])
                let underWay = Mutex<Set<Delivery.Lane>>([])
                let drain: @Sendable (Int, any Store) async throws -> Void = { number, node in
                    let end = ContinuousClock.now + .seconds(60)
                    while sent.withLock({ $0.count }) < total, ContinuousClock.now < end {
                        for delivery in try await node.dueDeliveries(now: now, room: DeliveryRoom(perWebhook: 2)) {
                            let lane = Delivery.Lane(of: delivery)
                            let isAlone = underWay.withLock { $0.insert(lane).inserted }
                            #expect(isAlone, "two of one order key are on their way")
                            if number == 3 { try await Task.sleep(for: .milliseconds(2)) }
                            sent.withLock { $0.append(delivery) }
                            underWay.withLock { _ = $0.remove(lane) }
                            try await node.endDelivery(sequence: delivery.sequence, state: .delivered, status: 200, error: nil, at: now)
                        }
                    }
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, grant) in grants.enumerated() {
                        for (writer, node) in nodes.both.enumerated() {
                            group.addTask {
                                for number in 0..<perWriter {
                                    let event = event("\(index) \(writer) \(number)", grant)
                                    let isSet = try await node.setState(
                                        .active, reason: nil, at: now, grant: grant.uid, expectedGeneration: 1, events: [event])
                                    #expect(isSet)
                                }
                            }
                        }
                    }
                    for (number, node) in (nodes.both + nodes.both).enumerated() { group.addTask { try await drain(number, node) } }
                    try await group.waitForAll()
                }
                let all = sent.withLock { $0 }
                #expect(all.count == total, "an order key stands still")
                for grant in grants {
                    let mine = all.filter { $0.event.orderKey == grant.uid }
                    #expect(mine.map(\.sequence) == mine.map(\.sequence).sorted())
                    // Of one writer, as it wrote them.
                    for writer in 0..<2 {
                        let numbers = mine.map { $0.event.id.split(separator: " ") }.filter { $0[1] == "\(writer)" }.compactMap { Int($0[2]) }
                        #expect(numbers == Array(0..<perWriter))
                    }
                }
            }
        }

        @Test func replaysDisablingAndRemovalGoBesideAnnouncements() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await makeGrants(4, nodes)
                try await nodes.a.insert(Webhook(id: "wh_2", url: "https://app.example/", kinds: nil, secret: Sealed(bytes: [1]), createdAt: now))
                _ = try await nodes.race(8) { node, number in
                    for round in 0..<25 {
                        let grant = grants[number % 4]
                        switch number {
                        case 0..<4:
                            let event = event("\(number) \(round)", grant)
                            #expect(try await node.setState(.active, reason: nil, at: now, grant: grant.uid, expectedGeneration: 1, events: [event]))
                        case 4, 5:
                            for delivery in try await node.dueDeliveries(now: now, room: DeliveryRoom(perWebhook: 3)) {
                                try await node.endDelivery(sequence: delivery.sequence, state: .failed, status: 500, error: "it failed", at: now)
                            }
                        case 6: #expect(try await node.replay(webhook: "wh_1", round % 2 == 0 ? .failed : .since(now), now: now) != nil)
                        default:
                            if round == 10 { try await node.disableWebhook(id: "wh_2", at: now) }
                            if round == 20 { #expect(try await node.deleteWebhook(id: "wh_2")) }
                        }
                    }
                }
                let all = try await nodes.a.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 1000)
                #expect(all.count == 100)
                // Of each order key the first that is pending has a time, and no other.
                for grant in grants {
                    let pending = all.filter { $0.event.orderKey == grant.uid && $0.state == .pending }.sorted { $0.sequence < $1.sequence }
                    #expect(pending.map { $0.nextTryAt != nil } == pending.indices.map { $0 == 0 })
                }
                #expect(all.allSatisfy { $0.state == .pending || $0.nextTryAt == nil })
                #expect(try await nodes.a.deliveries(webhook: "wh_2", state: nil, before: nil, limit: 10).isEmpty)
            }
        }

        @Test func twoTrimsLeaveNoEventBehind() async throws {
            try await TwoNodes.with { nodes in
                try await nodes.a.insert(Webhook(id: "wh_2", url: "https://app.example/", kinds: nil, secret: Sealed(bytes: [1]), createdAt: now))
                _ = try await makeGrants(60, nodes, announced: true)
                for delivery in try await nodes.a.dueDeliveries(now: now, room: DeliveryRoom(perWebhook: 100)) {
                    try await nodes.a.endDelivery(sequence: delivery.sequence, state: .delivered, status: 200, error: nil, at: now)
                }
                let counts = try await nodes.race(4) { node, _ in
                    var count = 0
                    while true {
                        let trimmed = try await node.trimDeliveries(endedBefore: now + .seconds(1), limit: 7)
                        if trimmed == 0 { return count }
                        count += trimmed
                    }
                }
                let left = try await nodes.a.trimDeliveries(endedBefore: now + .seconds(1), limit: 1000)
                #expect(counts.reduce(left, +) == 120)
                // Its events would be in the way: an event has its id once.
                let grant = makeGrant(nodes.connection, subject: "again")
                let events = (0..<60).map { event("made s\($0)", grant) }
                #expect(try await nodes.b.put(grant, expectedGeneration: nil, events: events))
            }
        }

        @Test func twoNodesAtOneRevocationCountEachGrantOnce() async throws {
            try await TwoNodes.with { nodes in
                _ = try await makeGrants(500, nodes)
                let record = RevocationRecord(id: "rv_1", filter: .init(), connection: nil, requestedBy: "key_1", createdAt: now)
                try await nodes.a.insert(record)
                let revoked = try await nodes.race(4) { node, _ in
                    var all: [RevokedGrant] = []
                    while true {
                        let some = try await node.revoke(record.filter, at: now, askAt: now, revocation: record.id, limit: 40) { [self] grant, _ in
                            let isTombstone = grant.state == .revoked && grant.tokenGeneration == 2 && grant.refreshToken == nil
                            #expect(isTombstone)
                            return [event("revoked " + grant.subject, grant)]
                        }
                        all += some
                        if some.count < 40 { return all }
                    }
                }.flatMap { $0 }
                #expect(revoked.count == 500)
                #expect(Set(revoked.map(\.uid)).count == 500)
                #expect(try await nodes.events().count == 500)
                // Each is ended by both.
                let ended = try await nodes.race(2) { node, _ in
                    var count = 0
                    for grant in revoked {
                        if let orphan = grant.orphan, try await node.endOrphan(orphan, outcome: .revoked) { count += 1 }
                    }
                    return count
                }
                #expect(ended.reduce(0, +) == 500)
                try await nodes.a.noteStopped(revocation: record.id, at: now)
                _ = try await nodes.race(2) { node, number in try await node.endRevocations(at: now + .seconds(Int64(number))) }
                let read = try #require(try await nodes.b.revocation(id: record.id))
                #expect([read.grants, read.revoked, read.unsupported, read.failed, read.pending] as [Int] == [500, 500, 0, 0, 0])
                #expect(read.endedAt != nil)
            }
        }

        @Test func aConnectionThatIsRemovedMeanwhileIsCountedOnce() async throws {
            try await TwoNodes.with { nodes in
                _ = try await makeGrants(200, nodes)
                let record = RevocationRecord(id: "rv_1", filter: .init(), connection: nil, requestedBy: "key_1", createdAt: now)
                try await nodes.a.insert(record)
                let revoked = try await nodes.a.revoke(.init(), at: now, askAt: now, revocation: record.id, limit: 1000) { _, _ in [] }
                _ = try await nodes.race(3) { node, number in
                    if number == 2 {
                        try await Task.sleep(for: .milliseconds(30))
                        try await node.deleteConnection(nodes.connection.uid)
                    } else {
                        for grant in number == 0 ? revoked : revoked.reversed() { _ = try await node.endOrphan(grant.orphan!, outcome: .failed(.refused)) }
                    }
                }
                let read = try #require(try await nodes.b.revocation(id: record.id))
                #expect([read.grants, read.failed, read.pending] as [Int] == [200, 200, 0])
                #expect(try await nodes.a.failures(revocation: record.id, limit: 1000).count == 200)
            }
        }

        /// Another node may not know yet.
        @Test func aDataKeyThatWasRetiredJustNowStays() async throws {
            try await TwoNodes.with { nodes in
                let old = try await nodes.a.insertDataKey(scope: "", masterKeyID: "k1", wrapped: [1])
                #expect(try await nodes.a.replaceDataKey(scope: "", masterKeyID: "k1", wrapped: [2], at: now) != nil)
                #expect(try await nodes.b.deleteUnusedDataKeys([old]).isEmpty)
                #expect(try await nodes.b.dataKeys().map(\.id).contains(old))
                #expect(nodes.a.retiredKeysStay >= .seconds(600))
                // Rows that are dead are no matter of a transaction.
                try await nodes.a.forgetOverwritten()
                try await nodes.b.forgetOverwritten()
                #expect(try await nodes.a.databaseFaults().isEmpty)
            }
        }
    }
#endif
