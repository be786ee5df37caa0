import Testing
import Vault

@Suite struct WebhookTests {
    private func makeWebhook(_ id: String, kinds: Set<WebhookEvent.Kind>? = nil) -> Webhook {
        Webhook(id: id, url: "https://app.example/\(id)", kinds: kinds, secret: Sealed(bytes: [1, 2, 3]), createdAt: now)
    }

    private func makeEvent(_ id: String, _ grant: Grant, kind: WebhookEvent.Kind = .grantRefreshed, at: Timestamp = now) -> WebhookEvent {
        WebhookEvent(
            id: "evt_" + id, kind: kind, at: at, connectionUID: grant.connectionUID, orderKey: grant.uid, subject: grant.subject, data: #"{"connection":"a"}"#)
    }

    /// A store with a connection and two grants, whose events a test announces.
    private struct Site {
        let opened: Opened
        let a: Grant
        let b: Grant
        var store: any Store { opened.store }

        init(_ backend: Backend, webhooks: [Webhook]) async throws {
            opened = try await backend.open()
            let connection = makeConnection("a")
            try await opened.store.insert(connection)
            (a, b) = (makeGrant(connection, subject: "u1"), makeGrant(connection, subject: "u2"))
            for grant in [a, b] { _ = try await opened.store.put(grant, expectedGeneration: nil) }
            for webhook in webhooks { try await opened.store.insert(webhook) }
        }

        func announce(_ events: WebhookEvent...) async throws {
            for event in events {
                #expect(try await store.setState(.active, reason: nil, at: event.at, grant: event.orderKey, expectedGeneration: 1, events: [event]))
            }
        }

        /// What is taken by that is put back, so that a test can look twice.
        func due(at time: Timestamp = now) async throws -> [String] {
            var before: [Int: Timestamp] = [:]
            for webhook in try await store.webhooks() { for delivery in try await all(webhook.id) { before[delivery.sequence] = delivery.nextTryAt } }
            let due = try await store.dueDeliveries(now: time, room: DeliveryRoom(perWebhook: 100))
            for delivery in due where delivery.nextTryAt != before[delivery.sequence] {
                #expect(delivery.nextTryAt == time + Delivery.taken)
                let put = try #require(before[delivery.sequence]).milliseconds
                try await opened.tamper("UPDATE delivery SET next_try_at = \(put) WHERE sequence = \(delivery.sequence)")
            }
            return due.map { $0.webhookID + " " + $0.event.id }
        }

        func all(_ webhook: String, _ state: Delivery.State? = nil) async throws -> [Delivery] {
            try await store.deliveries(webhook: webhook, state: state, before: nil, limit: 100)
        }

        func end(_ event: String, of webhook: String, _ state: Delivery.State = .delivered, at time: Timestamp = now) async throws {
            let delivery = try #require(try await all(webhook).first { $0.event.id == event })
            try await store.endDelivery(
                sequence: delivery.sequence, state: state, status: state == .delivered ? 200 : 500, error: state == .delivered ? nil : "it failed", at: time)
        }
    }

    @Test(arguments: Backend.allCases) func webhooksComeBackWholeAndInOrder(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_b", kinds: [.grantRevoked, .connectionMisconfigured]), makeWebhook("wh_c")])
        let found = try await site.store.webhooks()
        #expect(found.map(\.id) == ["wh_b", "wh_c"])
        #expect(found.map(\.kinds) == [[.grantRevoked, .connectionMisconfigured], nil])
        let one = try #require(try await site.store.webhook(id: "wh_b"))
        #expect(one.url == "https://app.example/wh_b")
        #expect(one.secret == Sealed(bytes: [1, 2, 3]))
        #expect(one.createdAt == now)
        #expect(one.disabledAt == nil)
        #expect(try await site.store.webhook(id: "wh_x") == nil)
        #expect(try await site.store.deleteWebhook(id: "wh_b"))
        #expect(try await site.store.deleteWebhook(id: "wh_b") == false)
        #expect(try await site.store.webhooks().map(\.id) == ["wh_c"])
    }

    @Test(arguments: Backend.allCases) func anEventGoesToWhoeverWantsItsKind(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_all"), makeWebhook("wh_one", kinds: [.grantRevoked])])
        try await site.announce(makeEvent("1", site.a), makeEvent("2", site.b, kind: .grantRevoked))
        #expect(Set(try await site.due()) == ["wh_all evt_1", "wh_all evt_2", "wh_one evt_2"])
        let delivery = try #require(try await site.all("wh_one").first)
        #expect(delivery.event == makeEvent("2", site.b, kind: .grantRevoked))
        #expect(delivery.state == .pending)
        #expect(delivery.tries == 0)
        #expect(delivery.begunAt == now)
        #expect(delivery.nextTryAt == now)
        // Nobody who wanted it later gets it.
        try await site.store.insert(makeWebhook("wh_late"))
        #expect(try await site.all("wh_late").isEmpty)
    }

    @Test(arguments: Backend.allCases) func anEventIsAnnouncedWithItsChangeOrNotAtAll(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a")])
        var next = site.a
        next.tokenGeneration = 2
        // The change does not happen: another writer was first.
        #expect(try await site.store.put(next, expectedGeneration: 7, events: [makeEvent("1", site.a)]) == false)
        let event = makeEvent("1", site.a)
        #expect(try await site.store.setState(.revoked, reason: nil, at: now, grant: site.a.uid, expectedGeneration: 7, events: [event]) == false)
        #expect(try await site.store.noteWarned(grant: site.a.uid, expectedGeneration: 1, events: [event]) == false)
        #expect(try await site.due().isEmpty)
        // The event cannot be written: its id is taken.
        try await site.announce(makeEvent("1", site.b))
        await #expect(throws: StoreError.conflict) {
            try await site.store.put(next, expectedGeneration: 1, events: [makeEvent("2", site.a), makeEvent("1", site.a)])
        }
        #expect(try await site.store.grant(uid: site.a.uid)?.tokenGeneration == 1)
        #expect(try await site.due() == ["wh_a evt_1"])
        #expect(try await site.store.put(next, expectedGeneration: 1, events: [makeEvent("2", site.a)]))
        #expect(try await site.due() == ["wh_a evt_1", "wh_a evt_2"])
    }

    @Test(arguments: Backend.allCases) func anOutageIsAnnouncedOnce(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a")])
        func event(_ id: String, _ kind: WebhookEvent.Kind) -> WebhookEvent {
            WebhookEvent(
                id: "evt_" + id, kind: kind, at: now, connectionUID: site.a.connectionUID, orderKey: site.a.connectionUID, subject: nil, data: "{}")
        }
        for (id, state, kind) in [
            ("1", Connection.Health.State.providerDown, WebhookEvent.Kind.connectionProviderDown), ("2", .providerDown, .connectionProviderDown),
            ("3", .ok, .connectionRecovered), ("4", .ok, .connectionRecovered),
        ] {
            try await site.store.setHealth(.init(state: state, since: now), connection: site.a.connectionUID, expectedRevision: 1, events: [event(id, kind)])
        }
        #expect(try await site.all("wh_a").map(\.event.id) == ["evt_3", "evt_1"])
    }

    @Test(arguments: Backend.allCases) func anEventWaitsForTheOneBeforeItOfTheSameGrant(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a"), makeWebhook("wh_b")])
        try await site.announce(makeEvent("a1", site.a), makeEvent("a2", site.a), makeEvent("b1", site.b), makeEvent("a3", site.a))
        let first = ["wh_a evt_a1", "wh_a evt_b1", "wh_b evt_a1", "wh_b evt_b1"]
        #expect(try await site.due() == first)
        // A failed try keeps the others of its grant back, in one webhook alone.
        let a1 = try #require(try await site.all("wh_a").last)
        try await site.store.noteTried(sequence: a1.sequence, status: 503, error: "it failed", nextTryAt: now + .seconds(5))
        #expect(try await site.due() == ["wh_a evt_b1", "wh_b evt_a1", "wh_b evt_b1"])
        #expect(try await site.due(at: now + .seconds(5)) == ["wh_a evt_b1", "wh_a evt_a1", "wh_b evt_a1", "wh_b evt_b1"])
        let tried = try #require(try await site.all("wh_a").last)
        #expect(tried.tries == 1)
        #expect(tried.lastStatus == 503)
        #expect(tried.lastError == "it failed")
        #expect(try await site.all("wh_a").map(\.nextTryAt) == [nil, now, nil, now + .seconds(5)])
        // Delivered or given up: the next one goes.
        try await site.end("evt_a1", of: "wh_a")
        #expect(try await site.due() == ["wh_a evt_a2", "wh_a evt_b1", "wh_b evt_a1", "wh_b evt_b1"])
        try await site.end("evt_a2", of: "wh_a", .failed)
        #expect(try await site.due() == ["wh_a evt_b1", "wh_a evt_a3", "wh_b evt_a1", "wh_b evt_b1"])
        try await site.end("evt_a3", of: "wh_a")
        try await site.end("evt_b1", of: "wh_a")
        #expect(try await site.due() == ["wh_b evt_a1", "wh_b evt_b1"])
        // Nothing waits, so a new one need not.
        try await site.announce(makeEvent("a4", site.a))
        #expect(try await site.due() == ["wh_a evt_a4", "wh_b evt_a1", "wh_b evt_b1"])
    }

    @Test(arguments: Backend.allCases) func oneWebhooksBacklogHidesNobodyElses(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a"), makeWebhook("wh_b", kinds: [.grantRevoked])])
        let connection = try #require(try await site.store.connection(id: "a"))
        for number in 0..<20 {
            let grant = makeGrant(connection, subject: "s\(number)")
            #expect(try await site.store.put(grant, expectedGeneration: nil, events: [makeEvent("\(number)", grant, kind: .grantCreated)]))
        }
        try await site.announce(makeEvent("last", site.b, kind: .grantRevoked, at: now + .seconds(1)))
        let due = try await site.store.dueDeliveries(now: now + .seconds(1), room: DeliveryRoom(perWebhook: 3))
        #expect(due.map(\.webhookID) == ["wh_a", "wh_a", "wh_a", "wh_b"])
    }

    @Test(arguments: Backend.allCases) func whatHasEndedStaysEnded(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a")])
        try await site.announce(makeEvent("1", site.a))
        let sequence = try #require(try await site.all("wh_a").first).sequence
        try await site.end("evt_1", of: "wh_a", at: now + .seconds(3))
        try await site.store.noteTried(sequence: sequence, status: 500, error: "late", nextTryAt: now)
        try await site.store.endDelivery(sequence: sequence, state: .failed, status: 500, error: "late", at: now + .seconds(9))
        let ended = try #require(try await site.all("wh_a").first)
        #expect(ended.state == .delivered)
        #expect(ended.tries == 1)
        #expect(ended.lastStatus == 200)
        #expect(ended.endedAt == now + .seconds(3))
        #expect(ended.nextTryAt == nil)
    }

    @Test(arguments: Backend.allCases) func aDisabledWebhookIsToldNothing(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a")])
        try await site.announce(makeEvent("1", site.a), makeEvent("2", site.a))
        try await site.store.disableWebhook(id: "wh_a", at: now + .seconds(1))
        #expect(try await site.store.webhook(id: "wh_a")?.disabledAt == now + .seconds(1))
        try await site.announce(makeEvent("3", site.a))
        #expect(try await site.due(at: now + .seconds(9)).isEmpty)
        #expect(try await site.all("wh_a", .failed).map(\.event.id) == ["evt_2", "evt_1"])
        // An answer that was on its way counts.
        try await site.end("evt_1", of: "wh_a")
        #expect(try await site.all("wh_a").map(\.state) == [.failed, .delivered])
        #expect(try await site.store.replay(webhook: "wh_a", .failed, now: now + .seconds(9)) == 1)
        #expect(try await site.store.webhook(id: "wh_a")?.disabledAt == nil)
        try await site.announce(makeEvent("4", site.a))
        #expect(try await site.due(at: now + .seconds(9)) == ["wh_a evt_2"])
    }

    @Test(arguments: Backend.allCases) func aReplayKeepsTheOrder(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a")])
        try await site.announce(makeEvent("a1", site.a), makeEvent("a2", site.a, at: now + .seconds(10)), makeEvent("b1", site.b, at: now + .seconds(20)))
        try await site.end("evt_a1", of: "wh_a", .failed)
        let later = now + .seconds(100)
        // The second was to go; now it waits for the first again.
        #expect(try await site.due(at: later) == ["wh_a evt_a2", "wh_a evt_b1"])
        #expect(try await site.store.replay(webhook: "wh_a", .failed, now: later) == 1)
        #expect(try await site.due(at: later) == ["wh_a evt_b1", "wh_a evt_a1"])
        let again = try #require(try await site.all("wh_a").last)
        #expect(again.tries == 0)
        #expect(again.begunAt == later)
        #expect(again.lastError == nil)
        #expect(again.endedAt == nil)
        // A try that was under way meanwhile does not bring it forward.
        let a2 = try #require(try await site.all("wh_a").first { $0.event.id == "evt_a2" })
        try await site.store.noteTried(sequence: a2.sequence, status: nil, error: "it failed", nextTryAt: now)
        #expect(try await site.due(at: later) == ["wh_a evt_b1", "wh_a evt_a1"])
        for event in ["evt_a1", "evt_a2", "evt_b1"] { try await site.end(event, of: "wh_a") }
        // Since a time: delivered ones too. One alone.
        #expect(try await site.store.replay(webhook: "wh_a", .failed, now: later) == 0)
        #expect(try await site.store.replay(webhook: "wh_a", .since(now + .seconds(10)), now: later) == 2)
        #expect(try await site.due(at: later) == ["wh_a evt_a2", "wh_a evt_b1"])
        #expect(try await site.store.replay(webhook: "wh_a", .one(again.sequence), now: later) == 1)
        #expect(try await site.due(at: later) == ["wh_a evt_a1", "wh_a evt_b1"])
        #expect(try await site.store.replay(webhook: "wh_a", .one(99), now: later) == 0)
        #expect(try await site.store.replay(webhook: "wh_x", .failed, now: later) == nil)
    }

    @Test(arguments: Backend.allCases) func deliveriesAreListedNewestFirstPageByPage(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a"), makeWebhook("wh_b")])
        for number in 1...5 { try await site.announce(makeEvent("\(number)", site.a)) }
        try await site.end("evt_2", of: "wh_a")
        let first = try await site.store.deliveries(webhook: "wh_a", state: nil, before: nil, limit: 2)
        #expect(first.map(\.event.id) == ["evt_5", "evt_4"])
        let second = try await site.store.deliveries(webhook: "wh_a", state: nil, before: first.last?.sequence, limit: 9)
        #expect(second.map(\.event.id) == ["evt_3", "evt_2", "evt_1"])
        #expect(try await site.all("wh_a", .delivered).map(\.event.id) == ["evt_2"])
        #expect(try await site.all("wh_b", .delivered).isEmpty)
    }

    @Test(arguments: Backend.allCases) func whatEndedLongAgoIsForgottenWithItsEvent(_ backend: Backend) async throws {
        let site = try await Site(backend, webhooks: [makeWebhook("wh_a"), makeWebhook("wh_b")])
        for number in 1...3 { try await site.announce(makeEvent("marker-\(number)", site.a)) }
        for event in ["evt_marker-1", "evt_marker-2"] { try await site.end(event, of: "wh_a", at: now) }
        try await site.end("evt_marker-1", of: "wh_b", at: now + .seconds(10))
        #expect(try await site.store.trimDeliveries(endedBefore: now, limit: 10) == 0)
        #expect(try await site.store.trimDeliveries(endedBefore: now + .seconds(1), limit: 1) == 1)
        #expect(try await site.store.trimDeliveries(endedBefore: now + .seconds(1), limit: 10) == 1)
        #expect(try await site.all("wh_a").map(\.event.id) == ["evt_marker-3"])
        // The other webhook has its deliveries yet, and so the events.
        #expect(try await site.all("wh_b").count == 3)
        #expect(try await site.store.trimDeliveries(endedBefore: now + .seconds(60), limit: 10) == 1)
        #expect(try await site.store.deleteWebhook(id: "wh_b"))
        #expect(try await site.due() == ["wh_a evt_marker-3"])
        try await site.store.close()
        guard backend == .sqlite else { return }
        let bytes = String(decoding: try site.opened.bytes(), as: UTF8.self)
        #expect(bytes.contains("evt_marker-3"))
        #expect(!bytes.contains("evt_marker-1"))
        #expect(!bytes.contains("evt_marker-2"))
    }
}
