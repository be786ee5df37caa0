import NIOCore
package import NIOSSL

/// The certificates that a server's chain may end in, parsed once: a TLS context with parsed roots costs a fraction of
/// one that reads the system's bundle itself.
package struct Trust: Sendable {
    package let configuration: TLSConfiguration

    private static let systemBundles = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
    ]

    /// - Throws: ``TrustError`` when `caFile` cannot be read as PEM certificates.
    package init(caFile: String?) throws {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        // A peer that does not say goodbye keeps our descriptor no longer than this.
        configuration.shutdownTimeout = .seconds(1)
        var extra: [NIOSSLCertificate] = []
        if let caFile {
            guard let certificates = try? NIOSSLCertificate.fromPEMFile(caFile), !certificates.isEmpty else { throw TrustError(path: caFile) }
            extra = certificates
        }
        let system = Self.systemBundles.lazy.compactMap { try? NIOSSLCertificate.fromPEMFile($0) }.first
        if let system {
            configuration.trustRoots = .certificates(system + extra)
        } else {
            configuration.additionalTrustRoots = extra.isEmpty ? [] : [.certificates(extra)]
        }
        self.configuration = configuration
    }
}

/// The extra CA file cannot be read as PEM certificates.
public struct TrustError: Error, Sendable, Hashable, CustomStringConvertible {
    public let path: String
    public var description: String { "\(path) cannot be read as PEM certificates" }
}
