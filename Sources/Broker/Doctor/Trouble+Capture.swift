import HTTPTypes
import OAuth
import OAuthClient
import Vault

/// What of an exchange with a token endpoint is kept, and what is masked before.
struct TroubleCapture: Sendable {
    private let exchange: Witness.Exchange?
    private let client: Client
    private let mask: Mask
    /// Names under which this provider takes what is secret.
    private let secretNames: Set<String>

    init(_ exchange: Witness.Exchange?, client: Client) {
        self.exchange = exchange
        self.client = client
        secretNames = Set(Self.secretNames.flatMap { [$0, client.profile.tokenParameterNames[$0] ?? $0] })
        let clientID = client.registration.clientID
        var secrets: [String] = []
        var personal: [String] = []
        client.registration.clientSecret?.withExposed { secrets.append($0) }
        if let request = exchange?.request {
            for (name, value) in Self.pairs(of: request) where Self.isSecret(name, secretNames) {
                if name == "username" { personal.append(value) } else { secrets.append(value) }
            }
            secrets += Self.credentials(request.head.headerFields[.authorization], clientID: clientID)
            for (name, value) in client.profile.tokenHeaders where !Self.plainHeaders.contains(name.lowercased()) { personal.append(value) }
        }
        mask = Mask(secrets: secrets, personal: personal, publicValues: [clientID])
    }

    // MARK: The record

    func trouble(_ error: TransportError, stage: Trouble.Stage, subject: String, connection: Connection, at: Timestamp) -> Trouble {
        let (failure, reason): (Trouble.Failure, String)
        switch error.reason {
        case .blocked: (failure, reason) = (.blocked, "outbound requests may not go there")
        case .unreachable(let why): (failure, reason) = (.unreachable, why)
        case .timedOut: (failure, reason) = (.timedOut, "no answer in time")
        case .broken(let why): (failure, reason) = (.broken, why)
        case .cancelled: (failure, reason) = (.timedOut, "the request was given up")
        }
        return Trouble(
            stage: stage, failure: failure, at: at, subject: subject, revision: connection.revision, request: request, response: response,
            reason: reason)
    }

    func trouble(_ error: TokenError, stage: Trouble.Stage, subject: String, connection: Connection, at: Timestamp) -> Trouble {
        let (failure, reason): (Trouble.Failure, String?)
        switch error.kind {
        case .refused: (failure, reason) = (.refused, nil)
        case .malformed(let why): (failure, reason) = (.malformed, why)
        case .idToken(let why): (failure, reason) = (.idToken, why)
        }
        return Trouble(
            stage: stage, failure: failure, at: at, subject: subject, revision: connection.revision, request: request, response: response,
            error: (error.originalCode ?? error.code?.rawValue).map(mask.code),
            errorDescription: error.errorDescription.map { mask.shown($0, limit: 1024) },
            reason: reason)
    }

    // MARK: What was sent

    private var request: Trouble.Request? {
        guard let request = exchange?.request else { return nil }
        let head = request.head
        var headers: [Trouble.Field] = []
        for field in head.headerFields {
            switch field.name {
            case .authorization: headers.append(.init("Authorization", shownCredentials))
            case .userAgent: break
            default:
                let isPlain = Self.plainHeaders.contains(field.name.canonicalName)
                headers.append(.init(field.name.rawName, isPlain ? mask.shown(field.value, limit: 200) : Mask.dots))
            }
        }
        let fields = Self.pairs(of: request).map { name, value in
            Trouble.Field(ProviderText.clean(name, limit: 100), Self.isSecret(name, secretNames) ? Mask.dots : mask.shown(value, limit: 1000))
        }
        let path = (head.path ?? "/").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)[0]
        return Trouble.Request(
            method: head.method.rawValue, url: "\(head.scheme ?? "https")://\(head.authority ?? "")" + mask.masked(String(path)), headers: headers,
            fields: fields)
    }

    private var shownCredentials: String {
        switch client.profile.basicUser {
        case .clientID: "Basic (\(ProviderText.clean(client.registration.clientID, limit: 200)):\(Mask.dots))"
        case .secret: "Basic (\(Mask.dots):)"
        }
    }

    // MARK: What came back

    private var response: Trouble.Response? {
        guard let response = exchange?.response else { return nil }
        let excerpt = BodyExcerpt(response, mask: mask)
        let fields = response.head.headerFields
        let isRedirect = (300..<400).contains(response.head.status.code)
        return Trouble.Response(
            status: response.head.status.code, contentType: fields[.contentType].map { ProviderText.clean($0, limit: 100) },
            location: isRedirect ? fields[.location].flatMap { try? EndpointURL($0) }?.origin : nil, date: fields[.date].flatMap(HTTPDate.seconds),
            pageTitle: excerpt.pageTitle, body: excerpt.text)
    }

    // MARK: What is secret

    private static let secretNames: Set<String> = [
        "code", "code_verifier", "refresh_token", "access_token", "client_secret", "password", "username", "client_assertion", "assertion", "state",
        "nonce",
        "token", "subject_token", "actor_token",
    ]
    private static let secretParts = ["secret", "password", "assertion", "apikey", "api_key", "signature"]
    private static let plainHeaders: Set<String> = ["accept", "content-type", "user-agent"]

    private static func isSecret(_ name: String, _ names: Set<String>) -> Bool {
        let lower = name.lowercased()
        return names.contains(name) || names.contains(lower) || secretParts.contains(where: lower.contains)
    }

    /// The parameters of a request, wherever they stand.
    private static func pairs(of request: WireRequest) -> [(name: String, value: String)] {
        let query = (request.head.path ?? "").split(separator: "?", maxSplits: 1).dropFirst().first
        var pairs = query.flatMap { try? Form.parse($0.utf8) } ?? []
        if request.body.first == UInt8(ascii: "{") {
            for member in (try? JSONValue(parsing: request.body))?.object?.members ?? [] {
                pairs.append((member.name, member.value.string ?? String(decoding: member.value.serialized(), as: UTF8.self)))
            }
        } else if let form = try? Form.parse(request.body) {
            pairs += form
        }
        return pairs
    }

    /// The credentials of a field as they stand there, and each part as it was before it was encoded.
    private static func credentials(_ field: String?, clientID: String) -> [String] {
        guard let field, let space = field.firstIndex(of: " ") else { return [] }
        let text = String(field[field.index(after: space)...])
        let unpadded = String(text.prefix { $0 != "=" }).replacing("+", with: "-").replacing("/", with: "_")
        guard let bytes = Base64URL.decode(unpadded) else { return [text] }
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: ":", maxSplits: 1, omittingEmptySubsequences: true)
        let decoded = parts.flatMap { part in [String(part), (try? Form.parse("x=\(part)".utf8))?.first?.value ?? String(part)] }
        return [text] + decoded.filter { !sameBytes($0, clientID) && !sameBytes($0, Form.encode(clientID)) }
    }
}
