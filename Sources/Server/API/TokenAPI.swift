import Broker
import Hummingbird
import OAuth
import Vault

enum TokenAPI {
    static func get(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        let query = try query(inbound)
        let caller = try inbound.caller
        if let hit = inbound.broker.cachedToken(connectionID: id, query: query, for: caller) { return .json(bytes: body(hit, now: inbound.broker.now)) }
        return .json(bytes: body(try await inbound.broker.token(connectionID: id, query: query, for: caller), now: inbound.broker.now))
    }

    private static let parameters: Set<String> = ["subject", "min_ttl", "force_refresh", "after_generation"]

    private static func query(_ inbound: Inbound) throws(Problem) -> Broker.TokenQuery {
        guard inbound.request.uri.query != nil else { return Broker.TokenQuery() }
        let reader = try inbound.query(parameters)
        return Broker.TokenQuery(
            subject: try reader.text("subject") ?? "", minTTL: try reader.integer("min_ttl", in: 0...315_360_000) ?? 0,
            forceRefresh: try reader.flag("force_refresh"), afterGeneration: try reader.integer("after_generation", in: 0...Int(Int32.max)))
    }

    /// Written straight to bytes: this is what is asked most.
    private static func body(_ token: IssuedToken, now: Timestamp) -> [UInt8] {
        var bytes: [UInt8] = []
        token.accessToken.withExposed { text in
            bytes.reserveCapacity(text.utf8.count + 200)
            bytes += #"{"access_token":"#.utf8
            JSONValue.write(text, to: &bytes)
        }
        bytes += #","token_type":"#.utf8
        JSONValue.write(token.tokenType, to: &bytes)
        if let expiresAt = token.expiresAt {
            bytes += #","expires_at":""#.utf8
            bytes += expiresAt.rfc3339.utf8
            bytes += #"","expires_in":"#.utf8
            bytes += String(max((expiresAt.milliseconds - now.milliseconds) / 1000, 0)).utf8
        } else {
            bytes += #","expires_at":null,"expires_in":null"#.utf8
        }
        bytes += #","scope":"#.utf8
        if let scope = token.scope {
            bytes.append(UInt8(ascii: "["))
            for (index, name) in scope.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                JSONValue.write(name, to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        } else {
            bytes += "null".utf8
        }
        bytes += #","generation":"#.utf8
        bytes += String(token.generation).utf8
        bytes += token.refreshed ? #","refreshed":true}"#.utf8 : #","refreshed":false}"#.utf8
        return bytes
    }
}
