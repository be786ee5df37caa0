import OAuth

/// The request that the running task serves: what its log lines and activity entries have in common.
///
/// Renewals run in tasks of their own and keep the one of whoever began them. On the hot path there is none.
package enum RequestID {
    package struct Scope: Sendable {
        package var id: String
        /// The id of the API key that asks; `nil` for a browser.
        package var key: String?
        package init(id: String, key: String?) {
            self.id = id
            self.key = key
        }
    }

    @TaskLocal package static var scope: Scope?

    package static var current: String? { scope?.id }

    /// 16 characters. Always ours: what a caller calls its request is not ours to repeat in a log.
    package static func make() -> String { Entropy.system.token(bytes: 12) }
}
