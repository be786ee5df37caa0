package import Vault

extension Connection {
    /// Whether grants would stop being used if these were its settings: a URL that tokens go to would be at another host.
    package func losesGrants(with settings: ConnectionSettings) -> Bool { HostMove(from: self.settings, to: settings).movesTokens }
}
