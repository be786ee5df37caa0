import Foundation
import TestSupport

/// A disk that fails when it is told to, for one server: `Faults/diskfault.c`, preloaded into it.
struct DiskFault: Sendable {
    /// What fails, and how the system call says so.
    enum Order: String, Sendable, CaseIterable {
        case fullAtWrite = "write ENOSPC"
        case brokenAtWrite = "write EIO"
        case brokenAtSync = "sync EIO"
    }

    private let folder: String
    private var control: String { folder + "/order" }

    /// Compiles the library into a new folder.
    static func make() async throws -> DiskFault {
        let fault = DiskFault(folder: FileManager.default.temporaryDirectory.appending(path: "diskfault-\(UUID().uuidString)").path)
        try FileManager.default.createDirectory(atPath: fault.folder, withIntermediateDirectories: true)
        let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Faults/diskfault.c").path
        guard let compiler else { throw NotCompiled(errors: "there is no C compiler") }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        let outcome = await (try Program(compiler, ["-shared", "-fPIC", "-o", fault.folder + "/diskfault.so", source], environment: ["PATH": path]))
            .outcome()
        guard outcome.status == 0 else { throw NotCompiled(errors: outcome.errors) }
        return fault
    }

    struct NotCompiled: Error {
        let errors: String
    }

    /// `nil` where the fault cannot be made: only Linux preloads libraries this way.
    static let compiler: String? = {
        #if os(Linux)
            let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
            return ["clang", "cc", "gcc"].lazy.flatMap { name in folders.map { "\($0)/\(name)" } }.first(where: FileManager.default.isExecutableFile)
        #else
            return nil
        #endif
    }()

    /// For the server that is to have this disk.
    var environment: [String: String] { ["LD_PRELOAD": folder + "/diskfault.so", "DISKFAULT_FILE": control] }

    func begin(_ order: Order) throws { try Data(order.rawValue.utf8).write(to: URL(filePath: control), options: .atomic) }
    func end() throws { try FileManager.default.removeItem(atPath: control) }
    func remove() throws { try FileManager.default.removeItem(atPath: folder) }
}
