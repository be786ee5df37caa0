import Foundation
import NIOCore

enum Cores {
    /// One event loop for each processor that this process may run on, rather than for each that the machine has: more of
    /// them only take turns. To be called before the first is made.
    static func use() {
        // `Cpus_allowed:	3`, in hex, with commas between words.
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let mask = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") })?.dropFirst("Cpus_allowed:".count)
        else { return }
        let count = mask.compactMap(\.hexDigitValue).reduce(0) { $0 + $1.nonzeroBitCount }
        if count > 0 { NIOSingletons.groupLoopCountSuggestion = min(count, System.coreCount) }
    }
}
