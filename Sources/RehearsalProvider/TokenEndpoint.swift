import Foundation
import OAuth

/// What goes out, before it is HTTP.
enum Reply: Sendable {
    case json(Int, JSONValue, fields: [String: String] = [:])
    case text(Int, String, type: String, fields: [String: String] = [:])
    case redirect(Int, String, fields: [String: String] = [:])
    /// The connection ends in the middle of the answer.
    case drop
}

extension Reply {
    static func refusal(_ refusal: Authority.Refusal, basic: Bool) -> Reply {
        var object: JSONObject = ["error": .string(refusal.error)]
        if let description = refusal.description { object["error_description"] = .string(description) }
        // RFC 6749 §5.2: a 401 to a request that used the field names a scheme.
        return .json(refusal.status, .object(object), fields: refusal.status == 401 && basic ? ["WWW-Authenticate": "Basic realm=\"rehearsal\""] : [:])
    }
}

extension Authority {
    private static let before: Set<RehearsalFault.Kind> = [
        .slow, .droppedBefore, .status500, .status503, .status429, .html, .redirect, .answer, .error,
    ]
    private static let after: Set<RehearsalFault.Kind> = [
        .droppedAfter, .errorWith200, .formEncoded, .noExpiresIn, .stringExpiresIn, .narrowedScope, .noRefreshToken, .tokenType, .bigBody, .idToken,
    ]

    func tokenEndpoint(form: [String: String], authorization: String?, issuer: String) async -> Reply {
        let client: RehearsalClient
        let grantType = form["grant_type"] ?? ""
        let isWithinRate: Bool
        do {
            let method: String
            (client, method) = try authenticate(authorization: authorization, form: form)
            isWithinRate = begin(client)
            log(
                Seen(
                    method: "POST", path: "/token", client: client.id, grantType: grantType, parameters: form.keys.sorted(), authentication: method,
                    isRateLimited: !isWithinRate))
        } catch {
            log(Seen(method: "POST", path: "/token", client: nil, grantType: grantType, parameters: form.keys.sorted(), authentication: nil))
            return .refusal(error, basic: authorization != nil)
        }
        defer { ended(client) }
        guard isWithinRate else { return .json(429, ["error": "temporarily_unavailable"], fields: ["Retry-After": "1"]) }
        for fault in takeFaults(of: client.id, on: grantType, among: Self.before) {
            if fault.kind == .slow {
                // Not cut short by a client that leaves: what it asked for is done all the same, as at a real provider.
                await Task { await Self.sleep(fault.value) }.value
            } else {
                return Self.reply(fault)
            }
        }
        do {
            return try reply(try issue(client, grantType: grantType, form: form), client: client, grantType: grantType, issuer: issuer)
        } catch let refusal as Refusal {
            return .refusal(refusal, basic: authorization != nil)
        } catch {
            return .json(500, ["error": "server_error"])
        }
    }

    /// Seconds; 1 when it says none.
    private static func sleep(_ value: JSONValue) async {
        let seconds = if case .number(let number) = value { Double(number.text) ?? 1 } else { 1.0 }
        do { try await Task.sleep(for: .seconds(min(max(seconds, 0), 3600))) } catch { return }
    }

    private static func reply(_ fault: RehearsalFault) -> Reply {
        switch fault.kind {
        case .droppedBefore: return .drop
        case .status500: return .text(500, "<h1>Internal Server Error</h1>", type: "text/html")
        case .status503: return .text(503, "<h1>Service Unavailable</h1>", type: "text/html")
        case .status429:
            return .json(429, ["error": "temporarily_unavailable"], fields: fault.value.integer.map { ["Retry-After": String($0)] } ?? [:])
        case .html: return .text(200, "<!doctype html><title>Sign in</title><p>Please sign in", type: "text/html; charset=utf-8")
        case .redirect: return .redirect(307, fault.value.string ?? "/elsewhere")
        case .error: return .json(400, ["error": fault.value.string.map(JSONValue.string) ?? "invalid_request"])
        default:
            var fields: [String: String] = [:]
            for member in fault.value["headers"]?.object?.members ?? [] { fields[member.name] = member.value.string }
            return .text(
                fault.value["status"]?.integer ?? 200, fault.value["body"]?.string ?? "", type: fault.value["content_type"]?.string ?? "application/json",
                fields: fields)
        }
    }

    private func reply(_ issued: Issued, client: RehearsalClient, grantType: String, issuer: String) throws -> Reply {
        var members: JSONObject = [
            "access_token": .string(issued.accessToken), "token_type": "Bearer", "expires_in": .number(JSONNumber(issued.lifetime)),
            "scope": .string(issued.scopes.joined(separator: " ")),
        ]
        if let refresh = issued.refreshToken { members["refresh_token"] = .string(refresh) }
        let faults = takeFaults(of: client.id, on: grantType, among: Self.after)
        if let user = issued.user, issued.scopes.contains("openid") {
            var claims = claims(of: user, client: client, nonce: issued.nonce, issuer: issuer)
            for fault in faults where fault.kind == .idToken {
                for member in fault.value.object?.members ?? [] { claims[member.name] = member.value.isNull ? nil : member.value }
            }
            members["id_token"] = .string(try signer.token(claims))
        }
        var isForm = false
        for fault in faults {
            switch fault.kind {
            case .droppedAfter: return .drop
            case .errorWith200: return .json(200, ["error": "server_error", "error_description": "said with status 200"])
            case .formEncoded: isForm = true
            case .noExpiresIn: members["expires_in"] = nil
            case .stringExpiresIn: members["expires_in"] = .string(String(issued.lifetime))
            case .narrowedScope: members["scope"] = fault.value
            case .noRefreshToken: members["refresh_token"] = nil
            case .tokenType: members["token_type"] = fault.value
            case .bigBody: members["padding"] = .string(String(repeating: "x", count: 2 << 20))
            default: break
            }
        }
        if isForm {
            let pairs = members.members.map { ($0.name, $0.value.string ?? String(decoding: $0.value.serialized(), as: UTF8.self)) }
            return .text(200, Form.serialize(pairs), type: "application/x-www-form-urlencoded")
        }
        return .json(200, .object(members))
    }

    private func claims(of user: String, client: RehearsalClient, nonce: String?, issuer: String) -> JSONObject {
        let seconds = Int(now().timeIntervalSince1970)
        var claims: JSONObject = [
            "iss": .string(issuer), "sub": .string("user-\(user)"), "aud": .string(client.id), "iat": .number(JSONNumber(seconds)),
            "exp": .number(JSONNumber(seconds + 300)), "auth_time": .number(JSONNumber(seconds)),
        ]
        if let nonce { claims["nonce"] = .string(nonce) }
        return claims
    }

    // MARK: Revocation and introspection

    func revocationEndpoint(form: [String: String], authorization: String?) -> Reply {
        do throws(Refusal) {
            let (client, method) = try authenticate(authorization: authorization, form: form)
            log(Seen(method: "POST", path: "/revoke", client: client.id, grantType: nil, parameters: form.keys.sorted(), authentication: method))
            if let fault = takeFaults(of: client.id, on: nil, among: [.revocationStatus]).first {
                let status = fault.value.integer ?? 503
                return .json(status, ["error": status == 400 ? "unsupported_token_type" : "temporarily_unavailable"])
            }
            guard let token = form["token"] else { throw Refusal("invalid_request", "token is required") }
            revoke(token, client: client)
            return .text(200, "", type: "text/plain")
        } catch {
            return .refusal(error, basic: authorization != nil)
        }
    }

    func introspectionEndpoint(form: [String: String], authorization: String?) -> Reply {
        do throws(Refusal) {
            let (client, _) = try authenticate(authorization: authorization, form: form)
            guard let token = form["token"] else { throw Refusal("invalid_request", "token is required") }
            var members: JSONObject = ["active": false]
            if let access = access(token), access.clientID == client.id {
                members = [
                    "active": true, "client_id": .string(client.id), "scope": .string(access.scopes.joined(separator: " ")), "token_type": "Bearer",
                    "exp": .number(JSONNumber(Int(access.expiresAt.timeIntervalSince1970))),
                ]
                if let user = access.user { members["sub"] = .string("user-\(user)") }
            } else if let refresh = isLive(refreshToken: token), refresh.clientID == client.id {
                members = ["active": true, "client_id": .string(client.id), "scope": .string(refresh.scopes.joined(separator: " "))]
            }
            return .json(200, .object(members))
        } catch {
            return .refusal(error, basic: authorization != nil)
        }
    }
}
