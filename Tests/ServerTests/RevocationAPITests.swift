import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// The kill switch as callers see it. SEC-66
@Suite struct RevocationAPITests {
    private func revocation(_ stage: Stage, _ body: JSONValue) async throws -> RunningServer.Answer {
        let answer = try await stage.server.send(.post, "/v1/revocations", body: body)
        #expect(answer.status == 202, "\(answer.text)")
        return answer
    }

    /// When the providers had their say.
    private func ended(_ stage: Stage, _ id: String) async throws -> RunningServer.Answer {
        var answer = try await stage.server.send(.get, "/v1/revocations/" + id)
        for _ in 0..<100 where answer["ended_at"]?.string == nil {
            try await Task.sleep(for: .milliseconds(100))
            answer = try await stage.server.send(.get, "/v1/revocations/" + id)
        }
        #expect(answer.status == 200, "\(answer.text)")
        return answer
    }

    private func count(_ answer: RunningServer.Answer, _ name: String) -> Int? { answer["provider"]?[name]?.integer }

    @Test func whatIsNamedIsGivenOutNoMoreAndTheReportTellsOfTheProvider() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.put("app", "user-2", ["access_token": "elsewhere"])
            let mine = try await stage.token("app", "subject=user-1")
            #expect(try await stage.whoami(mine) != nil)
            #expect(try await stage.token("machine").status == 200)

            let answer = try await revocation(stage, ["connection": "app", "subject": "user-1"])
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))
            #expect(try await stage.token("app", "subject=user-2").status == 200)
            #expect(answer.string("id").hasPrefix("rv_"))
            #expect(answer.string("connection") == "app")
            #expect(answer.string("subject") == "user-1")
            #expect(answer["key"]?.isNull == true)
            #expect(answer.string("requested_by") == "key_admin")
            #expect(answer["grants"]?.integer == 1)

            let report = try await ended(stage, answer.string("id"))
            #expect(count(report, "revoked") == 1)
            #expect(count(report, "pending") == 0)
            #expect(try await stage.whoami(mine) == nil)

            let shared = try await revocation(stage, ["subject": "-"])
            #expect(shared.string("subject") == "-")
            #expect(shared["grants"]?.integer == 1)
            #expect(try await stage.token("machine").isProblem("not_connected", 409))
            let all = try await revocation(stage, [:])
            #expect(all["grants"]?.integer == 1)
            #expect(try await stage.token("app", "subject=user-2").isProblem("not_connected", 409))

            let list = try await stage.server.send(.get, "/v1/revocations?limit=2")
            #expect(list.items("id") == [all.string("id"), shared.string("id")])
            let rest = try await stage.server.send(.get, "/v1/revocations?after=" + list.string("next"))
            #expect(rest.items("id") == [answer.string("id")])
            #expect(rest["next"]?.isNull == true)
            #expect(try await stage.server.send(.get, "/v1/revocations?after=nonsense").isProblem("invalid_request", 400))
        }
    }

    @Test func aKeyGoesWithWhatItWasGiven() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            for subject in ["user-1", "user-2"] { try await stage.put("app", subject, ["access_token": "a"]) }
            let made = try await stage.server.send(.post, "/v1/keys", body: ["name": "leaked", "role": "use"])
            let key = RunningServer.Key.other(made.string("key"))
            #expect(try await stage.token("app", "subject=user-1", key: key).status == 200)
            let answer = try await revocation(stage, ["key": .string(made.string("id"))])
            #expect(answer["grants"]?.integer == 1)
            #expect(answer.string("key") == made.string("id"))
            #expect(try await stage.token("app", "subject=user-2", key: key).isProblem("unauthenticated", 401))
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))
            #expect(try await stage.token("app", "subject=user-2").status == 200)
            let refused: [(JSONValue, String, Int)] = [
                (["key": "key_admin"], "conflict", 409), (["key": "key_nothing"], "not_found", 404), (["connection": "nothing"], "not_found", 404),
            ]
            for (body, code, status) in refused {
                #expect(try await stage.server.send(.post, "/v1/revocations", body: body).isProblem(code, status), "\(code)")
            }
        }
    }

    @Test func aFailureIsNamed() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            // The provider does not know the client by it: revocation is refused.
            let changed = try await stage.server.send(.patch, "/v1/connections/app", body: ["oauth": ["client_secret": "wrong"]])
            #expect(changed.status == 200, "\(changed.text)")
            let id = try await revocation(stage, ["connection": "app"]).string("id")
            let report = try await ended(stage, id)
            #expect(count(report, "failed") == 1)
            let expected: JSONValue = [["connection": "app", "subject": "user-1", "reason": "refused"]]
            #expect(report["failures"] == expected)
            let activity = try await stage.server.send(.get, "/v1/activity?connection=app")
            #expect(activity.items("action").contains("grant.revocation_failed"))
        }
    }

    @Test(
        "Everything must be asked for: nothing, and what is lost on the way, is refused",
        arguments: ["", "null", "[]", #"{"connection":null}"#, #"{"subject":""}"#])
    func everythingIsAskedForInWords(body: String) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.put("app", "user-1", ["access_token": "a"])
            let answer = try await stage.server.send(.post, "/v1/revocations", raw: Array(body.utf8))
            #expect(answer.isProblem("invalid_request", 400), "\(answer.text)")
            #expect(try await stage.token("app", "subject=user-1").status == 200)
            #expect(try await stage.server.send(.get, "/v1/revocations").items("id").isEmpty)
        }
    }

    @Test func theReportHoldsWhatTheDescriptionSays() async throws {
        let schema = try JSONValue(parsing: Array(PackageResources.openapi_json))["components"]?["schemas"]?["RevocationOfMany"]
        let names = Set(schema?["properties"]?.object?.names ?? [])
        #expect(!names.isEmpty)
        try await Stage.with { stage in
            let made = try await revocation(stage, [:])
            #expect(Set(made.json.object?.names ?? []) == names)
            #expect(Set(made["provider"]?.object?.names ?? []) == Set(schema?["properties"]?["provider"]?["properties"]?.object?.names ?? []))
            let list = try await stage.server.send(.get, "/v1/revocations")
            for item in list["items"]?.array ?? [] { #expect(Set(item.object?.names ?? []) == names) }
        }
    }
}
