import HTTPTypes
import OAuth
import Server
import TestSupport
import Testing

/// The main job against Authlib and Glewlwyd.
@Suite("Real authorization servers", .serialized, .enabled(if: !Peer.all.isEmpty, "GRANTEE_TEST_PEERS names none; the test command starts them"))
struct PeerTests {
    private func with(_ peer: Peer, _ connection: JSONValue, _ body: (RunningServer) async throws -> Void) async throws {
        try await RunningServer.with(
            { $0.port = peer.port },
            { server in
                let made = try await server.send(.post, "/v1/connections", body: connection)
                try #require(made.status == 201, "\(made.text)")
                try await body(server)
            })
    }

    // MARK: Good answers

    private static let codeCases: [(Peer.ClientKind, String)] = [
        (.confidential, "none"), (.confidential, "S256"), (.confidential, "plain"), (.confidentialPost, "S256"), (.public, "S256"), (.public, "plain"),
    ]

    @Test("Authorization code: connect, token, refresh, revoke", arguments: Peer.all, codeCases)
    func authorizationCode(_ peer: Peer, _ row: (kind: Peer.ClientKind, pkce: String)) async throws {
        try await with(peer, peer.connection("authorization_code", client: row.kind, oauth: ["pkce": .string(row.pkce)])) { server in
            let trip = try await PeerTrip(server)
            let approval = try await peer.approve(trip.authorizationURL)
            #expect(approval.status == 0)
            let session = try await trip.finish(approval.url)
            try #require(session["state"] == "connected", "\(session)")
            let first = try await server.send(.get, "/v1/connections/code/token?subject=user-1")
            #expect(first.status == 200)
            let refreshed = try await server.send(.post, "/v1/connections/code/grants/user-1/refresh")
            #expect(refreshed.status == 200, "\(refreshed.text)")
            let second = try await server.send(.get, "/v1/connections/code/token?subject=user-1")
            #expect(second["access_token"] != first["access_token"])
            #expect(second["generation"]?.integer == (first["generation"]?.integer ?? 0) + 1)
            let revoked = try await server.send(.delete, "/v1/connections/code/grants/user-1")
            // Glewlwyd answers a public client's revocation with 401; the truth is told, and the grant is gone here.
            #expect(revoked["provider"] == (peer.isGlewlwyd && row.kind == .public ? "failed" : "revoked"))
            #expect(try await server.send(.get, "/v1/connections/code/token?subject=user-1").code == "not_connected")
        }
    }

    @Test("Client credentials by both client authentications", arguments: Peer.all, [Peer.ClientKind.confidential, .confidentialPost])
    func clientCredentials(_ peer: Peer, _ kind: Peer.ClientKind) async throws {
        try await with(peer, peer.connection("client_credentials", client: kind)) { server in
            let first = try await server.send(.get, "/v1/connections/code/token")
            try #require(first.status == 200, "\(first.text)")
            let second = try await server.send(.get, "/v1/connections/code/token?force_refresh=true")
            #expect(second["access_token"] != first["access_token"])
            #expect(try await server.send(.get, "/v1/connections/code/token")["access_token"] == second["access_token"])
        }
    }

    @Test("Password, stored and typed by the end user", arguments: Peer.all, [Peer.ClientKind.confidential, .confidentialPost])
    func password(_ peer: Peer, _ kind: Peer.ClientKind) async throws {
        let stored: JSONObject = ["username": .string(peer["user"]), "password": .string(peer["password"])]
        try await with(peer, peer.connection("password", client: kind, oauth: stored)) { server in
            let first = try await server.send(.get, "/v1/connections/code/token")
            try #require(first.status == 200, "\(first.text)")
            let second = try await server.send(.get, "/v1/connections/code/token?after_generation=\(first["generation"]?.integer ?? 0)")
            #expect(second["refreshed"] == true)
            #expect(second["access_token"] != first["access_token"])
        }
        try await with(peer, peer.connection("password", client: kind)) { server in
            let connected = try await server.send(
                .post, "/v1/connections/code/connect",
                body: ["subject": "user-1", "username": .string(peer["user"]), "password": .string(peer["password"])])
            #expect(connected.status == 200, "\(connected.text)")
            #expect(try await server.send(.get, "/v1/connections/code/token?subject=user-1").status == 200)
        }
    }

    @Test("Discovery fills in the endpoints", arguments: Peer.all.filter { !$0["metadata_url"].isEmpty && !$0["issuer"].isEmpty })
    func discovery(_ peer: Peer) async throws {
        try await RunningServer.with { server in
            let found = try await server.send(.post, "/v1/connections/discover", body: ["issuer": .string(peer["issuer"])])
            try #require(found.status == 200, "\(found.text)")
            #expect(found["token_url"]?.string == peer["token_endpoint"])
            #expect(found["authorization_url"]?.string == peer["authorization_endpoint"])
        }
    }

    @Test("A rotated refresh token is replaced, over many refreshes; 200 callers get one of them", arguments: Peer.all)
    func rotation(_ peer: Peer) async throws {
        try await with(peer, peer.connection("authorization_code", client: .confidential)) { server in
            let trip = try await PeerTrip(server)
            _ = try await trip.finish(try await peer.approve(trip.authorizationURL).url)
            for _ in 0..<5 { #expect(try await server.send(.post, "/v1/connections/code/grants/user-1/refresh").status == 200) }
            let generation = try await server.send(.get, "/v1/connections/code/token?subject=user-1")["generation"]?.integer ?? 0
            let statuses = try await withThrowingTaskGroup(of: (Int, Int?).self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        let answer = try await server.send(.get, "/v1/connections/code/token?subject=user-1&after_generation=\(generation)")
                        return (answer.status, answer["generation"]?.integer)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.allSatisfy { $0 == (200, generation + 1) })
        }
    }

    // MARK: Refusals

    @Test(
        "A wrong secret blames the connection, names the fix, and is not asked again", arguments: Peer.all, [Peer.ClientKind.confidential, .confidentialPost])
    func wrongSecret(_ peer: Peer, _ kind: Peer.ClientKind) async throws {
        try await with(peer, peer.connection("client_credentials", client: kind, oauth: ["client_secret": "wrong"])) { server in
            let refused = try await server.send(.get, "/v1/connections/code/token")
            #expect(refused.status == 502)
            #expect(refused.code == "provider_error")
            #expect(refused["provider"]?["status"]?.integer == (peer.isGlewlwyd ? 403 : 401))
            #expect(refused["fix"]?.string?.contains("client_secret") == true)
            #expect(try await server.send(.get, "/v1/connections/code")["health"]?["state"] == "misconfigured")
            #expect(try await server.send(.get, "/v1/connections/code/token").code == "misconfigured")
            // A corrected secret works at once.
            let right = peer.connection("client_credentials", client: kind)["oauth"]?["client_secret"] ?? .null
            _ = try await server.send(.patch, "/v1/connections/code", body: ["oauth": ["client_secret": right]])
            #expect(try await server.send(.get, "/v1/connections/code/token").status == 200)
        }
    }

    @Test("An unknown scope is explained", arguments: Peer.all)
    func unknownScope(_ peer: Peer) async throws {
        try await with(peer, peer.connection("client_credentials", client: .confidential, oauth: ["scopes": ["no-such-scope"]])) { server in
            let refused = try await server.send(.get, "/v1/connections/code/token")
            #expect(refused.code == "provider_error")
            #expect(refused["fix"]?.string?.contains("no-such-scope") == true, "\(refused.text)")
        }
        try await with(peer, peer.connection("authorization_code", client: .confidential, oauth: ["scopes": ["no-such-scope"]])) { server in
            let trip = try await PeerTrip(server)
            let session = try await trip.finish(try await peer.approve(trip.authorizationURL).url)
            #expect(session["state"] == "failed")
            #expect(session["error"] == "invalid_scope")
        }
    }

    @Test("A wrong redirect URI stays at the provider, and nothing is connected", arguments: Peer.all)
    func wrongRedirectURI(_ peer: Peer) async throws {
        let other: JSONObject = ["redirect_uri": .string("http://127.0.0.1:\(peer.port)/oauth/callback/other")]
        try await with(peer, peer.connection("authorization_code", client: .confidential, oauth: other)) { server in
            let trip = try await PeerTrip(server)
            #expect(try await peer.approve(trip.authorizationURL).status == 1)
            #expect(try await server.send(.get, "/v1/connect-sessions/\(trip.session)")["state"] == "open")
        }
    }

    @Test("A person who says no is told so, and the link can be used again", arguments: Peer.all)
    func deniedConsent(_ peer: Peer) async throws {
        try await with(peer, peer.connection("authorization_code", client: .confidential)) { server in
            let trip = try await PeerTrip(server)
            let denial = try await peer.approve(trip.authorizationURL, deny: true)
            if peer.isGlewlwyd {
                // It has no way to say no: the person stays on its pages.
                #expect(denial.status == 3)
                #expect(try await server.send(.get, "/v1/connect-sessions/\(trip.session)")["state"] == "open")
            } else {
                let session = try await trip.finish(denial.url)
                #expect(session["state"] == "failed")
                #expect(session["error"] == "access_denied")
            }
        }
    }

    @Test("Glewlwyd's own error callback ends the try with its code", arguments: Peer.all.filter(\.isGlewlwyd))
    func errorCallback(_ peer: Peer) async throws {
        let silent: JSONObject = ["authorization_params": ["prompt": "none"]]
        try await with(peer, peer.connection("authorization_code", client: .confidential, oauth: silent)) { server in
            let trip = try await PeerTrip(server)
            let session = try await trip.finish(try await peer.approve(trip.authorizationURL).url)
            #expect(session["state"] == "failed")
            #expect(session["error"] == "interaction_required")
        }
    }

    @Test("A wrong password of an end user blames neither connection nor grant", arguments: Peer.all)
    func wrongPassword(_ peer: Peer) async throws {
        try await with(peer, peer.connection("password", client: .confidential)) { server in
            let refused = try await server.send(
                .post, "/v1/connections/code/connect", body: ["subject": "user-1", "username": .string(peer["user"]), "password": "wrong"])
            #expect(refused.code == "provider_error")
            #expect(refused["fix"]?.string?.contains("password") == true, "\(refused.text)")
            let good = try await server.send(
                .post, "/v1/connections/code/connect",
                body: ["subject": "user-1", "username": .string(peer["user"]), "password": .string(peer["password"])])
            #expect(good.status == 200, "\(good.text)")
        }
    }

    @Test("A code that was used is refused, and the connection is not blamed", arguments: Peer.all)
    func codeReplay(_ peer: Peer) async throws {
        try await with(peer, peer.connection("authorization_code", client: .confidential)) { server in
            let first = try await PeerTrip(server)
            let back = try await peer.approve(first.authorizationURL)
            let used = try #require(try Self.parameter("code", of: back.url))
            _ = try await first.finish(back.url)
            let second = try await PeerTrip(server, subject: "user-2")
            let state = try #require(try Self.parameter("state", of: second.authorizationURL))
            let issuer = peer["issuer"].isEmpty ? [] : [("iss", peer["issuer"])]
            let session = try await second.finish(peer.callbackURL + "?" + Form.serialize([("code", used), ("state", state)] + issuer))
            #expect(session["state"] == "failed")
            #expect(session["error"] == "exchange_failed")
            #expect(try await server.send(.get, "/v1/connections/code")["health"]?["state"] == "ok")
        }
    }

    private static func parameter(_ name: String, of url: String) throws -> String? {
        try Form.parse(url.drop { $0 != "?" }.dropFirst().utf8).first { $0.name == name }?.value
    }

    @Test("A refresh token that the provider revoked ends the grant or says what to do; it is not lost", arguments: Peer.all)
    func revokedElsewhere(_ peer: Peer) async throws {
        try await with(peer, peer.connection("authorization_code", client: .confidential)) { server in
            let imported = try await server.send(
                .put, "/v1/connections/code/grants/user-1", body: ["access_token": "old", "refresh_token": "was-revoked", "expires_in": 0])
            #expect(imported.status == 200)
            let refused = try await server.send(.get, "/v1/connections/code/token?subject=user-1")
            if peer.isGlewlwyd {
                // An empty 400 names no reason: the grant stays, and the fix is told.
                #expect(refused.code == "provider_error")
                #expect(refused["fix"]?.string?.contains("connect again") == true, "\(refused.text)")
            } else {
                #expect(refused.code == "reauthorization_required")
                #expect(refused["provider"]?["error"] == "invalid_grant")
            }
        }
    }
}
