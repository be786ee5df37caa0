import Egress
import Foundation
import HTTPTypes
import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

@Suite struct WebhookTests {
    /// A connection whose grants tests import, and a webhook for everything.
    private func ready(patience: Duration = .seconds(15)) async throws -> (WebhookBench, id: String, secret: [UInt8]) {
        let bench = try await WebhookBench(patience: patience)
        try await bench.main.connection("app", .authorizationCode)
        let (id, secret) = try await bench.hook()
        return (bench, id, secret)
    }

    // MARK: Making one

    @Test func aWebhookMayNotPointWhereRequestsMayNotGo() async throws {  // SEC-78
        let bench = try await Bench(egressAllow: [])
        for url in [
            "http://127.0.0.1/hook", "https://127.0.0.1/hook", "https://localhost/", "https://169.254.169.254/", "https://[::1]/", "http://app.example/",
        ] {
            do {
                _ = try await bench.broker.addWebhook(url: url, kinds: nil, by: bench.admin)
                Issue.record("\(url) was taken")
            } catch {
                #expect(error.code == .egressBlocked, "\(url)")
                #expect(error.errors.map(\.pointer) == ["/url"], "\(url)")
            }
        }
        for url in ["", "app.example/hook", "ftp://app.example/", "https://user:pass@app.example/", "https://app.example/#x"] {
            do {
                _ = try await bench.broker.addWebhook(url: url, kinds: nil, by: bench.admin)
                Issue.record("\(url) was taken")
            } catch {
                #expect(error.code == .invalidRequest, "\(url)")
                #expect(error.errors.map(\.pointer) == ["/url"], "\(url)")
            }
        }
        #expect(try await bench.broker.webhooks(for: bench.admin).isEmpty)
    }

    @Test func aNameThatLeadsWhereRequestsMayNotGoIsARetryAndNotAMessage() async throws {  // SEC-78
        let (bench, id, _) = try await ready()
        bench.receiver.script(.fails(.blocked))
        try await bench.main.importGrant("app")
        await bench.pass()
        let delivery = try #require(try await bench.deliveries(id).first)
        #expect(delivery.state == .pending)
        #expect(delivery.lastError == "its URL leads where outbound requests may not go")
    }

    @Test func onlyAnUnboundAdminMayUseThem() async throws {
        let (bench, id, _) = try await ready()
        let broker = bench.main.broker
        let (_, use) = try await broker.addKey(.init(name: "use", role: .use), by: bench.main.admin)
        let (_, bound) = try await broker.addKey(.init(name: "bound", role: .admin, connections: ["app"]), by: bench.main.admin)
        for key in [use, bound] {
            let caller = try #require(broker.authenticate(key))
            for attempt: () async throws -> Void in [
                { _ = try await broker.addWebhook(url: "https://app.example/", kinds: nil, by: caller) }, { _ = try await broker.webhooks(for: caller) },
                { _ = try await broker.deliveries(webhook: id, state: nil, before: nil, limit: 1, for: caller) },
                { _ = try await broker.replay(webhook: id, .failed, by: caller) }, { try await broker.removeWebhook(id: id, by: caller) },
            ] {
                #expect(await bench.main.code(attempt) == .forbidden)
            }
        }
    }

    // MARK: The message

    @Test func messagesAreSignedAsStandardWebhooksSays() async throws {  // SEC-78
        let (bench, id, secret) = try await ready()
        #expect(secret.count == 32)
        try await bench.main.importGrant("app", subject: "user-1")
        let at = bench.now()
        bench.time.advance(.seconds(90))
        bench.receiver.script(.status(500))
        await bench.pass()
        bench.time.advance(.seconds(10))
        await bench.pass()
        let messages = bench.receiver.messages()
        try #require(messages.count == 2)
        let event = try #require(try await bench.deliveries(id).first).event
        for (message, sent) in zip(messages, [90, 100]) {
            #expect(message.request.head.method == .post)
            #expect(message.request.head.scheme == "https")
            #expect(message.request.head.path == "/in")
            #expect(message.field("content-type") == "application/json")
            #expect(message.field("user-agent") == "Grantee/0.1")
            #expect(message.id == event.id)
            // Of this try: else a receiver would take the second one for a copy that somebody sent again.
            #expect(message.field("webhook-timestamp") == String(at.seconds + sent))
            #expect(message.isSigned(by: secret))
            #expect(!message.isSigned(by: [UInt8](repeating: 0, count: 32)))
            #expect(message.json.object?.names == ["type", "timestamp", "data"])
            #expect(message.type == "grant.created")
            #expect(message.json["timestamp"]?.string == at.rfc3339)
            #expect(message.data["connection"]?.string == "app")
            #expect(message.subject == "user-1")
            #expect(message.mend == nil)
        }
    }

    @Test func noMessageHoldsATokenOrASecret() async throws {  // SEC-78
        let bench = try await WebhookBench()
        try await bench.main.connection("app", .authorizationCode, secret: "MARKED-client-secret")
        let (id, secret) = try await bench.hook()
        bench.main.provider.set(members: #","account_note":"MARKED-member""#)
        bench.main.provider.accept(refreshTokens: ["MARKED-rt"])
        try await bench.main.importGrant("app", access: "MARKED-at", refresh: "MARKED-rt", expiresIn: 0)
        _ = try await bench.main.token("app", .init(forceRefresh: true))
        bench.main.provider.script(.json(400, #"{"error":"invalid_grant","error_description":"MARKED-description"}"#))
        _ = await bench.main.code { _ = try await bench.main.token("app", .init(forceRefresh: true)) }
        try await bench.main.importGrant("app", subject: "two", access: "MARKED-at-2", refresh: "MARKED-rt-2", expiresIn: 0)
        bench.main.provider.script(.json(401, #"{"error":"invalid_client","error_description":"MARKED-description"}"#))
        _ = await bench.main.code { _ = try await bench.main.token("app", .init(subject: "two", forceRefresh: true)) }
        _ = try await bench.main.broker.revoke(connectionID: "app", subject: "two", by: bench.main.admin)
        await bench.pass()
        let messages = bench.receiver.messages()
        let kinds: Set = ["grant.created", "grant.reauthorization_required", "connection.misconfigured", "grant.revoked"]
        #expect(Set(messages.map(\.type)).isSuperset(of: kinds), "\(messages.map(\.type))")
        for message in messages {
            let text = message.body + message.request.head.headerFields.map { $0.name.rawName + $0.value }.joined()
            for marker in ["MARKED", "at-1", "rt-1", Bench.adminKey, Data(secret).base64EncodedString()] {
                #expect(!text.contains(marker), "\(message.type) holds \(marker)")
            }
        }
        #expect(try await bench.deliveries(id).allSatisfy { $0.state == .delivered })
    }

    // MARK: Failures

    @Test(
        arguments: [
            (.status(500), 500, "it answered with status 500"), (.status(404), 404, "it answered with status 404"),
            (.status(429), 429, "it answered with status 429"),
            (.status(302, [.location: "https://evil.example/"]), 302, "it answered with a redirect, which is never followed"),
            (.fails(.unreachable("connection refused")), nil, "it could not be reached: connection refused"),
            (.fails(.broken("it is not HTTP")), nil, "its answer could not be used: it is not HTTP"),
            (.status(503, [.retryAfter: "0"]), 503, "it answered with status 503"),
        ] as [(Receiver.Answer, Int?, String)])
    func aReceiverThatFailsIsTriedForADayAndNoLonger(answer: Receiver.Answer, status: Int?, error: String) async throws {  // SEC-78
        let (bench, id, _) = try await ready()
        bench.receiver.always(answer)
        try await bench.main.importGrant("app")
        let begun = bench.now()
        for _ in 0..<50 {
            await bench.pass()
            let delivery = try #require(try await bench.deliveries(id).first)
            #expect(delivery.lastStatus == status)
            #expect(delivery.lastError == error)
            guard let next = delivery.nextTryAt else { break }
            // Not a moment earlier.
            let count = bench.receiver.messages().count
            bench.time.advance(next - bench.now() - .milliseconds(1))
            await bench.pass()
            #expect(bench.receiver.messages().count == count)
            bench.time.advance(.milliseconds(1))
        }
        let delivery = try #require(try await bench.deliveries(id).first)
        #expect(delivery.state == .failed)
        #expect(delivery.endedAt == begun + .seconds(86_400))
        #expect((11...13).contains(delivery.tries), "\(delivery.tries)")
        #expect(bench.receiver.messages().count == delivery.tries)
        #expect(bench.receiver.hosts == ["hooks.example"])
        #expect(Set(bench.receiver.messages().map(\.id)) == [delivery.event.id])
        #expect(try await bench.noted("webhook.given_up") == [id])
        bench.time.advance(.seconds(7 * 86_400))
        await bench.pass()
        #expect(bench.receiver.messages().count == delivery.tries)
    }

    @Test(arguments: [(1, 5.0), (2, 30), (3, 120), (4, 600), (5, 1800), (6, 3600), (7, 7200), (8, 14_400), (9, 28_800), (10, 28_800)])
    func theWaitsGrow(tries: Int, seconds: Double) {
        let begun = Timestamp(milliseconds: 1_800_000_000_000)
        for jitter in [0.8, 1, 1.2] {
            let next = WebhookTry.next(tries: tries, begunAt: begun, now: begun, retryAfter: nil, jitter: jitter)
            let wait = next.map { ($0 - begun) / .seconds(1) } ?? 0
            #expect(abs(wait - seconds * jitter) < 0.01)
        }
    }

    @Test(
        arguments: [
            // Tried at, tries, Retry-After, next.
            (0, 1, 60, 60), (0, 1, 1, 5), (0, 8, 60, 14_400), (0, 1, 100_000, 28_800), (80_000, 10, nil, 86_400), (86_399, 10, nil, 86_400),
            (86_399, 10, 60, 86_459), (86_400, 1, nil, nil), (86_400, 1, 60, nil), (200_000, 1, nil, nil), (-7200, 2, nil, -7170),
        ] as [(Int, Int, Int?, Int?)])
    func theReceiverAndTheDayBoundTheWait(at: Int, tries: Int, retryAfter: Int?, expected: Int?) {
        let begun = Timestamp(milliseconds: 1_800_000_000_000)
        let next = WebhookTry.next(tries: tries, begunAt: begun, now: begun + .seconds(at), retryAfter: retryAfter, jitter: 1)
        #expect(next == expected.map { begun + .seconds($0) })
    }

    @Test func aSlowReceiverHoldsUpNobodyElse() async throws {
        let bench = try await WebhookBench()
        try await bench.main.connection("app", .authorizationCode)
        let slow = try await bench.hook("https://slow.example/")
        let fast = try await bench.hook("https://fast.example/")
        bench.receiver.always(.hangs, host: "slow.example")
        for number in 0..<30 { try await bench.main.importGrant("app", subject: "user-\(number)") }
        await bench.sender.deliverWebhooks()
        try await waitUntil { try await bench.deliveries(fast.id, .delivered).count == 30 }
        try await waitUntil { bench.receiver.messages("slow.example").count == WebhookSlots.perWebhook }
        // A shutdown waits for none of them, and they stay due.
        await bench.sender.webhooksUnderWay.close()
        #expect(try await bench.deliveries(slow.id, .pending).count == 30)
        #expect(try await bench.deliveries(slow.id).allSatisfy { $0.tries == 0 })
        await bench.pass()
        #expect(bench.receiver.messages("slow.example").count == WebhookSlots.perWebhook)
    }

    @Test func anAnswerThatDoesNotComeInTimeIsAFailedTry() async throws {
        let (bench, id, _) = try await ready(patience: .milliseconds(20))
        bench.receiver.script(.hangs)
        try await bench.main.importGrant("app")
        await bench.pass()
        let delivery = try #require(try await bench.deliveries(id).first)
        #expect(delivery.tries == 1)
        #expect(delivery.lastStatus == nil)
        #expect(delivery.lastError?.hasPrefix("it did not answer within") == true)
        bench.startAnew()
        bench.time.advance(.seconds(10))
        await bench.pass()
        #expect(try await bench.deliveries(id).map(\.state) == [.delivered])
    }

    @Test func aReceiverThatIsGoneIsToldNothingMore() async throws {
        let (bench, id, _) = try await ready()
        let other = try await bench.hook("https://other.example/")
        bench.receiver.script(.status(500), .status(410))
        try await bench.main.importGrant("app", subject: "user-1")
        await bench.pass()
        try await bench.main.importGrant("app", subject: "user-1")
        bench.time.advance(.seconds(10))
        await bench.pass()
        #expect(bench.receiver.messages().count == 2)
        #expect(try await bench.deliveries(id).map(\.state) == [.failed, .failed])
        #expect(try await bench.deliveries(id).map(\.lastStatus) == [nil, 410])
        let webhook = try #require(try await bench.main.broker.webhooks(for: bench.main.admin).first { $0.id == id })
        #expect(webhook.disabledAt == bench.now())
        #expect(try await bench.noted("webhook.disabled") == [id])
        try await bench.main.importGrant("app", subject: "user-1")
        await bench.pass()
        #expect(bench.receiver.messages().count == 2)
        #expect(try await bench.deliveries(other.id, .delivered).count == 3)
        // A replay enables it.
        #expect(try await bench.main.broker.replay(webhook: id, .failed, by: bench.main.admin) == 2)
        await bench.pass()
        try await bench.main.importGrant("app", subject: "user-1")
        await bench.pass()
        #expect(bench.receiver.messages().dropFirst(2).map(\.type) == ["grant.created", "grant.refreshed", "grant.refreshed"])
    }

    // MARK: At least once, in order

    @Test func eventsOfAGrantArriveInOrderAndOthersGoOn() async throws {
        let (bench, id, _) = try await ready()
        bench.receiver.script(.status(503))
        try await bench.main.importGrant("app", subject: "a")
        await bench.pass()
        for subject in ["a", "b", "a", "b"] { try await bench.main.importGrant("app", subject: subject) }
        _ = try await bench.main.broker.revoke(connectionID: "app", subject: "a", by: bench.main.admin)
        await bench.pass()
        // The first of `a` waits for its time, and the others wait for it.
        #expect(bench.receiver.messages().map { $0.subject + " " + $0.type } == ["a grant.created", "b grant.created", "b grant.refreshed"])
        bench.time.advance(.seconds(10))
        await bench.pass()
        let ofA = bench.receiver.messages().filter { $0.subject == "a" }
        #expect(ofA.map(\.type) == ["grant.created", "grant.created", "grant.refreshed", "grant.refreshed", "grant.revoked"])
        #expect(ofA[0].id == ofA[1].id)
        #expect(Set(ofA.map(\.id)).count == 4)
        let generations = ofA.compactMap { $0.data["generation"]?.integer }
        #expect(generations == generations.sorted())
        #expect(try await bench.deliveries(id).allSatisfy { $0.state == .delivered })
    }

    @Test func whatWasSentButNotNotedIsSentAgain() async throws {
        let (bench, id, secret) = try await ready()
        // The receiver has it; the process ends before it knows.
        bench.receiver.script(.hangs)
        try await bench.main.importGrant("app", subject: "a")
        await bench.sender.deliverWebhooks()
        try await waitUntil { bench.receiver.messages().count == 1 }
        let ended = bench.sender
        bench.startAnew()
        try await bench.main.importGrant("app", subject: "a")
        await bench.pass()
        let messages = bench.receiver.messages()
        #expect(messages.map(\.type) == ["grant.created", "grant.created", "grant.refreshed"])
        #expect(messages[0].id == messages[1].id)
        for message in messages { #expect(message.isSigned(by: secret)) }
        #expect(try await bench.deliveries(id).map(\.state) == [.delivered, .delivered])
        await ended.webhooksUnderWay.close()
    }

    @Test func anOutageOfAConnectionIsOneEvent() async throws {
        let (bench, _, _) = try await ready()
        let broker = bench.main.broker
        let connection = try #require(try await broker.store.connection(id: "app"))
        // Two renewals that read the connection while it was well.
        for _ in 0..<2 { await broker.setHealth(.providerDown, reason: "provider_unreachable", of: connection) }
        await bench.pass()
        #expect(bench.receiver.messages().map(\.type) == ["connection.provider_down"])
        let sick = try #require(try await broker.store.connection(id: "app"))
        for _ in 0..<2 { await broker.setHealth(.ok, reason: nil, of: sick) }
        await bench.pass()
        #expect(bench.receiver.messages().map(\.type) == ["connection.provider_down", "connection.recovered"])
    }

    @Test func aRemovedWebhookIsToldNothing() async throws {
        let (bench, id, _) = try await ready()
        try await bench.main.importGrant("app")
        try await bench.main.broker.removeWebhook(id: id, by: bench.main.admin)
        await bench.pass()
        #expect(bench.receiver.messages().isEmpty)
        #expect(await bench.main.code { _ = try await bench.deliveries(id) } == .notFound)
        #expect(await bench.main.code { try await bench.main.broker.removeWebhook(id: id, by: bench.main.admin) } == .notFound)
        #expect(await bench.main.code { _ = try await bench.main.broker.replay(webhook: id, .failed, by: bench.main.admin) } == .notFound)
    }

    @Test func aReplayGivesADayAgain() async throws {
        let (bench, id, _) = try await ready()
        bench.receiver.always(.status(500))
        try await bench.main.importGrant("app")
        bench.time.advance(.seconds(2 * 86_400))
        await bench.pass()
        #expect(try await bench.deliveries(id).map(\.state) == [.failed])
        let broker = bench.main.broker
        #expect(try await broker.replay(webhook: id, .failed, by: bench.main.admin) == 1)
        bench.time.advance(.seconds(86_399))
        await bench.pass()
        #expect(try await bench.deliveries(id).map(\.state) == [.pending])
        bench.receiver.always(nil)
        bench.time.advance(.seconds(10))
        await bench.pass()
        let delivery = try #require(try await bench.deliveries(id).first)
        #expect(delivery.state == .delivered)
        #expect(try await broker.replay(webhook: id, .failed, by: bench.main.admin) == 0)
        #expect(try await broker.replay(webhook: id, .one(delivery.sequence), by: bench.main.admin) == 1)
        await bench.pass()
        #expect(bench.receiver.messages().count == 4)
        #expect(await bench.main.code { _ = try await broker.replay(webhook: id, .one(99), by: bench.main.admin) } == .notFound)
    }

    // MARK: What mends it

    /// A grant that needs a person.
    private func demand(_ bench: WebhookBench, subject: String = "user-1") async throws {
        try await bench.main.importGrant("app", subject: subject, refresh: nil, expiresIn: 0)
        #expect(await bench.main.code { _ = try await bench.main.token("app", .init(subject: subject)) } == .reauthorizationRequired)
    }

    private func ticket(_ message: Receiver.Message) throws -> String {
        let url = try #require(message.mend?["connect_url"]?.string)
        #expect(url.hasPrefix("http://127.0.0.1:8080/connect/"))
        return try #require(url.split(separator: "/").last.map(String.init))
    }

    @Test func theEventCarriesTheLinkThatMendsIt() async throws {
        let bench = try await WebhookBench()
        try await bench.main.connection("app", .authorizationCode)
        _ = try await bench.hook("https://hooks.example/in", [.grantReauthorizationRequired])
        try await demand(bench)
        bench.receiver.script(.status(500), .status(500))
        await bench.pass()
        let first = try #require(bench.receiver.messages().first)
        #expect(first.mend?["request"]?.string == "POST http://127.0.0.1:8080/v1/connections/app/connect")
        #expect(first.mend?["expires_at"]?.string == (bench.now() + Broker.ticketLifetime).rfc3339)
        #expect(first.data["reason"]?.string == "no_refresh_token")
        let page = try await bench.main.broker.connectPage(ticket: try ticket(first))
        #expect(page.ended == nil)
        #expect(page.connection.id == "app")
        #expect(page.session.subject == "user-1")
        #expect(page.session.appName == "hooks.example")
        // The next try soon after has the same link, a late one another.
        bench.time.advance(.seconds(60))
        await bench.pass()
        bench.time.advance(.seconds(1800))
        await bench.pass()
        let messages = bench.receiver.messages()
        try #require(messages.count == 3)
        #expect(try ticket(messages[1]) == ticket(messages[0]))
        #expect(try ticket(messages[2]) != ticket(messages[0]))
        #expect(try await bench.main.broker.connectPage(ticket: try ticket(messages[2])).ended == nil)
    }

    @Test func aPasswordThatNobodyStoredIsAskedForByTheLink() async throws {
        let bench = try await WebhookBench()
        try await bench.main.connection("app", .password)
        _ = try await bench.hook("https://hooks.example/in", [.grantReauthorizationRequired])
        try await demand(bench)
        await bench.pass()
        let message = try #require(bench.receiver.messages().first)
        #expect(try await bench.main.broker.connectPage(ticket: try ticket(message)).asksForPassword)
    }

    @Test func withoutTheConnectionThereIsNothingToMend() async throws {
        let bench = try await WebhookBench()
        try await bench.main.connection("app", .authorizationCode)
        _ = try await bench.hook("https://hooks.example/in", [.grantReauthorizationRequired, .connectionMisconfigured])
        try await demand(bench)
        let connection = try #require(try await bench.main.store.connection(id: "app"))
        await bench.main.broker.setHealth(.misconfigured, reason: "invalid_client", of: connection)
        bench.receiver.script(.status(500), .status(500))
        await bench.pass()
        let requests = bench.receiver.messages().compactMap { $0.mend?["request"]?.string }
        #expect(
            Set(requests) == ["POST http://127.0.0.1:8080/v1/connections/app/connect", "PATCH http://127.0.0.1:8080/v1/connections/app"])
        try await bench.main.broker.deleteConnection(id: "app", by: bench.main.admin)
        bench.time.advance(.seconds(10))
        await bench.pass()
        let late = bench.receiver.messages().dropFirst(2)
        #expect(Set(late.map(\.type)) == ["grant.reauthorization_required", "connection.misconfigured"])
        for message in late { #expect(message.mend == nil) }
    }

    // MARK: Slots

    private func delivery(_ sequence: Int, _ webhook: String, lane: String? = nil) -> Delivery {
        let uid = UID(text: lane ?? "\(sequence)")
        let at = Timestamp(milliseconds: 1_800_000_000_000)
        let event = WebhookEvent(id: "evt_\(sequence)", kind: .grantCreated, at: at, connectionUID: uid, orderKey: uid, subject: nil, data: "{}")
        return Delivery(sequence: sequence, webhookID: webhook, event: event, state: .pending, tries: 0, begunAt: at, nextTryAt: at)
    }

    @Test func fewAreOnTheirWayAtOnceAndFewToOneReceiver() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        var slots = WebhookSlots()
        let due = Dictionary(uniqueKeysWithValues: (0..<8).map { ("wh_\($0)", 10) })
        // Two each.
        let shares = slots.room(now: now).shares(of: due)
        #expect(shares == due.mapValues { _ in 2 })
        #expect(shares.values.reduce(0, +) == WebhookSlots.atOnce)
        let first = (0..<8).flatMap { [delivery($0 * 10, "wh_\($0)"), delivery($0 * 10 + 1, "wh_\($0)")] }
        #expect(slots.admit(first).count == WebhookSlots.atOnce)
        #expect(slots.room(now: now).shares(of: due).isEmpty)
        slots.leave(first[5], rest: nil)
        // The one that has the fewest under way.
        #expect(slots.room(now: now).shares(of: due) == ["wh_2": 1])
        #expect(slots.room(now: now).excepted == Set(first.map(Delivery.Lane.init)).subtracting([.init(of: first[5])]))
        var alone = WebhookSlots()
        #expect(alone.room(now: now).shares(of: ["wh_a": 10]) == ["wh_a": WebhookSlots.perWebhook])
    }

    @Test func aLaneIsSentOneByOneAndRestsWhenItsOutcomeCouldNotBeWritten() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        var slots = WebhookSlots()
        let due = [delivery(1, "wh_a", lane: "x"), delivery(2, "wh_a", lane: "x"), delivery(3, "wh_b", lane: "x")]
        #expect(slots.admit(due).map(\.sequence) == [1, 3])
        #expect(slots.admit(due).isEmpty)
        slots.leave(due[0], rest: now + .seconds(30))
        let lane = Delivery.Lane(of: due[0])
        #expect(slots.room(now: now + .seconds(29)).excepted.contains(lane))
        #expect(!slots.room(now: now + .seconds(30)).excepted.contains(lane))
    }

    /// For what happens in tasks of their own.
    private func waitUntil(_ condition: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(30)
        while try await !condition() {
            try #require(ContinuousClock.now < end, "it did not happen in time")
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}
