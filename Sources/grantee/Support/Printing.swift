import OAuth

extension ServerOptions {
    /// JSON for programs, or whatever `otherwise` prints for people.
    func show(_ value: JSONValue, otherwise: () -> Void) {
        if json { Terminal.write(value.pretty) } else { otherwise() }
    }
}
