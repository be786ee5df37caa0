import Broker
package import NIOHTTP1

/// Which of the API's header fields go back to the caller.
package struct AnswerFields: Sendable {
    /// - Returns: the fields that go back, in order, and Grantee's own; `Content-Length` among them, `Transfer-Encoding` not.
    package static func returned(_ fields: HTTPHeaders) -> HTTPHeaders {
        let listed = ConnectionOptions(fields)
        var result: [(String, String)] = []
        result.reserveCapacity(fields.count + 3)
        for (name, value) in fields where FieldRules.answer(FieldName(name)) != .dropped && !listed.contains(name) { result.append((name, value)) }
        for field in own { result.append((field.name, field.value)) }
        return HTTPHeaders(result)
    }

    /// What an API sends is shown on Grantee's own origin, so a browser must neither run nor guess it. SEC-88.
    static let own = [(name: "Content-Security-Policy", value: "sandbox"), (name: "X-Content-Type-Options", value: "nosniff")]
    /// The same as HTTP/1.1 writes it, and what stands before the request's name.
    static let ownLines = own.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) } + Array("\(requestID): ".utf8)
    static let requestID = "Grantee-Request-Id"

    /// - Returns: the trailer fields that go back: those that say something about the content and change nothing of how it is read.
    package static func returnedTrailers(_ fields: HTTPHeaders) -> HTTPHeaders {
        HTTPHeaders(fields.filter { FieldRules.answer(FieldName($0.name)) == .other }.map { ($0.name, $0.value) })
    }
}
