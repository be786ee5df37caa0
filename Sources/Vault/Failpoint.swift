import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A named place where a debug build can be made to die, to wait or to freeze; in a release build there is none.
///
/// `GRANTEE_FAILPOINT=refresh.sent:kill@2` ends the process, as `kill -9` does, when it passes there the second time;
/// `refresh.sent:sleep@1` lets it wait there for a minute instead, and `refresh.sent:stop` freezes it until it gets SIGCONT.
package enum Failpoint {
    #if DEBUG
        private struct Armed {
            let name: String
            let action: String
            var passes: Int
        }

        private static let armed = Mutex<Armed?>(
            getenv("GRANTEE_FAILPOINT").flatMap { text -> Armed? in
                let parts = String(cString: text).split(separator: ":", maxSplits: 1)
                guard parts.count == 2 else { return nil }
                let action = parts[1].split(separator: "@", maxSplits: 1)
                return Armed(name: String(parts[0]), action: String(action[0]), passes: action.count == 2 ? Int(action[1]) ?? 1 : 1)
            })

        package static func pass(_ name: String) {
            let action = armed.withLock { armed -> String? in
                guard var point = armed, point.name == name else { return nil }
                point.passes -= 1
                armed = point.passes > 0 ? point : nil
                return point.passes > 0 ? nil : point.action
            }
            switch action {
            case "kill":
                kill(getpid(), SIGKILL)
                // The signal may take a moment to arrive; nothing more may happen here.
                while true { pause() }
            case "sleep": sleep(60)
            // To this thread: it stands here, and not a few steps further on.
            case "stop": raise(SIGSTOP)
            default: break
            }
        }

        /// Passes within the next hundredths of a second, while the caller goes on.
        package static func passSoon(_ name: String) {
            guard armed.withLock({ $0?.name == name }) else { return }
            let delay = useconds_t.random(in: 0..<20_000)
            Task.detached {
                usleep(delay)
                pass(name)
            }
        }
    #else
        @inline(__always) package static func pass(_ name: String) {}
        @inline(__always) package static func passSoon(_ name: String) {}
    #endif
}
