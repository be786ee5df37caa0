import Foundation
import Synchronization
import Testing

/// A real PostgreSQL on a loopback port and a socket of its own, with all that it keeps in a throw-away folder.
package final class PostgresServer: Sendable {
    package struct Options: Sendable {
        /// Whether what it commits outlives the machine; slower.
        package var isDurable = false
        /// For whom its certificate is: `DNS:localhost`, `IP:127.0.0.1`. Without one it speaks plain text alone.
        package var certificateNames: [String]?
        /// More of its configuration.
        package var settings: [String: String] = [:]
        package init() {}
    }

    /// One for all tests of a process, until the process ends. Not for those that stop it.
    package static var shared: PostgresServer { get async throws { try await startingShared.value } }
    private static let startingShared = Task { try await start() }

    /// Tests that need one run wherever it has to be there: on Linux a missing one is a failure.
    package static var isExpected: Bool {
        #if os(Linux)
            true
        #else
            PostgresFiles.binaries != nil
        #endif
    }

    package let port: Int
    /// Of the password of every role that it makes.
    private let password: String
    private let files: PostgresFiles
    private let postmaster: Mutex<Program>
    /// Clears up behind a process that had no time to.
    private let watcher: Program

    private init(port: Int, files: PostgresFiles, postmaster: Program) throws {
        self.port = port
        self.files = files
        self.postmaster = Mutex(postmaster)
        password = UUID().uuidString.lowercased()
        watcher = try Program("/bin/sh", ["-c", PostgresFiles.watching, "watch", "\(getpid())", files.folder])
    }

    // MARK: Its life

    /// One as long as `body` runs.
    package static func with<R: Sendable>(_ options: Options = Options(), _ body: (PostgresServer) async throws -> R) async throws -> R {
        let server = try await start(options)
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(server)) } catch { outcome = .failure(error) }
        server.end()
        return try outcome.get()
    }

    /// Until ``end()``, or until this process ends.
    package static func start(_ options: Options = Options()) async throws -> PostgresServer {
        let files = try await PostgresFiles.make(options)
        do {
            for _ in 0..<20 {
                // Below those that the system gives to whoever asks for any: it is free again after a stop.
                let port = Int.random(in: 20_000..<25_000)
                guard let postmaster = try await files.launch(port: port) else { continue }
                let server = try PostgresServer(port: port, files: files, postmaster: postmaster)
                PostgresServers.add(server)
                return server
            }
            throw PostgresError(description: "PostgreSQL found no free port")
        } catch {
            files.remove()
            throw error
        }
    }

    /// As an operator stops it: whoever is connected is told.
    package func stop() async {
        let program = postmaster.withLock { $0 }
        program.signal(SIGINT)
        _ = await program.outcome()
    }

    /// As a crash ends it: nobody is told anything.
    package func kill() async throws {
        let program = postmaster.withLock { $0 }
        let children = Self.children(of: program.pid)
        program.signal(SIGKILL)
        _ = await program.outcome()
        try await eventually("processes of a killed PostgreSQL end") { !children.contains { Foundation.kill($0, 0) == 0 } }
        try await files.removeSharedMemory()
    }

    /// Again, on the same port and with what it kept.
    package func restart() async throws {
        if isRunning { await stop() }
        guard let program = try await files.launch(port: port) else { throw PostgresError(description: "somebody else took port \(port)") }
        postmaster.withLock { $0 = program }
    }

    /// It does nothing any more, but for its kernel: connections stay, and new ones are taken and not answered.
    package func freeze() {
        let pid = postmaster.withLock { $0.pid }
        signalAll([pid] + Self.children(of: pid), SIGSTOP)
    }

    package func thaw() {
        let pid = postmaster.withLock { $0.pid }
        signalAll(Self.children(of: pid) + [pid], SIGCONT)
    }

    /// At once, whatever state it is in; its files go.
    package func end() {
        if isRunning {
            thaw()
            postmaster.withLock { $0.signal(SIGQUIT) }
            let end = ContinuousClock.now + .seconds(10)
            while isRunning, ContinuousClock.now < end { usleep(10_000) }
        }
        watcher.signal(SIGKILL)
        files.remove()
        PostgresServers.remove(self)
    }

    private var isRunning: Bool { Foundation.kill(postmaster.withLock { $0.pid }, 0) == 0 }

    private func signalAll(_ pids: [Int32], _ number: Int32) {
        guard isRunning else { return }
        for pid in pids { Foundation.kill(pid, number) }
    }

    private static func children(of pid: Int32) -> [Int32] {
        #if os(Linux)
            let text = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
            return text.split(separator: " ").compactMap { Int32($0) }
        #else
            let pids = [Int32](unsafeUninitializedCapacity: 1024) { buffer, count in
                count = max(0, Int(proc_listchildpids(pid, buffer.baseAddress, Int32(buffer.count * MemoryLayout<Int32>.size))))
            }
            return pids
        #endif
    }

    // MARK: Databases

    /// A new one, and its owner, who has the same name and is no superuser. - Returns: its URL.
    package func makeDatabase() async throws -> String {
        let name = "t" + UUID().uuidString.lowercased().replacing("-", with: "").prefix(12)
        try await query("CREATE ROLE \(name) LOGIN PASSWORD '\(password)'")
        try await query("CREATE DATABASE \(name) OWNER \(name) TEMPLATE template0 ENCODING 'UTF8'")
        return url(database: name)
    }

    /// With its owner, whoever is connected.
    package func dropDatabase(_ url: String) async throws {
        let name = Self.name(ofDatabase: url)
        try await query("DROP DATABASE \(name) WITH (FORCE)")
        try await query("DROP ROLE \(name)")
    }

    /// As its owner sees it.
    package func url(database: String) -> String { "postgres://\(database):\(password)@127.0.0.1:\(port)/\(database)" }
    /// The same over the socket, where nobody needs a password.
    package func socketURL(database: String) -> String { "postgres://\(database)@/\(database)?host=\(files.sockets)&port=\(port)" }
    package static func name(ofDatabase url: String) -> String { URLComponents(string: url).map { String($0.path.dropFirst()) } ?? "" }

    /// What psql answers a superuser: a line for each row, with `|` between its columns.
    /// - Parameter url: of the database.
    @discardableResult
    package func query(_ sql: String, in url: String? = nil) async throws -> String {
        let database = url.map(Self.name) ?? "postgres"
        let outcome = try await Program(
            files.binaries + "/psql",
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", files.sockets, "-p", "\(port)", "-U", "postgres", "-d", database, "-c", sql]
        ).outcome()
        guard outcome.status == 0 else { throw PostgresError(description: "psql: \(outcome.errors)") }
        return outcome.output.trimmingCharacters(in: .newlines)
    }

    // MARK: TLS

    /// Whose certificate its own is.
    package var caFile: String { files.folder + "/tls/ca.pem" }
    /// Another one's.
    package var otherCAFile: String { files.folder + "/tls/other.pem" }
}

package struct PostgresError: Error, CustomStringConvertible {
    package let description: String
}

/// Those that run, so that none outlives this process.
private enum PostgresServers {
    private static let running = Mutex<[ObjectIdentifier: PostgresServer]>([:])
    private static let endsThemAll: Void = {
        atexit { for server in running.withLock({ Array($0.values) }) { server.end() } }
    }()

    static func add(_ server: PostgresServer) {
        _ = endsThemAll
        running.withLock { $0[ObjectIdentifier(server)] = server }
    }

    static func remove(_ server: PostgresServer) { running.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(server)) } }
}
