import Foundation
import NIOSSL

/// A throw-away CA and the certificates that a test wants of it, made by the `openssl` command when first asked for.
struct Certificates: Sendable {
    /// What is wrong with a server's certificate, or nothing.
    enum Leaf: String, Sendable, CaseIterable {
        case good
        case otherName = "other"
        case expired
        /// Its extended key usage is `clientAuth`.
        case forClients = "client"
        case selfSigned = "self"
        /// Signed by an intermediate CA that the server does not send.
        case withoutIntermediate = "deep"
    }

    /// PEM.
    let ca: [UInt8]
    private let files: [String: [UInt8]]

    private static let made = Task { try await make() }

    static func shared() async throws -> Certificates { try await made.value }

    /// - Parameter isOld: speaks TLS 1.1 at best.
    func server(_ leaf: Leaf = .good, isOld: Bool = false) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(files[leaf.rawValue] ?? []).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: files["key"] ?? [], format: .pem)))
        if isOld {
            configuration.minimumTLSVersion = .tlsv1
            configuration.maximumTLSVersion = .tlsv11
        }
        return try NIOSSLContext(configuration: configuration)
    }

    /// The command is missing, or refused.
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    private static let settings = """
        [req]
        distinguished_name = dn
        prompt = no
        [dn]
        CN = test
        [ca]
        basicConstraints = critical,CA:TRUE
        keyUsage = critical,keyCertSign,cRLSign
        subjectKeyIdentifier = hash
        [good]
        basicConstraints = CA:FALSE
        subjectAltName = DNS:localhost,DNS:as.example,IP:127.0.0.1
        extendedKeyUsage = serverAuth
        [other]
        basicConstraints = CA:FALSE
        subjectAltName = DNS:other.example,IP:192.0.2.1
        extendedKeyUsage = serverAuth
        [client]
        basicConstraints = CA:FALSE
        subjectAltName = DNS:localhost,DNS:as.example,IP:127.0.0.1
        extendedKeyUsage = clientAuth

        """

    private static let script = """
        exec >log 2>&1
        request() { openssl req -config settings -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout $1.key -out $1.csr; }
        sign() { openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -set_serial $3 -days $4 -extfile settings -extensions $5 -out $6.pem; }
        openssl req -config settings -x509 -extensions ca -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=root -days 2 -keyout ca.key -out ca.pem
        request leaf
        request sub
        sign sub ca 2 2 ca sub
        sign leaf ca 3 2 good good
        sign leaf ca 4 2 other other
        sign leaf ca 5 -1 good expired
        sign leaf ca 6 2 client client
        sign leaf sub 7 2 good deep
        openssl req -config settings -x509 -extensions good -key leaf.key -subj /CN=leaf -days 2 -out self.pem
        """

    private static func make() async throws -> Certificates {
        let folder = FileManager.default.temporaryDirectory.appending(path: "certificates-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(settings.utf8).write(to: folder.appending(path: "settings"))
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-euc", script]
        process.currentDirectoryURL = folder
        let status: Int32 = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        func file(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: folder.appending(path: name))) }
        guard status == 0 else { throw Failed(description: "openssl: " + String(decoding: (try? file("log")) ?? [], as: UTF8.self)) }
        var files = ["key": try file("leaf.key")]
        for leaf in Leaf.allCases { files[leaf.rawValue] = try file(leaf.rawValue + ".pem") }
        return Certificates(ca: try file("ca.pem"), files: files)
    }
}
