package import Broker
package import NIOCore

/// Who is let in, and how a refusal is put: declared here, where it is asked; the HTTP face knows the answers.
package protocol Door: Sendable {
    /// The caller of an API key, within its rate.
    /// - Parameters:
    ///   - authorization: the field's value.
    ///   - fetchSite: `Sec-Fetch-Site`, where a browser sent it.
    func admit(authorization: String?, fetchSite: String?) throws(Problem) -> Caller

    /// A problem as it goes out: status, fields, body.
    func render(_ problem: Problem, id: String) -> (status: Int, fields: [(name: String, value: String)], body: ByteBuffer)

    /// Told of each request that is turned away before its connection is known.
    /// - Parameters:
    ///   - client: the address that asks.
    ///   - forwarded: `X-Forwarded-For`, where there is one.
    func refused(_ problem: Problem, caller: Caller?, client: String, forwarded: String?, id: String)
}
