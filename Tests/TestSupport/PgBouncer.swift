import Foundation

/// A real PgBouncer before a ``PostgresServer``: each transaction may have another connection to the server.
package struct PgBouncer: Sendable {
    private let port: Int

    /// One as long as `body` runs, for one database, with `connections` to the server.
    package static func with<R: Sendable>(
        _ server: PostgresServer, database url: String, connections: Int, _ body: (PgBouncer) async throws -> R
    ) async throws -> R {
        let paths = ["/usr/sbin", "/usr/bin", "/opt/homebrew/bin"].map { $0 + "/pgbouncer" }
        guard let path = paths.first(where: FileManager.default.isExecutableFile) else {
            throw PostgresError(description: "PgBouncer is not installed: run scripts/prepare tests")
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "pgbouncer-\(UUID().uuidString.prefix(8))").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (program, port) = try await start(path, in: folder, server, url, connections)
        let watcher = try Program("/bin/sh", ["-c", watching, "watch", "\(getpid())", "\(program.pid)", folder])
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(PgBouncer(port: port))) } catch { outcome = .failure(error) }
        // It keeps nothing, and other signals are blocked for a child of a thread of Swift's.
        for started in [program, watcher] { started.signal(SIGKILL) }
        _ = await program.outcome()
        return try outcome.get()
    }

    /// Waits for the end of process `$1`, which may have no time to clear up, and ends process `$2` with its folder `$3`.
    private static let watching = """
        trap '' INT HUP TERM
        while kill -0 "$1" 2>/dev/null; do sleep 1; done
        kill -KILL "$2" 2>/dev/null
        rm -rf "$3"
        """

    /// The same database, through it.
    package func url(_ url: String) -> String {
        guard var components = URLComponents(string: url) else { return url }
        components.port = port
        return components.string ?? url
    }

    private static func start(
        _ path: String, in folder: String, _ server: PostgresServer, _ url: String, _ connections: Int
    ) async throws -> (Program, port: Int) {
        guard let components = URLComponents(string: url), let user = components.user, let password = components.password else {
            throw PostgresError(description: "the database's URL names nobody")
        }
        try Data("\"\(user)\" \"\(password)\"\n".utf8).write(to: URL(filePath: folder + "/users"))
        for _ in 0..<20 {
            let port = Int.random(in: 20_000..<25_000)
            let configuration = """
                [databases]
                * = host=127.0.0.1 port=\(server.port)
                [pgbouncer]
                listen_addr = 127.0.0.1
                listen_port = \(port)
                unix_socket_dir =
                auth_type = scram-sha-256
                auth_file = \(folder)/users
                pool_mode = transaction
                max_client_conn = 500
                default_pool_size = \(connections)

                """
            try Data(configuration.utf8).write(to: URL(filePath: folder + "/pgbouncer.ini"))
            let program = try PostgresFiles.program(path, [folder + "/pgbouncer.ini"], home: folder)
            let line = await program.line(ofErrors: true) { $0.contains("process up") || $0.contains("FATAL") || $0.contains("cannot listen") }
            if line?.contains("process up") == true { return (program, port) }
            program.signal(SIGKILL)
            let said = await program.outcome().errors
            guard said.contains("in use") else { throw PostgresError(description: "PgBouncer did not start: \(said)") }
        }
        throw PostgresError(description: "PgBouncer found no free port")
    }
}
