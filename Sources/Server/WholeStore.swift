import Vault

/// That a server may serve from a store: it holds all of a vault, and that vault lives nowhere else. Before anything is written
/// to it; among other nodes once more when this one has made itself known, because a copy looks for them after it took hold.
/// - Throws: ``StartError``
func requireWhole(_ store: any Store) async throws(StartError) {
    do {
        if try await store.mark(CopyMark.self) != nil {
            throw StartError(
                "the database holds a copy that is not finished", hint: "run the same `grantee vault copy` again: it goes on where it ended")
        }
        if let moved: MovedMark = try await store.mark() {
            throw StartError(
                "the vault in this database was moved to \(moved.to) at \(moved.at.rfc3339)",
                hint: "start the server there; if that one is lost or was never started, `grantee vault reopen` opens this one again")
        }
        if let store = store as? any CopyableStore, try await store.isHeld() {
            throw StartError("`grantee vault copy` copies this database, or fills it, at the moment", hint: "start again when it has ended")
        }
    } catch let error as StartError {
        throw error
    } catch {
        throw (error as? StoreError).map(StartError.init(store:)) ?? StartError("the database cannot be read")
    }
}
