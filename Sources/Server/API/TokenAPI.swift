import Broker
import Hummingbird
import NIOCore
import OAuth
import Vault

enum TokenAPI {
    /// From memory, if it can be. No await.
    static func cached(_ inbound: Inbound) throws -> Outbound? {
        try inbound.broker.cachedToken(connectionID: inbound.path("id"), query: query(inbound), for: inbound.caller)
            .map { .json(buffer: body($0, now: inbound.broker.now)) }
    }

    static func get(_ inbound: Inbound) async throws -> Outbound {
        let token = try await inbound.broker.token(connectionID: inbound.path("id"), query: query(inbound), for: inbound.caller)
        return .json(buffer: body(token, now: inbound.broker.now))
    }

    private static let parameters: Set<String> = ["subject", "min_ttl", "force_refresh", "after_generation"]

    private static func query(_ inbound: Inbound) throws(Problem) -> Broker.TokenQuery {
        guard inbound.request.uri.query != nil else { return Broker.TokenQuery() }
        let reader = try inbound.query(parameters)
        return Broker.TokenQuery(
            subject: try reader.text("subject") ?? "", minTTL: try reader.integer("min_ttl", in: 0...315_360_000) ?? 0,
            forceRefresh: try reader.flag("force_refresh"), afterGeneration: try reader.integer("after_generation", in: 0...Int(Int32.max)))
    }

    /// Written straight to the buffer that is sent: this is what is asked most.
    private static func body(_ token: IssuedToken, now: Timestamp) -> ByteBuffer {
        token.accessToken.withExposed { text in
            var buffer = ByteBufferAllocator().buffer(capacity: text.utf8.count + 320)
            buffer.writeStaticString(#"{"access_token":"#)
            buffer.writeJSON(text)
            buffer.writeStaticString(#","token_type":"#)
            buffer.writeJSON(token.tokenType)
            if let expiresAt = token.expiresAt {
                buffer.writeStaticString(#","expires_at":""#)
                buffer.writeString(expiresAt.rfc3339)
                buffer.writeStaticString(#"","expires_in":"#)
                buffer.writeString(String(max((expiresAt.milliseconds - now.milliseconds) / 1000, 0)))
            } else {
                buffer.writeStaticString(#","expires_at":null,"expires_in":null"#)
            }
            buffer.writeStaticString(#","scope":"#)
            if let scope = token.scope {
                buffer.writeStaticString("[")
                for (index, name) in scope.enumerated() {
                    if index > 0 { buffer.writeStaticString(",") }
                    buffer.writeJSON(name)
                }
                buffer.writeStaticString("]")
            } else {
                buffer.writeStaticString("null")
            }
            buffer.writeStaticString(#","generation":"#)
            buffer.writeString(String(token.generation))
            buffer.writeStaticString(token.refreshed ? #","refreshed":true}"# : #","refreshed":false}"#)
            return buffer
        }
    }
}

extension ByteBuffer {
    /// One JSON string, quotes included. Tokens and scopes seldom hold anything to escape.
    fileprivate mutating func writeJSON(_ text: String) {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") || $0 == 0x7F }) else {
            writeStaticString("\"")
            writeString(text)
            writeStaticString("\"")
            return
        }
        writeBytes(JSONValue.string(text).serialized())
    }
}
