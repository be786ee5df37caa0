package import Broker
package import NIOCore
import NIOHTTP1

/// Who is let in, and how a refusal is put: declared here, where it is asked; the HTTP face knows the answers.
package protocol Door: Sendable {
    /// The caller of an API key, within its rate.
    /// - Parameters:
    ///   - authorization: the field's value.
    ///   - fetchSite: `Sec-Fetch-Site`, where a browser sent it.
    func admit(authorization: String?, fetchSite: String?) throws(Problem) -> Caller

    /// The same, and whether another node has just made the key.
    func admitLearned(authorization: String?, fetchSite: String?) async throws(Problem) -> Caller

    /// The caller of an API key whose requests are not counted; `nil` = whether it is let in is for ``admit(authorization:fetchSite:)`` to say.
    /// - Parameter authorization: the field's value, byte by byte.
    func uncounted(authorization: Span<UInt8>) -> Caller?

    /// A problem as it goes out: status, fields, body.
    func render(_ problem: Problem, id: String) -> (status: Int, fields: [(name: String, value: String)], body: ByteBuffer)

    /// Told of each request that is turned away before its connection is known.
    /// - Parameters:
    ///   - client: the address that asks.
    ///   - forwarded: `X-Forwarded-For`, where there is one.
    func refused(_ problem: Problem, caller: Caller?, client: String, forwarded: String?, id: String)
}

extension Door {
    func answer(to problem: Problem, id: String) -> (head: AnswerHead, body: ByteBuffer) {
        let (status, fields, body) = render(problem, id: id)
        var headers = HTTPHeaders(fields.map { ($0.name, $0.value) })
        headers.add(name: "Grantee-Problem", value: problem.code.rawValue)
        headers.add(name: "Content-Length", value: String(body.readableBytes))
        if problem.code == .methodNotAllowed { headers.add(name: "Allow", value: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") }
        return (AnswerHead(status: status, headers: headers), body)
    }
}
