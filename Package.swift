// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

func product(_ name: String, _ package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

let package = Package(
    name: "grantee",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "OAuth", targets: ["OAuth"]),
        .library(name: "OAuthClient", targets: ["OAuthClient"]),
        .library(name: "OAuthClientAsyncHTTP", targets: ["OAuthClientAsyncHTTP", "Egress"]),
        .executable(name: "grantee", targets: ["grantee"]),
    ],
    traits: [
        .trait(name: "PostgreSQL", description: "Keeps the records in PostgreSQL, too; needs libpq and its headers."),
        .default(enabledTraits: ["PostgreSQL"]),
    ],
    // Why each is here: docs/dependencies.md.
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", .upToNextMinor(from: "1.8.2")),
        .package(url: "https://github.com/apple/swift-crypto.git", .upToNextMinor(from: "4.5.2")),
        .package(url: "https://github.com/apple/swift-http-types.git", .upToNextMinor(from: "1.8.0")),
        .package(url: "https://github.com/apple/swift-log.git", .upToNextMinor(from: "1.16.2")),
        .package(url: "https://github.com/apple/swift-metrics.git", .upToNextMinor(from: "2.13.0")),
        .package(url: "https://github.com/apple/swift-nio.git", .upToNextMinor(from: "2.101.2")),
        .package(url: "https://github.com/apple/swift-nio-http2.git", .upToNextMinor(from: "1.46.0")),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", .upToNextMinor(from: "2.37.6")),
        .package(url: "https://github.com/groue/GRDB.swift.git", .upToNextMinor(from: "7.10.0")),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", .upToNextMinor(from: "2.28.1")),
        .package(url: "https://github.com/hummingbird-project/swift-mustache.git", .upToNextMinor(from: "2.1.1")),
        .package(url: "https://github.com/swift-server/async-http-client.git", .upToNextMinor(from: "1.37.0")),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", .upToNextMinor(from: "2.13.0")),
    ],
    targets: [
        .target(
            name: "OAuth",
            dependencies: [product("Crypto", "swift-crypto"), product("HTTPTypes", "swift-http-types")],
            swiftSettings: settings),
        .target(
            name: "OAuthClient",
            dependencies: ["OAuth", product("HTTPTypes", "swift-http-types")],
            swiftSettings: settings),
        .target(
            name: "Egress",
            dependencies: ["OAuth", product("NIOCore", "swift-nio"), product("NIOPosix", "swift-nio"), product("NIOSSL", "swift-nio-ssl")],
            swiftSettings: settings),
        .target(
            name: "OAuthClientAsyncHTTP",
            dependencies: [
                "OAuth", "OAuthClient", "Egress", product("AsyncHTTPClient", "async-http-client"),
                product("HTTPTypes", "swift-http-types"), product("NIOCore", "swift-nio"),
                product("NIOHTTP1", "swift-nio"), product("NIOPosix", "swift-nio"), product("NIOSSL", "swift-nio-ssl"),
            ],
            swiftSettings: settings),
        .target(
            name: "Vault",
            dependencies: ["OAuth", product("Crypto", "swift-crypto")],
            swiftSettings: settings),
        .target(
            name: "SQLiteStore",
            dependencies: ["Vault", product("GRDB", "GRDB.swift")],
            swiftSettings: settings),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"]), .brew(["libpq"])]),
        .target(
            name: "PostgresStore",
            dependencies: ["Vault", "CLibPQ", product("Crypto", "swift-crypto")],
            swiftSettings: settings),
        .target(
            name: "Broker",
            dependencies: [
                "Vault", "OAuth", "OAuthClient", "Egress", product("Crypto", "swift-crypto"),
                product("HTTPTypes", "swift-http-types"), product("Logging", "swift-log"), product("Metrics", "swift-metrics"),
                product("ServiceLifecycle", "swift-service-lifecycle"),
            ],
            exclude: ["Resources"],
            swiftSettings: settings,
            plugins: ["EmbedText"]),
        .systemLibrary(name: "CZlib"),
        .target(
            name: "Gateway",
            dependencies: [
                "Broker", "Vault", "OAuth", "Egress", "CZlib", product("Crypto", "swift-crypto"), product("Logging", "swift-log"),
                product("NIOCore", "swift-nio"), product("NIOHTTP1", "swift-nio"), product("NIOHTTP2", "swift-nio-http2"),
                product("NIOPosix", "swift-nio"), product("NIOSSL", "swift-nio-ssl"), product("NIOTLS", "swift-nio"),
            ],
            swiftSettings: settings),
        .target(
            name: "Server",
            dependencies: [
                "Gateway", "Broker", "Vault", "SQLiteStore", .target(name: "PostgresStore", condition: .when(traits: ["PostgreSQL"])),
                "OAuth", "OAuthClientAsyncHTTP", "Egress",
                product("Hummingbird", "hummingbird"), product("HummingbirdCore", "hummingbird"),
                product("HTTPTypes", "swift-http-types"), product("Logging", "swift-log"),
                product("CoreMetrics", "swift-metrics"), product("Mustache", "swift-mustache"),
                product("NIOCore", "swift-nio"), product("NIOHTTP1", "swift-nio"), product("ServiceLifecycle", "swift-service-lifecycle"),
            ],
            exclude: ["Resources"],
            swiftSettings: settings,
            plugins: ["EmbedText"]),
        .target(
            name: "RehearsalProvider",
            dependencies: [
                "OAuth", product("AsyncHTTPClient", "async-http-client"), product("Crypto", "swift-crypto"),
                product("Hummingbird", "hummingbird"), product("HTTPTypes", "swift-http-types"), product("Logging", "swift-log"),
                product("Mustache", "swift-mustache"), product("NIOCore", "swift-nio"), product("NIOHTTP1", "swift-nio"),
                product("ServiceLifecycle", "swift-service-lifecycle"),
            ],
            exclude: ["Resources"],
            swiftSettings: settings,
            plugins: ["EmbedText"]),
        .executableTarget(
            name: "grantee",
            dependencies: [
                "Server", "Vault", "RehearsalProvider", "OAuth", "OAuthClient", "OAuthClientAsyncHTTP", "Egress",
                product("ArgumentParser", "swift-argument-parser"), product("AsyncHTTPClient", "async-http-client"),
                product("HTTPTypes", "swift-http-types"), product("Hummingbird", "hummingbird"), product("Logging", "swift-log"),
                product("NIOCore", "swift-nio"), product("NIOHTTP1", "swift-nio"), product("ServiceLifecycle", "swift-service-lifecycle"),
                product("UnixSignals", "swift-service-lifecycle"),
            ],
            swiftSettings: settings),
        // What the token route is measured against; in no product.
        .executableTarget(
            name: "BareRoute",
            dependencies: [product("Hummingbird", "hummingbird"), product("HTTPTypes", "swift-http-types"), product("NIOCore", "swift-nio")],
            path: "Benchmarks/BareRoute",
            swiftSettings: settings),
        // What the gateway is measured against; in no product.
        .executableTarget(
            name: "BareProxy",
            dependencies: [product("NIOCore", "swift-nio"), product("NIOHTTP1", "swift-nio"), product("NIOPosix", "swift-nio")],
            path: "Benchmarks/BareProxy",
            swiftSettings: settings),
        .plugin(name: "EmbedText", capability: .buildTool(), dependencies: ["embed-text"]),
        .executableTarget(name: "embed-text", path: "Plugins/embed-text", swiftSettings: settings),
        // What tests share; in no product.
        .target(
            name: "TestSupport",
            dependencies: [
                "Server", "Broker", "RehearsalProvider", "OAuth", "Egress", product("AsyncHTTPClient", "async-http-client"),
                product("HTTPTypes", "swift-http-types"), product("Logging", "swift-log"), product("NIOCore", "swift-nio"),
                product("NIOHTTP1", "swift-nio"), product("NIOPosix", "swift-nio"), product("ServiceLifecycle", "swift-service-lifecycle"),
            ],
            path: "Tests/TestSupport",
            swiftSettings: settings),
        .testTarget(name: "OAuthTests", dependencies: ["OAuth", product("HTTPTypes", "swift-http-types")], swiftSettings: settings),
        .testTarget(
            name: "OAuthClientTests",
            dependencies: ["OAuth", "OAuthClient", product("HTTPTypes", "swift-http-types")],
            swiftSettings: settings),
        .testTarget(name: "EgressTests", dependencies: ["Egress", "OAuth"], swiftSettings: settings),
        .testTarget(
            name: "OAuthClientAsyncHTTPTests",
            dependencies: [
                "OAuth", "OAuthClient", "OAuthClientAsyncHTTP", "Egress", product("HTTPTypes", "swift-http-types"),
                product("NIOCore", "swift-nio"), product("NIOPosix", "swift-nio"), product("NIOSSL", "swift-nio-ssl"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "StoreTests",
            dependencies: [
                "TestSupport", "Vault", "SQLiteStore", .target(name: "PostgresStore", condition: .when(traits: ["PostgreSQL"])), "OAuth",
                product("Crypto", "swift-crypto"), product("GRDB", "GRDB.swift"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "Broker", "Vault", "SQLiteStore", "OAuth", "OAuthClient", "OAuthClientAsyncHTTP", "Egress", "RehearsalProvider",
                product("Crypto", "swift-crypto"), product("GRDB", "GRDB.swift"), product("HTTPTypes", "swift-http-types"), product("Logging", "swift-log"),
                product("ServiceLifecycle", "swift-service-lifecycle"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "TestSupport", "Gateway", "Server", "Broker", "Vault", "Egress", "RehearsalProvider", "OAuth", "CZlib",
                product("HTTPTypes", "swift-http-types"), product("NIOCore", "swift-nio"), product("NIOEmbedded", "swift-nio"),
                product("NIOHPACK", "swift-nio-http2"),
                product("NIOHTTP1", "swift-nio"), product("NIOHTTP2", "swift-nio-http2"), product("NIOPosix", "swift-nio"),
                product("NIOSSL", "swift-nio-ssl"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "TestSupport", "Server", "Broker", "Vault", "OAuth", "Egress", "RehearsalProvider", product("GRDB", "GRDB.swift"),
                product("HTTPTypes", "swift-http-types"),
                product("NIOCore", "swift-nio"), product("NIOPosix", "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CLITests",
            dependencies: ["TestSupport", "grantee", "Server", "Broker", "Vault", "RehearsalProvider", "OAuth", product("HTTPTypes", "swift-http-types")],
            exclude: ["Scripts", "Faults"],
            swiftSettings: settings),
        .testTarget(
            name: "LibraryTests",
            dependencies: [
                "TestSupport", "OAuth", "OAuthClient", "OAuthClientAsyncHTTP", "Egress", "RehearsalProvider", product("HTTPTypes", "swift-http-types"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "PeerTests",
            dependencies: ["TestSupport", "Server", "RehearsalProvider", "OAuth", product("HTTPTypes", "swift-http-types")],
            exclude: ["Servers"],
            swiftSettings: settings),
        .testTarget(
            name: "RehearsalProviderTests",
            dependencies: ["TestSupport", "RehearsalProvider", "OAuth", product("HTTPTypes", "swift-http-types")],
            swiftSettings: settings),
    ]
)
