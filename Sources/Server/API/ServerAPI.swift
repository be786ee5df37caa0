import Broker
import Gateway
import HTTPTypes
import NIOCore
import OAuth

/// What the server says of itself.
enum ServerAPI {
    static func live(_ inbound: Inbound) async throws -> Outbound { .json(["status": "ok"]) }

    static func ready(_ inbound: Inbound) async throws -> Outbound {
        var missing = await inbound.broker.unreadiness()
        if inbound.faces.gateway.isEnding { missing.append(.ending) }
        guard !missing.isEmpty else { return .json(["status": "ok"]) }
        let problem = Problem(.unavailable, "the server is not ready: \(missing.map(\.words).joined(separator: "; "))", retryAfter: 1)
        var outbound = problem.outbound
        if case .object(var object) = problem.json {
            object["not_ready"] = .array(missing.map { .string($0.rawValue) })
            outbound.body = ByteBuffer(bytes: JSONValue.object(object).serialized())
        }
        return outbound
    }

    static func openAPI(_ inbound: Inbound) async throws -> Outbound {
        var outbound = Outbound.json(bytes: PackageResources.openapi_json)
        outbound.fields[.cacheControl] = "max-age=300"
        return outbound
    }

    static func style(_ inbound: Inbound) async throws -> Outbound {
        Outbound(fields: [.contentType: "text/css; charset=utf-8", .cacheControl: "max-age=3600"], body: ByteBuffer(bytes: PackageResources.grantee_css))
    }

    static func consoleStyle(_ inbound: Inbound) async throws -> Outbound {
        Outbound(fields: [.contentType: "text/css; charset=utf-8", .cacheControl: "max-age=3600"], body: ByteBuffer(bytes: PackageResources.console_css))
    }

    static func consoleScript(_ inbound: Inbound) async throws -> Outbound {
        Outbound(fields: [.contentType: "text/javascript; charset=utf-8", .cacheControl: "max-age=3600"], body: ByteBuffer(bytes: PackageResources.console_js))
    }

    static func icon(_ inbound: Inbound) async throws -> Outbound {
        Outbound(fields: [.contentType: "image/svg+xml", .cacheControl: "max-age=3600"], body: ByteBuffer(bytes: PackageResources.icon_svg))
    }

    static func home(_ inbound: Inbound) async throws -> Outbound { inbound.see("/console") }

    static func metrics(_ inbound: Inbound) async throws -> Outbound {
        if inbound.faces.metricsNeedKey {
            try inbound.faces.admit(inbound.request).requireAdmin()
        }
        return await metrics(inbound.broker, isEnding: inbound.faces.gateway.isEnding)
    }

    static func metrics(_ broker: Broker, isEnding: Bool) async -> Outbound {
        var gauges = await DatabaseFigures.now(broker, isEnding: isEnding)
        gauges += ProcessFigures.now.map { (name: $0.key, labels: "", value: $0.value) }.sorted { $0.name < $1.name }
        var outbound = Outbound(body: ByteBuffer(string: MetricsRegistry.shared.text(gauges: gauges)))
        outbound.fields[.contentType] = "text/plain; version=0.0.4; charset=utf-8"
        outbound.fields[.cacheControl] = "no-store"
        return outbound
    }
}

extension Unreadiness {
    fileprivate var words: String {
        switch self {
        case .database: "the database does not answer, or takes no writes"
        case .keys: "the vault is sealed with a master key that this server was not given"
        case .recording: "uses cannot be recorded"
        case .ending: "it is shutting down"
        }
    }
}
