/// One request to a connection's API, whole: what MCP asks, and the console.
package struct Call: Sendable {
    package var connection: String
    /// `""` = the shared grant.
    package var subject: String
    package var method: String
    /// Begins with `/`, relative to the base URL; no query.
    package var path: String
    /// Without the `?`, encoded.
    package var query: String?
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]?

    package init(
        connection: String, subject: String = "", method: String = "GET", path: String, query: String? = nil,
        headers: [(name: String, value: String)] = [], body: [UInt8]? = nil
    ) {
        self.connection = connection
        self.subject = subject
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
    }

    /// What the API answered, tokens masked.
    package struct Answer: Sendable {
        package var status: Int
        package var headers: [(name: String, value: String)]
        package var body: [UInt8]
        /// Whether the body went on beyond the limit.
        package var isCut: Bool
        /// What the API was asked, in the form of HTTP/1.1 and with a mask in the place of the token; the body is left out.
        package var request: String
    }
}
