import Foundation

/// This process, in Prometheus' usual names.
enum ProcessFigures {
    static var now: [String: Double] {
        var figures: [String: Double] = [:]
        // Pages of 4 KiB or whatever the kernel uses; only Linux tells it this way.
        if let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) {
            let fields = text.split(separator: " ").compactMap { Double($0) }
            if fields.count > 1 { figures["process_resident_memory_bytes"] = fields[1] * Double(sysconf(Int32(_SC_PAGESIZE))) }
        }
        if let descriptors = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") { figures["process_open_fds"] = Double(descriptors.count) }
        var usage = rusage()
        #if os(Linux)
            let who = __rusage_who_t(RUSAGE_SELF.rawValue)
        #else
            let who = RUSAGE_SELF
        #endif
        if getrusage(who, &usage) == 0 {
            func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
            figures["process_cpu_seconds_total"] = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        }
        return figures
    }
}
