import Foundation
import HTTPTypes
import OAuth
import OAuthClient
import Synchronization

@testable import Egress
@testable import OAuthClientAsyncHTTP

/// Reading the system's certificates is what a transport costs, and most tests need no other than this one.
private let plain = Result { try makeTransport(allowed: ["127.0.0.0/8", "::1/128"]) }

func makeTransport() throws -> AsyncHTTPTransport { try plain.get() }

/// Its limits are far above what anything takes here, for a machine that has more to do than these tests.
/// - Parameters:
///   - ca: a CA in PEM that is trusted besides the system's.
///   - names: what names resolve to; asks the system when `nil`.
func makeTransport(
    allowed: [String] = ["127.0.0.0/8", "::1/128"], proxy: EndpointURL? = nil, trusting ca: [UInt8]? = nil, connect: Duration = .seconds(25),
    whole: Duration = .seconds(50), names: (@Sendable (String) -> [String])? = nil
) throws -> AsyncHTTPTransport {
    let policy = Egress.Policy(allowed: allowed.compactMap { Egress.CIDR($0) }, proxy: proxy)
    var egress = Egress(policy: policy)
    if let names {
        egress = Egress(
            policy: policy,
            resolver: .init { name throws(EgressError) in
                let addresses = names(name).compactMap { IPLiteral($0) }
                guard !addresses.isEmpty else { throw EgressError.unresolved }
                return addresses
            })
    }
    let limits = AsyncHTTPTransport.Limits(connect: connect, whole: whole)
    guard let ca else { return try AsyncHTTPTransport(egress: egress, caFile: nil, limits: limits) }
    let file = FileManager.default.temporaryDirectory.appending(path: "ca-\(UUID().uuidString).pem")
    try Data(ca).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return try AsyncHTTPTransport(egress: egress, caFile: file.path, limits: limits)
}

/// A form post, as a token request is one.
func post(_ url: String, fields: HTTPFields = [.contentType: "application/x-www-form-urlencoded"], body: String = "grant_type=x&code=y") throws -> WireRequest {
    let url = try EndpointURL(url)
    return WireRequest(
        head: HTTPRequest(method: .post, scheme: url.scheme.rawValue, authority: url.authority, path: url.target, headerFields: fields),
        body: Array(body.utf8))
}

func get(_ url: String) throws -> WireRequest {
    let url = try EndpointURL(url)
    return WireRequest(head: HTTPRequest(method: .get, scheme: url.scheme.rawValue, authority: url.authority, path: url.target))
}

/// What `transport` throws; `nil` when it has an answer.
func failure(of request: WireRequest, by transport: AsyncHTTPTransport) async -> TransportError? {
    do {
        _ = try await transport.send(request)
        return nil
    } catch {
        return error
    }
}

extension TransportError {
    var isBroken: Bool { if case .broken = reason { true } else { false } }
    var isUnreachable: Bool { if case .unreachable = reason { true } else { false } }
}

extension WireResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
}

/// Counts what happens in closures that share nothing else.
final class Counter: Sendable {
    private let count = Mutex(0)
    /// The count before.
    @discardableResult
    func next() -> Int {
        count.withLock { count in
            defer { count += 1 }
            return count
        }
    }
    var value: Int { count.withLock { $0 } }
}
