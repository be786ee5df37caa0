/// How long things may take, and how much is kept of them. A test may shorten them.
package struct GatewayLimits: Sendable {
    /// To a connection that can be spoken on: name, TCP and TLS.
    package var connect: Duration = .seconds(5)
    /// From the last of the request to the first of the answer.
    package var firstByte: Duration = .seconds(60)
    /// Without a byte in either direction.
    package var idle: Duration = .seconds(120)
    /// How long a caller's connection is kept on which nothing comes.
    package var keepAlive: Duration = .seconds(75)
    /// How long an API's connection is kept unused; less than most servers do.
    package var upstreamKeepAlive: Duration = .seconds(50)
    /// Bytes of a request's body that are kept to be sent again.
    package var replay = 64 << 10
    /// To one API, from one event loop.
    package var connections = 1024
    /// That wait for one of them.
    package var waiting = 4096

    package init() {}
}
