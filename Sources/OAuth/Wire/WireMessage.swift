public import HTTPTypes

/// One HTTP request, whole: what a ``Transport`` sends. Its body may hold secrets, so it never prints itself.
public struct WireRequest: Sendable, CustomStringConvertible, CustomReflectable {
    /// Method, scheme, authority, path with query, and fields. `Content-Length` is the transport's to add.
    public var head: HTTPRequest
    public var body: [UInt8]

    public init(head: HTTPRequest, body: [UInt8] = []) {
        self.head = head
        self.body = body
    }

    public var description: String { "WireRequest(\(head.method) \(head.authority ?? ""), \(body.count) bytes)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// One HTTP response, whole, as it came. A larger body than ``maximumBody`` is not read (a transport stops there).
public struct WireResponse: Sendable, CustomStringConvertible, CustomReflectable {
    /// 1 MiB, in bytes, after decoding.
    public static let maximumBody = 1 << 20

    public var head: HTTPResponse
    public var body: [UInt8]

    public init(head: HTTPResponse, body: [UInt8]) {
        self.head = head
        self.body = body
    }

    public var description: String { "WireResponse(\(head.status.code), \(body.count) bytes)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}
