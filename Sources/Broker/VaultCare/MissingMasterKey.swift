import Logging
import Synchronization
import Vault

extension KeyringError {
    /// What does not open here opens on other nodes.
    var isMissingMasterKey: Bool { if case .wrongMasterKey = self { true } else { false } }
}

/// Another node sealed with a master key that this one was not given: nothing is served until it is, because a revocation may be
/// among what cannot be read.
extension Broker {
    func missingMasterKeyProblem(_ id: String) -> Problem {
        noteMissingMasterKey(id)
        return Problem(.unavailable, "the vault is sealed with a master key that this server was not given", retryAfter: 1)
    }

    /// Once, however many ask.
    func noteMissingMasterKey(_ id: String) {
        guard missingMasterKeys.withLock({ $0.insert(id).inserted }) else { return }
        logger.error(
            """
            another node sealed with a master key that this server was not given: nothing is served until it is restarted with the same \
            master keys as the others
            """, metadata: ["master_key": "\(id)"])
    }

    /// Everything opens. - Returns: whether the log says otherwise.
    func noMasterKeyIsMissing() -> Bool {
        missingMasterKeys.withLock { missing in
            defer { missing = [] }
            return !missing.isEmpty
        }
    }
}
