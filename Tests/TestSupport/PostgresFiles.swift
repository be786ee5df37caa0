import Foundation

/// Where a ``PostgresServer`` comes from and what it keeps.
struct PostgresFiles: Sendable {
    /// The folder of its programs.
    let binaries: String
    /// Holds everything: `data`, `sockets`, `tls`.
    let folder: String
    var sockets: String { folder + "/sockets" }
    private var data: String { folder + "/data" }

    /// Those of the newest version that is installed; `nil` = none is.
    static let binaries: String? = {
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []).compactMap { Int($0) }
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let folders = versions.sorted(by: >).map { "/usr/lib/postgresql/\($0)/bin" } + path
        return folders.first { folder in
            ["postgres", "initdb", "psql"].allSatisfy { FileManager.default.isExecutableFile(atPath: "\(folder)/\($0)") }
        }
    }()

    static func make(_ options: PostgresServer.Options) async throws -> PostgresFiles {
        guard let binaries else { throw PostgresError(description: "PostgreSQL is not installed: run scripts/prepare tests") }
        let folder = FileManager.default.temporaryDirectory.appending(path: "postgres-\(UUID().uuidString.prefix(8))").path
        let files = PostgresFiles(binaries: binaries, folder: folder)
        do {
            for name in ["", "/data", "/sockets", "/tls"] {
                try FileManager.default.createDirectory(atPath: folder + name, withIntermediateDirectories: true)
            }
            if options.certificateNames != nil { try await files.makeCertificates(for: options.certificateNames ?? []) }
            files.giveAway()
            let made = try await files.program(
                "initdb",
                ["-D", files.data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"]
            ).outcome()
            guard made.status == 0 else { throw PostgresError(description: "initdb: \(made.errors)") }
            try files.configure(options)
        } catch {
            files.remove()
            throw error
        }
        return files
    }

    private func configure(_ options: PostgresServer.Options) throws {
        let isDurable = options.isDurable ? "on" : "off"
        var settings = [
            "listen_addresses": "127.0.0.1", "unix_socket_directories": sockets, "max_connections": "200", "shared_buffers": "64MB",
            "fsync": isDurable, "full_page_writes": isDurable, "password_encryption": "scram-sha-256",
        ]
        if options.certificateNames != nil {
            settings.merge(["ssl": "on", "ssl_cert_file": folder + "/tls/leaf.pem", "ssl_key_file": folder + "/tls/leaf.key"]) { $1 }
        }
        settings.merge(options.settings) { $1 }
        let text = settings.map { "\($0.key) = '\($0.value)'\n" }.sorted().joined()
        let file = try FileHandle(forWritingTo: URL(filePath: data + "/postgresql.conf"))
        try file.seekToEnd()
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    // MARK: Programs

    /// PostgreSQL does not run as root.
    private static let user: (name: String, uid: uid_t, gid: gid_t)? = {
        guard getuid() == 0 else { return nil }
        for name in ["postgres", "nobody"] {
            if let found = getpwnam(name) { return (name, found.pointee.pw_uid, found.pointee.pw_gid) }
        }
        return nil
    }()

    private func giveAway() {
        guard let user = Self.user else { return }
        for name in ["", "/data", "/sockets", "/tls", "/tls/leaf.key"] { _ = chown(folder + name, user.uid, user.gid) }
    }

    /// One of PostgreSQL's, as a user who may run it.
    private func program(_ name: String, _ arguments: [String]) throws -> Program {
        try Self.program("\(binaries)/\(name)", arguments, home: folder)
    }

    static func program(_ path: String, _ arguments: [String], home: String) throws -> Program {
        guard let user else { return try Program(path, arguments, environment: ["HOME": home]) }
        return try Program(
            "/usr/bin/setpriv", ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--clear-groups", "--", path] + arguments, environment: ["HOME": home])
    }

    /// - Returns: the postmaster, once it takes connections; `nil` when the port is another's.
    func launch(port: Int) async throws -> Program? {
        let postmaster = try program("postgres", ["-D", data, "-c", "port=\(port)"])
        let isReady = "database system is ready to accept connections"
        let isTaken = "could not create any TCP/IP sockets"
        // Clients that come too soon are told so, which is no failure.
        let line = await postmaster.line(ofErrors: true) { line in
            [isReady, isTaken].contains { line.contains($0) } || line.contains("FATAL:") && !line.contains("the database system is")
        }
        if line?.contains(isReady) == true { return postmaster }
        postmaster.signal(SIGQUIT)
        let said = await postmaster.outcome().errors
        guard said.contains(isTaken) else { throw PostgresError(description: "PostgreSQL did not start: \(said)") }
        return nil
    }

    // MARK: Clearing up

    /// What one that was killed left in the kernel: the seventh line of its file says what.
    func removeSharedMemory() async throws {
        let text = (try? String(contentsOfFile: data + "/postmaster.pid", encoding: .utf8)) ?? ""
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count > 6, let id = lines[6].split(separator: " ").last else { return }
        _ = try await Program("/usr/bin/ipcrm", ["-m", String(id)]).outcome()
    }

    /// Processes that end may still write there for a moment.
    func remove() {
        for _ in 0..<100 {
            try? FileManager.default.removeItem(atPath: folder)
            if !FileManager.default.fileExists(atPath: folder) { return }
            usleep(20_000)
        }
    }

    /// Waits for the end of process `$1`, then ends what runs in folder `$2`, and removes that.
    static let watching = """
        trap '' INT HUP TERM
        while kill -0 "$1" 2>/dev/null; do sleep 1; done
        pid=$(head -n 1 "$2/data/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ]; then
            kill -CONT "$pid" 2>/dev/null
            kill -QUIT "$pid" 2>/dev/null
            while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        fi
        rm -rf "$2"
        """

    // MARK: Certificates

    private static let certificates = """
        cd "$1"
        printf 'basicConstraints=CA:FALSE\\nsubjectAltName=%s\\nextendedKeyUsage=serverAuth\\n' "$2" >extensions
        key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
        root() { openssl req -x509 -key "$1.key" -subj "/CN=postgres-$1" -days 2 -addext keyUsage=critical,keyCertSign -out "$1.pem"; }
        key ca.key
        key other.key
        key leaf.key
        root ca
        root other
        openssl req -new -key leaf.key -subj /CN=postgres -out leaf.csr
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile extensions -out leaf.pem
        chmod 600 leaf.key
        """

    private func makeCertificates(for names: [String]) async throws {
        let arguments = ["-euc", Self.certificates, "certificates", folder + "/tls", names.joined(separator: ",")]
        let outcome = try await Program("/bin/sh", arguments).outcome()
        guard outcome.status == 0 else { throw PostgresError(description: "openssl: \(outcome.errors)") }
    }
}
