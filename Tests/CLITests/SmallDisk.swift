import Foundation
import TestSupport

/// A disk for a database's data that can be filled: memory with a limit, mounted in the place of its folder. Only Linux's root may do that.
struct SmallDisk: Sendable {
    static var isAllowed: Bool {
        #if os(Linux)
            getuid() == 0
        #else
            false
        #endif
    }

    private let folder: String

    /// Moves what the server keeps there as long as `body` runs; the server is stopped in the end.
    static func with<R: Sendable>(_ postgres: PostgresServer, _ body: (SmallDisk) async throws -> R) async throws -> R {
        let folder = try await postgres.query("SHOW data_directory")
        await postgres.stop()
        try await shell(#"mv "$1" "$1.disk" && mkdir "$1" && mount -t tmpfs -o size=256m,mode=700 tmpfs "$1" && cp -a "$1.disk/." "$1/""#, folder)
        try await shell(#"chown --reference="$1.disk" "$1" && chmod 700 "$1""#, folder)
        let outcome: Result<R, any Error>
        do {
            try await postgres.restart()
            outcome = .success(try await body(SmallDisk(folder: folder)))
        } catch {
            outcome = .failure(error)
        }
        await postgres.stop()
        try await shell(#"umount "$1""#, folder)
        return try outcome.get()
    }

    /// Until nothing fits any more.
    func fill() async throws {
        try await Self.shell(#"dd if=/dev/zero of="$1/ballast" bs=64k 2>/dev/null || dd if=/dev/zero of="$1/ballast-2" bs=512 2>/dev/null || true"#, folder)
    }

    func free() async throws { try await Self.shell(#"rm -f "$1/ballast" "$1/ballast-2""#, folder) }

    private static func shell(_ script: String, _ folder: String) async throws {
        let outcome = try await Program("/bin/sh", ["-c", script, "disk", folder], environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]).outcome()
        guard outcome.status == 0 else { throw NotDone(errors: outcome.errors) }
    }

    struct NotDone: Error {
        let errors: String
    }
}
