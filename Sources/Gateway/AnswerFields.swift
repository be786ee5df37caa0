import Broker
package import NIOHTTP1

/// Which of the API's header fields go back to the caller.
package struct AnswerFields: Sendable {
    /// - Returns: the fields that go back, in order; `Content-Length` among them, `Transfer-Encoding` not. What an API sends is shown on
    ///   Grantee's own origin, so a browser must neither run nor guess it (SEC-88).
    package static func returned(_ fields: HTTPHeaders) -> HTTPHeaders {
        let listed = ConnectionOptions(fields)
        var result: [(String, String)] = []
        result.reserveCapacity(fields.count + 3)
        for (name, value) in fields where FieldRules.answer(FieldName(name)) != .dropped && !listed.contains(name) { result.append((name, value)) }
        result.append(("Content-Security-Policy", "sandbox"))
        result.append(("X-Content-Type-Options", "nosniff"))
        return HTTPHeaders(result)
    }

    /// - Returns: the trailer fields that go back: those that say something about the content and change nothing of how it is read.
    package static func returnedTrailers(_ fields: HTTPHeaders) -> HTTPHeaders {
        HTTPHeaders(fields.filter { FieldRules.answer(FieldName($0.name)) == .other }.map { ($0.name, $0.value) })
    }
}
