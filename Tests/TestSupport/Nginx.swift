import Foundation
import NIOCore
import NIOPosix

/// A real nginx on free ports, with everything it reads and writes in a throw-away folder.
package struct Nginx: Sendable {
    /// `http://127.0.0.1:PORT`
    package let url: String
    /// The same over TLS with HTTP/2: `https://127.0.0.1:PORT`
    package let secureURL: String
    /// The same over TLS with HTTP/1.1 alone.
    package let secureHTTP1URL: String
    /// Whose certificates its TLS ports have.
    package let caFile: String
    private let folder: String
    private let program: Program

    /// The `Authorization` that `/stale` answers with 401.
    package static let staleAuthorization = "Bearer stale-token"

    /// One as long as `body` runs.
    package static func with<R: Sendable>(_ body: (Nginx) async throws -> R) async throws -> R {
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw NginxError(description: "nginx is not installed at \(path): run scripts/prepare tests")
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "nginx-\(UUID().uuidString)").path
        for name in ["", "/files", "/uploads", "/temporary"] {
            try FileManager.default.createDirectory(atPath: folder + name, withIntermediateDirectories: true)
        }
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, text) in try await Self.certificates.value { try Data(text.utf8).write(to: URL(filePath: folder + "/" + name)) }
        let nginx = try await start(in: folder)
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(nginx)) } catch { outcome = .failure(error) }
        await nginx.stop()
        return try outcome.get()
    }

    /// At once: connections are cut wherever they are.
    package func stop() async {
        program.signal(SIGTERM)
        _ = await program.outcome()
    }

    // MARK: Files and calls

    /// A file of the pattern at `/files/NAME`; in chunks at `/chunked/NAME`, slowly at `/slow/NAME`.
    package func addFile(_ name: String, count: Int) throws { try PatternBytes.write(count, to: "\(folder)/files/\(name)") }

    /// Whether what was PUT to `/uploads/NAME` is the pattern's first `count` bytes.
    package func hasUpload(_ name: String, count: Int) throws -> Bool { try PatternBytes.isFile("\(folder)/uploads/\(name)", first: count) }

    package func isUploaded(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(folder)/uploads/\(name)") }

    /// A request as its log tells it, once it has ended.
    package struct Call: Sendable {
        package let connection: String
        package let method: String
        package let target: String
        package let status: String
        package let version: String
    }

    package func calls() throws -> [Call] {
        try String(contentsOfFile: folder + "/calls", encoding: .utf8).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 5 else { return nil }
            return Call(connection: words[0], method: words[1], target: words[2], status: words[3], version: words[4])
        }
    }

    // MARK: Starting

    private static let path = "/usr/sbin/nginx"

    private static func start(in folder: String) async throws -> Nginx {
        var said = ""
        for _ in 0..<5 {
            let ports = try await freePorts(3)
            try Data(configuration(folder, ports).utf8).write(to: URL(filePath: folder + "/nginx.conf"))
            let program = try Program(path, ["-p", folder, "-c", folder + "/nginx.conf", "-e", "stderr"])
            let line = await program.line(ofErrors: true) { $0.contains("start worker process ") || $0.contains("[emerg]") }
            if line?.contains("start worker process ") == true {
                return Nginx(
                    url: "http://127.0.0.1:\(ports[0])", secureURL: "https://127.0.0.1:\(ports[1])", secureHTTP1URL: "https://127.0.0.1:\(ports[2])",
                    caFile: folder + "/ca.pem", folder: folder, program: program)
            }
            // Somebody else took a port meanwhile.
            program.signal(SIGKILL)
            said = await program.outcome().errors
        }
        throw NginxError(description: "nginx did not start: \(said)")
    }

    private static func freePorts(_ count: Int) async throws -> [Int] {
        var listeners: [any Channel] = []
        for _ in 0..<count {
            listeners.append(try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get())
        }
        let ports = listeners.compactMap { $0.localAddress?.port }
        for listener in listeners { try await listener.close().get() }
        return ports
    }

    private static func configuration(_ folder: String, _ ports: [Int]) -> String {
        """
        daemon off;
        worker_processes 1;
        error_log stderr notice;
        pid \(folder)/pid;
        \(getuid() == 0 ? "user root;" : "")
        events { worker_connections 4096; }
        http {
            client_body_temp_path \(folder)/temporary;
            proxy_temp_path \(folder)/temporary;
            fastcgi_temp_path \(folder)/temporary;
            uwsgi_temp_path \(folder)/temporary;
            scgi_temp_path \(folder)/temporary;
            log_format calls '$connection $request_method $request_uri $status $server_protocol';
            access_log \(folder)/calls calls;
            default_type application/octet-stream;
            sendfile on;
            client_max_body_size 0;
            keepalive_requests 1000000;
            map $http_authorization $is_stale { "\(staleAuthorization)" 1; default 0; }
            server {
                listen 127.0.0.1:\(ports[0]);
                listen 127.0.0.1:\(ports[1]) ssl http2;
                listen 127.0.0.1:\(ports[2]) ssl;
                ssl_certificate \(folder)/leaf.pem;
                ssl_certificate_key \(folder)/leaf.key;
                http2_max_concurrent_streams 32;
                root \(folder);
                location /files/ { }
                location /uploads/ { dav_methods PUT; }
                # A filter that may change a body's length takes Content-Length away.
                location /chunked/ { alias \(folder)/files/; sub_filter_types *; sub_filter "this is nowhere in it" ""; }
                location /slow/ { alias \(folder)/files/; limit_rate 2m; }
                location /none { return 204; }
                location /version { return 200 "$server_protocol"; }
                location /hello { default_type application/json; return 200 '{"hello":"world"}'; }
                location /stale { if ($is_stale) { return 401 "stale"; } return 200 "fresh"; }
                # Says with every third answer that it closes.
                location /three { keepalive_requests 3; return 200 "three"; }
                # Says with every answer that it closes.
                location /once { keepalive_requests 1; return 200 "once"; }
                # Says nothing and closes a moment later.
                location /brief { keepalive_timeout 1ms; return 200 "brief"; }
            }
        }

        """
    }

    // MARK: Certificates

    /// A throw-away CA and a certificate for 127.0.0.1 alone: file names and their text.
    private static let certificates = Task { try await makeCertificates() }

    private static let script = """
        cd "$1"
        exec >log 2>&1
        printf 'basicConstraints=CA:FALSE\\nsubjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' >extensions
        key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
        key ca.key
        key leaf.key
        openssl req -x509 -key ca.key -subj /CN=nginx-root -days 2 -addext keyUsage=critical,keyCertSign -out ca.pem
        openssl req -new -key leaf.key -subj /CN=nginx -out leaf.csr
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile extensions -out leaf.pem
        """

    private static func makeCertificates() async throws -> [String: String] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "nginx-certificates-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Program("/bin/sh", ["-euc", script, "certificates", folder]).outcome()
        guard outcome.status == 0 else {
            throw NginxError(description: "openssl: " + ((try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? outcome.errors))
        }
        var files: [String: String] = [:]
        for name in ["ca.pem", "leaf.pem", "leaf.key"] { files[name] = try String(contentsOfFile: folder + "/" + name, encoding: .utf8) }
        return files
    }
}

package struct NginxError: Error, CustomStringConvertible {
    package let description: String
}
