import Broker
import OAuth
import Vault

/// A signed-in person's request: who it is, and the token that forms of this session carry.
struct ConsoleVisit: Sendable {
    let session: ConsoleSession
    let caller: Caller
    /// Bound to the session's cookie: SEC-101.
    let csrf: String
    /// What a form sent; checked already: same origin, this session's token.
    var form = ConsoleForm([])
}
