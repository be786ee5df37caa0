import Logging
import OAuth
import Vault

/// What a verification is at, or what it found.
package enum VerificationEvent: Sendable {
    /// The database file itself.
    case database(done: Int, total: Int)
    case dataKeys(done: Int, total: Int)
    /// - record: whose values it is at; counted over all of them.
    case sealedValues(record: String, done: Int, total: Int)
    case activity(done: Int, total: Int)
    case done(Verification)
    case failed(Problem)
}

package struct Verification: Sendable {
    package struct Fault: Sendable, Hashable {
        package var record: String
        package var uid: String?
        /// The id of the connection that it belongs to.
        package var connection: String?
        package var field: String?
        package var detail: String
    }
    static let shownFaults = 100
    static let shownGrants = 1000

    /// Data keys and sealed values that were opened, or should have been.
    package var checked = 0
    /// The first hundred.
    package var faults: [Fault] = []
    package var faultCount = 0
    /// The first thousand.
    package var mayBeSpent: [GrantInDoubt] = []
    package var mayBeSpentCount = 0

    package var isOK: Bool { faultCount == 0 }
}

extension Broker {
    /// Whether everything that is kept can be opened: the file, the keys, each sealed value at its place, the activity chain.
    /// Changes nothing; tokens are served and renewed meanwhile.
    /// - Throws: `conflict` while another one, or a rotation, is under way.
    package func verifyVault(by caller: Caller) throws(Problem) -> AsyncStream<VerificationEvent> {
        try caller.requireUnboundAdmin()
        return try beginVaultWork { [self] report in
            do {
                let verification = try await aloneInVault { try await verify(report: report) }
                if !verification.isOK {
                    logger.error("the vault has faults: values that cannot be opened, or a damaged database", metadata: ["count": "\(verification.faultCount)"])
                }
                note("vault.verified", caller: caller, result: verification.isOK ? "ok" : "faults", detail: "\(verification.faultCount) faults")
                return .done(verification)
            } catch {
                let problem = await vaultProblem(error)
                note("vault.verified", caller: caller, result: problem.code.rawValue)
                return .failed(problem)
            }
        }
    }

    private func verify(report: @Sendable (VerificationEvent) -> Void) async throws -> Verification {
        var verification = Verification()
        var faults: [VaultFault] = []
        func found(_ fault: VaultFault) {
            verification.faultCount += 1
            if faults.count < Verification.shownFaults { faults.append(fault) }
        }
        report(.database(done: 0, total: 1))
        try await Self.reading("database", found: found) {
            for fault in try await store.databaseFaults() { found(VaultFault(record: "database", detail: ProviderText.clean(fault, limit: 200))) }
        }
        report(.database(done: 1, total: 1))

        report(.dataKeys(done: 0, total: 1))
        try await Self.reading("data_key", found: found) { verification.checked += try await keyring.verifyKeys(found: found) }
        report(.dataKeys(done: 1, total: 1))

        let total = try await sealedTotal()
        var done = 0
        for column in SealedColumn.all {
            try await keyring.verify(
                column,
                progress: { count in
                    done += count
                    report(.sealedValues(record: column.record, done: min(done, total), total: max(total, 1)))
                }, found: found)
        }
        verification.checked += done
        try await Self.reading("activity", found: found) { try await verifyActivity(found: found, report: report) }

        try await Self.reading("grant", found: found) {
            try await eachGrantInDoubt { grant in
                verification.mayBeSpentCount += 1
                if verification.mayBeSpent.count < Verification.shownGrants { verification.mayBeSpent.append(grant) }
            }
        }
        for fault in faults { verification.faults.append(try await shown(fault)) }
        return verification
    }

    /// What is too damaged to be read is a fault, not the end of the verification.
    private static func reading(_ record: String, found: (VaultFault) -> Void, _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch StoreError.damaged(let detail) {
            found(VaultFault(record: record, detail: "it cannot be read: \(detail)"))
        }
    }

    /// For the progress alone: where the file is too damaged to be counted, the values found are named all the same.
    private func sealedTotal() async throws -> Int {
        do {
            return try await store.sealedCounts().values.reduce(0, +)
        } catch StoreError.damaged {
            return 0
        }
    }

    private func shown(_ fault: VaultFault) async throws -> Verification.Fault {
        var connection: String?
        if let uid = fault.connectionUID {
            do {
                connection = try await store.connection(uid: uid)?.id
            } catch StoreError.damaged {
                connection = nil
            }
        }
        return .init(record: fault.record, uid: fault.uid, connection: connection, field: fault.field, detail: fault.detail)
    }

    /// The chain of each node, as far as it is written.
    private func verifyActivity(found: (VaultFault) -> Void, report: @Sendable (VerificationEvent) -> Void) async throws {
        await flushActivity()
        let chain: ActivityChain
        do {
            guard let opened = try await ActivityChain(of: store, keyring: keyring) else { return }
            chain = opened
        } catch is KeyringError {
            // Its sealed secret was found among the sealed values.
            return
        }
        let added = try await store.unlinkedActivity() - chain.entriesBefore
        if added > 0 { found(VaultFault(record: "activity", detail: "\(added) entries were added past the chain")) }
        let nodes = try await store.activityNodes()
        for (index, node) in nodes.enumerated() {
            try Task.checkCancellation()
            report(.activity(done: index, total: nodes.count))
            let chainReport = try await ActivityVerifier.report(store, chain: chain, node: node)
            if let broken = chainReport.broken {
                found(VaultFault(record: "activity", uid: node, field: "mac", detail: broken.words))
            }
            report(.activity(done: index + 1, total: nodes.count))
        }
    }
}
