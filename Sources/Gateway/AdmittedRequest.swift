import Broker
import Crypto
import NIOCore
import NIOHTTP1
import OAuth
import Vault

/// What somebody asks of an API, before it is judged.
struct AskedRequest {
    enum Framing: Sendable, Hashable {
        case none
        /// `Content-Length`, as it was sent.
        case length(String)
        case chunked
    }
    var method: HTTPMethod
    /// Behind `/gateway/{id}`.
    var path: Substring
    /// Without the `?`.
    var query: Substring?
    var fields: HTTPHeaders
    var framing: Framing
    /// `""` = the shared grant.
    var subject: String
    /// For the activity log: what an agent called with, apart from the path.
    var arguments: [UInt8]?
}

/// A request that may go to an API: who asks is known, and all that can be judged before its token is at hand was judged.
final class AdmittedRequest {
    let caller: Caller
    let destination: Destination
    let subject: String
    /// Under `agent_access`.
    let isAgent: Bool
    /// Whether the answer is searched for the token: each agent's is, and what people are shown.
    let isScanned: Bool
    let method: HTTPMethod
    let path: TargetPath
    let query: Substring?
    let fields: Fields
    let framing: AskedRequest.Framing
    let fingerprint: String?
    let id: String
    /// Whether it came whole, with its body if it has one.
    let isWhole: Bool
    let body: ByteBuffer?

    /// The caller's fields that go on.
    enum Fields {
        case headers(HTTPHeaders)
        case lines(FieldLines)

        var headers: HTTPHeaders {
            switch self {
            case .headers(let fields): fields
            case .lines(let lines): lines.headers()
            }
        }
    }

    /// - Throws: `forbidden`, `invalid_request`, `rate_limited` or `method_not_allowed`, saying what denies it and how to change that.
    init(
        _ asked: AskedRequest, to destination: Destination, for caller: Caller, isAgent: Bool, isScanned: Bool = false, id: String, broker: Broker
    ) throws(Problem) {
        self.caller = caller
        self.destination = destination
        self.isAgent = isAgent
        self.isScanned = isAgent || isScanned
        self.id = id
        isWhole = false
        body = nil
        subject = asked.subject
        method = asked.method
        framing = asked.framing
        try broker.admit(caller, to: destination, subject: subject)
        if method == .CONNECT || method == .TRACE {
            throw Problem(.methodNotAllowed, "the gateway takes every method but CONNECT and TRACE")
        }
        path = try TargetPath(asked.path, isCanonical: isAgent, allowsEncodedSlash: destination.connection.settings.allowEncodedSlash)
        query = try TargetQuery.checked(asked.query, reserved: destination.ownParameters)
        if isAgent {
            if let denial = destination.policy.denial(method: method.rawValue, path: path.text.isEmpty ? "/" : path.text) { throw denial }
            fields = .headers(try RequestFields.forwarded(asked.fields, injected: destination.ownFields, policy: destination.policy))
            fingerprint = broker.fingerprint(asked.method.rawValue, asked.path, query: asked.query, body: asked.arguments)
            try broker.admit(agentCall: path.text, subject: subject, for: caller)
        } else {
            let forwarded = try RequestFields.forwarded(asked.fields, injected: destination.ownFields, policy: nil)
            fields = .headers(isScanned ? RequestFields.whole(forwarded) : forwarded)
            fingerprint = nil
        }
    }

    /// The same of a request that was read as it lies in memory, by somebody whose role is not `agent`.
    /// - Parameter length: `Content-Length`.
    init(
        _ short: consuming ShortRequest, length: String?, _ lines: FieldLines, subject: String, of call: KnownCall, id: String, broker: Broker
    ) throws(Problem) {
        (caller, destination) = (call.caller, call.destination)
        self.subject = subject
        try broker.admit(caller, to: destination, subject: subject)
        path = try TargetPath(short.path[...], isCanonical: false, allowsEncodedSlash: destination.connection.settings.allowEncodedSlash)
        query = try TargetQuery.checked(short.query, reserved: destination.ownParameters)
        self.id = id
        isAgent = false
        isScanned = false
        isWhole = true
        fingerprint = nil
        framing = length.map { .length($0) } ?? .none
        (method, body, fields) = (short.method, short.body, .lines(lines))
    }

    var isHead: Bool { if case .HEAD = method { true } else { false } }

    var isChunked: Bool { if case .chunked = framing { true } else { false } }

    /// Sending it twice does what sending it once does. RFC 9110 §9.2.2.
    var isIdempotent: Bool {
        switch method {
        case .GET, .HEAD, .OPTIONS, .PUT, .DELETE, .PROPFIND, .REPORT, .SEARCH: true
        default: false
        }
    }

    /// Where it goes at the API.
    func path(_ credential: Credential) -> String {
        // Most APIs have the whole of their host.
        credential.pathBefore.isEmpty && !path.text.isEmpty ? path.text : TargetPath.join(base: credential.base.path, path)
    }

    /// As it goes to the API over HTTP/2.
    func head(_ credential: Credential) -> HTTPRequestHead {
        var headers = HTTPHeaders()
        headers.add(name: "Host", value: credential.authority)
        headers.add(contentsOf: fields.headers)
        switch framing {
        case .none: if saysThatThereIsNoBody { headers.add(name: "Content-Length", value: "0") }
        case .length(let length): headers.add(name: "Content-Length", value: length)
        case .chunked: headers.add(name: "Transfer-Encoding", value: "chunked")
        }
        // What is scanned is read as it is.
        if isScanned { headers.add(name: "Accept-Encoding", value: "identity") }
        for field in credential.fields { headers.add(name: field.name, value: field.value) }
        return HTTPRequestHead(version: .http1_1, method: method, uri: uri(credential, path(credential), rules: credential.query), headers: headers)
    }

    /// As a person may see it: a mask in the place of the token.
    func shown(_ credential: Credential) -> String {
        let (own, rules) = credential.shown
        var lines = ["\(method.rawValue) \(uri(credential, path(credential), rules: rules)) HTTP/1.1", "Host: \(credential.authority)"]
        lines += fields.headers.map { "\($0.name): \($0.value)" }
        if case .length(let length) = framing { lines.append("Content-Length: \(length)") }
        if isScanned { lines.append("Accept-Encoding: identity") }
        lines += own.map { "\($0.name): \($0.value)" }
        return lines.joined(separator: "\n")
    }

    /// The same as HTTP/1.1 writes it: the credential is put in last.
    func write(into buffer: inout ByteBuffer, _ credential: Credential) {
        buffer.writeString(method.rawValue)
        buffer.writeStaticString(" ")
        writeTarget(into: &buffer, credential)
        buffer.writeBytes(credential.hostLine)
        switch fields {
        case .headers(let fields): buffer.write(lines: fields)
        case .lines(let lines): lines.write(into: &buffer)
        }
        switch framing {
        case .none: if saysThatThereIsNoBody { buffer.writeStaticString("Content-Length: 0\r\n") }
        case .length(let length): buffer.write(line: "Content-Length", length)
        case .chunked: buffer.writeStaticString("Transfer-Encoding: chunked\r\n")
        }
        if isScanned { buffer.writeStaticString("Accept-Encoding: identity\r\n") }
        buffer.writeBytes(credential.lastLines)
    }

    private func writeTarget(into buffer: inout ByteBuffer, _ credential: Credential) {
        if path.text.isEmpty {
            buffer.writeString(credential.base.path)
        } else {
            buffer.writeBytes(credential.pathBefore)
            buffer.writeString(path.text)
        }
        var separator: StaticString = "?"
        if let own = credential.base.query {
            buffer.writeStaticString(separator)
            buffer.writeString(own)
            separator = "&"
        }
        if let query {
            buffer.writeStaticString(separator)
            buffer.writeSubstring(query)
            separator = "&"
        }
        if let rules = credential.query {
            buffer.writeStaticString(separator)
            buffer.writeString(rules)
        }
    }

    /// Where a body would be expected. RFC 9110 §8.6.
    private var saysThatThereIsNoBody: Bool {
        switch method {
        case .POST, .PUT, .PATCH: true
        default: false
        }
    }

    private func uri(_ credential: Credential, _ path: String, rules: String?) -> String {
        var uri = path
        var separator = "?"
        func add(_ part: some StringProtocol) {
            uri += separator
            uri += part
            separator = "&"
        }
        if let own = credential.base.query { add(own) }
        if let query { add(query) }
        if let rules { add(rules) }
        return uri
    }

    /// As the activity log keeps it.
    /// - Parameter isSent: whether the token went out.
    func record(_ credential: Credential?, isSent: Bool, status: Int?, result: String) -> APICall {
        let target = (isSent ? credential?.target : nil) ?? APICall.Target(destination.connection, grant: nil, host: credential?.authority ?? "")
        return APICall(
            key: caller.key.id, target: target, subject: subject, method: method.rawValue, path: credential.map { path($0) } ?? path.text, status: status,
            result: result, requestID: id, policyRevision: isAgent ? destination.connection.revision : nil, arguments: fingerprint)
    }
}
