import Crypto
import Foundation
import HTTPTypes
import OAuth
import Vault

/// One event as its receiver gets it: JSON, signed as Standard Webhooks says (https://www.standardwebhooks.com).
struct WebhookMessage {
    /// Bytes of a webhook's secret.
    static let secretLength = 32

    let id: String
    let body: [UInt8]

    /// - Parameter mend: what mends what the event tells of; joins its `data`.
    /// - Throws: when the event's data are not the object they were written as.
    init(_ event: WebhookEvent, mend: JSONObject?) throws {
        guard var data = try JSONValue(parsing: event.data.utf8).object else { throw StoreError.damaged("an event's data make no sense") }
        if let mend { data["mend"] = .object(mend) }
        id = event.id
        body =
            JSONValue.object(["type": .string(event.kind.rawValue), "timestamp": .string(event.at.rfc3339), "data": .object(data)]).serialized()
    }

    /// - Parameter now: of this try: a receiver refuses what is some minutes old.
    func request(to url: EndpointURL, secret: [UInt8], at now: Timestamp) -> WireRequest {
        let timestamp = String(now.seconds)
        var head = HTTPRequest(method: .post, scheme: url.scheme.rawValue, authority: url.authority, path: url.target)
        head.headerFields = [
            .contentType: "application/json", .userAgent: "Grantee/0.1", .webhookID: id, .webhookTimestamp: timestamp,
            .webhookSignature: signature(secret: secret, timestamp: timestamp),
        ]
        return WireRequest(head: head, body: body)
    }

    private func signature(secret: [UInt8], timestamp: String) -> String {
        let signed = Array("\(id).\(timestamp).".utf8) + body
        let code = HMAC<SHA256>.authenticationCode(for: signed, using: SymmetricKey(data: secret))
        return "v1," + Data(code).base64EncodedString()
    }
}

extension HTTPField.Name {
    // The names are tokens, so each of these is there.
    static let webhookID = HTTPField.Name("webhook-id")!
    static let webhookTimestamp = HTTPField.Name("webhook-timestamp")!
    static let webhookSignature = HTTPField.Name("webhook-signature")!
}
