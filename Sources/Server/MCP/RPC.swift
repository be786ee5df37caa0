import HTTPTypes
import OAuth

/// A message of JSON-RPC 2.0 as MCP narrows it: one object a request, no batch; an id is a text or a whole number.
struct RPCMessage: Sendable {
    /// `nil` for a notification, which nobody answers.
    let id: JSONValue?
    let method: String
    let params: JSONObject

    init(parsing bytes: some Collection<UInt8>) throws(RPCError) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw RPCError(.parseError, "the body is \(error.description)")
        }
        guard let object = value.object else {
            throw RPCError(.invalidRequest, value.array == nil ? "the body must be a JSON object" : "the body must be one message: batches are not taken")
        }
        guard let version = object["jsonrpc"]?.string, sameBytes(version, "2.0") else { throw RPCError(.invalidRequest, "jsonrpc must be \"2.0\"") }
        guard let method = object["method"]?.string else { throw RPCError(.invalidRequest, "method must be a text") }
        let id = object["id"]
        guard id.map({ $0.string != nil || $0.integer != nil }) ?? true else { throw RPCError(.invalidRequest, "id must be a text or a whole number") }
        let params = object["params"] ?? .null
        guard params.isNull || params.object != nil else { throw RPCError(.invalidRequest, "params must be an object") }
        self.id = id
        self.method = method
        self.params = params.object ?? JSONObject()
    }
}

/// What a request gets instead of a result.
struct RPCError: Error, Sendable {
    enum Code: Int, Sendable {
        case parseError = -32700
        case invalidRequest = -32600
        case methodNotFound = -32601
        case invalidParams = -32602
        // MCP 2026-07-28
        case headerMismatch = -32020
        case unsupportedProtocolVersion = -32022
    }
    let code: Code
    let message: String
    let data: JSONValue?

    init(_ code: Code, _ message: String, data: JSONValue? = nil) {
        self.code = code
        self.message = message
        self.data = data
    }

    /// - Parameters:
    ///   - id: `null` where the request could not be read so far.
    ///   - revision: `nil` where it is not known.
    func outbound(id: JSONValue?, revision: MCPRevision?) -> Outbound {
        var error: JSONObject = ["code": .number(JSONNumber(code.rawValue)), "message": .string(message)]
        if let data { error["data"] = data }
        return .json(["jsonrpc": "2.0", "id": id ?? .null, "error": .object(error)], status: .init(code: status(in: revision)))
    }

    private func status(in revision: MCPRevision?) -> Int {
        switch code {
        case .parseError, .invalidRequest, .headerMismatch, .unsupportedProtocolVersion: 400
        // Clients of the revisions before take a 404 for the end of a session.
        case .methodNotFound: revision?.isStateless == true ? 404 : 200
        case .invalidParams: revision?.isStateless == false ? 200 : 400
        }
    }
}
