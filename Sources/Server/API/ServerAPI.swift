import Broker
import HTTPTypes
import NIOCore
import OAuth

/// What the server says of itself.
enum ServerAPI {
    static func live(_ inbound: Inbound) async throws -> Outbound { .json(["status": "ok"]) }

    static func ready(_ inbound: Inbound) async throws -> Outbound {
        await inbound.broker.isReady() ? .json(["status": "ok"]) : Problem(.unavailable, "the server is not ready", retryAfter: 1).outbound
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
        return try await metrics(inbound.broker)
    }

    static func metrics(_ broker: Broker) async throws -> Outbound {
        let counts = try await broker.grantCounts()
        var gauges = GrantsAPI.states.map { (name: "grantee_grants", labels: "state=\"\($0)\"", value: Double(counts[$0] ?? 0)) }
        gauges += ProcessFigures.now.map { (name: $0.key, labels: "", value: $0.value) }.sorted { $0.name < $1.name }
        var outbound = Outbound(body: ByteBuffer(string: MetricsRegistry.shared.text(gauges: gauges)))
        outbound.fields[.contentType] = "text/plain; version=0.0.4; charset=utf-8"
        outbound.fields[.cacheControl] = "no-store"
        return outbound
    }
}
