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

extension NIOSSLCertificate {
    /// Whether it is for this DNS name. RFC 9525 §6.3. The library also takes one for the address that the name led to,
    /// and that address is whatever a name server says.
    package func isFor(name: String) -> Bool {
        let name = Array(name.lowercased().utf8)
        let wanted = name.last == UInt8(ascii: ".") ? name.dropLast() : name[...]
        for entry in _subjectAlternativeNames() where entry.nameType == .dnsName {
            let pattern = entry.contents.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
            if wanted.elementsEqual(pattern) { return true }
            // One whole label, on the left.
            guard pattern.starts(with: [UInt8(ascii: "*"), UInt8(ascii: ".")]), let dot = wanted.firstIndex(of: UInt8(ascii: ".")) else { continue }
            if dot > wanted.startIndex, wanted[dot...].elementsEqual(pattern.dropFirst()) { return true }
        }
        return false
    }
}
