import CLibPQ
import Foundation
import Vault

/// Where the database is, and how it is spoken to: `postgres://user:password@host/database`, judged before anything is sent.
///
/// Over a network the server has to prove by its certificate that it is the one that is named (`sslmode=verify-full`); plain
/// text and unproven TLS are for a local socket and loopback addresses alone. SEC-54.
package struct DatabaseURL: Sendable {
    /// What libpq is told, by its own names.
    let parameters: [String: String]
    /// Without user and password: fit to show.
    package let shown: String
    /// Connections of one node to the database, at most.
    package let poolSize: Int

    package static func isOne(_ text: String) -> Bool { text.hasPrefix("postgres://") || text.hasPrefix("postgresql://") }

    /// Connections that a node opens when the URL does not say `pool_size`.
    package static let defaultPoolSize = 8

    /// - Throws: ``DatabaseURLError``, which repeats nothing of the URL but the names of parameters.
    package init(_ text: String) throws(DatabaseURLError) {
        guard Self.isOne(text) else { throw DatabaseURLError("is no PostgreSQL URL", hint: "write postgres://user:password@host/database") }
        let (url, poolSize) = try Self.takePoolSize(from: text)
        self.poolSize = poolSize
        var given = try Self.parse(url)
        for (name, instead) in Self.own where given[name] != nil {
            throw DatabaseURLError("sets \(name)", hint: "leave it out: Grantee sets \(instead) itself")
        }
        for name in ["service", "passfile"] where given[name] != nil {
            throw DatabaseURLError("sets \(name)", hint: "leave it out; keep the whole URL in a file, GRANTEE_DATABASE_URL_FILE")
        }
        try Self.requirePlainSigns(given)
        guard given["dbname"] != nil else {
            throw DatabaseURLError("names no database", hint: "write postgres://user:password@host/database")
        }
        if let mode = given["sslmode"], mode != "verify-full", !Self.weakModes.contains(mode) {
            throw DatabaseURLError("has an sslmode that there is not", hint: "write sslmode=verify-full, or leave it out")
        }
        let hosts = Self.hosts(given)
        if !hosts.allSatisfy(Self.isLocal) {
            if let mode = given["sslmode"], mode != "verify-full" {
                throw DatabaseURLError(
                    "asks for sslmode=\(mode) to another machine",
                    hint: "use sslmode=verify-full, and name the certificate authority with sslrootcert=FILE")
            }
            given["sslmode"] = "verify-full"
        }
        if ["verify-full", "verify-ca"].contains(given["sslmode"]) {
            let roots = if let named = given["sslrootcert"] { named } else { try Self.systemRoots() }
            guard FileManager.default.isReadableFile(atPath: roots) else {
                throw DatabaseURLError("names an sslrootcert that cannot be read", hint: "check the file's place, owner and mode")
            }
            guard Self.holdsCertificate(roots) else {
                throw DatabaseURLError("names an sslrootcert that holds no certificate", hint: DatabaseTrouble.noRoots.hint)
            }
            given["sslrootcert"] = roots
        }
        given["sslmode"] = given["sslmode"] ?? "prefer"
        // What the environment of the process says is nobody's intention here.
        given["host"] = given["host"] ?? Self.socketFolder
        let ports = (given["port"] ?? "").split(separator: ",")
        given["port"] = ports.isEmpty ? "5432" : given["port"]
        for (name, value) in Self.fixed { given[name] = value }
        shown = Self.shown(given, hosts: hosts)
        parameters = given
    }

    private static let socketFolder = "/var/run/postgresql"
    /// What a connection needs whatever the URL says.
    private static let fixed = [
        "application_name": "grantee", "client_encoding": "UTF8", "target_session_attrs": "read-write", "connect_timeout": "5",
        "tcp_user_timeout": "5000", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "2", "gssencmode": "disable",
    ]
    private static let own = [
        "options": "the session's settings", "target_session_attrs": "it", "client_encoding": "it", "application_name": "it", "replication": "it",
        "connect_timeout": "it", "tcp_user_timeout": "it",
    ]

    private static let weakModes: Set = ["disable", "allow", "prefer", "require", "verify-ca"]

    /// Where libpq connects to: of each place the address, or else the name.
    private static func hosts(_ given: [String: String]) -> [String] {
        func list(_ name: String) -> [String] { (given[name] ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
        let (addresses, names) = (list("hostaddr"), list("host"))
        return (0..<max(addresses.count, names.count)).map { index in
            let address = index < addresses.count ? addresses[index] : ""
            return address.isEmpty && index < names.count ? names[index] : address
        }
    }

    /// A sign of a password that was not escaped makes another part of the URL of the rest, and that would be shown.
    private static func requirePlainSigns(_ given: [String: String]) throws(DatabaseURLError) {
        let hasHost = !(given["host"] ?? "").dropFirst().contains("@")
        let hasName = given["user"] != nil || !(given["dbname"] ?? "").contains("@")
        guard hasHost, hasName else { throw unreadable }
        guard (given["port"] ?? "").split(separator: ",").allSatisfy({ UInt16($0) ?? 0 > 0 }) else {
            throw DatabaseURLError("has a port that is no number from 1 to 65535", hint: unreadable.hint)
        }
    }

    private static func holdsCertificate(_ path: String) -> Bool {
        guard let data = FileManager.default.contents(atPath: path) else { return false }
        let text = String(decoding: data, as: UTF8.self)
        return text.contains(/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/)
    }

    private static func isLocal(_ host: String) -> Bool {
        host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") || host == "localhost" || host == "::1" || isLoopbackIPv4(host)
    }

    private static func isLoopbackIPv4(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// libpq knows nothing of `pool_size`.
    private static func takePoolSize(from text: String) throws(DatabaseURLError) -> (String, Int) {
        guard let mark = text.firstIndex(of: "?") else { return (text, defaultPoolSize) }
        var items = text[text.index(after: mark)...].split(separator: "&").map(String.init)
        guard let place = items.firstIndex(where: { $0.hasPrefix("pool_size=") }) else { return (text, defaultPoolSize) }
        guard let size = Int(items.remove(at: place).dropFirst("pool_size=".count)), 1...200 ~= size else {
            throw DatabaseURLError("has a pool_size that is no number from 1 to 200", hint: nil)
        }
        return (text[..<mark] + (items.isEmpty ? "" : "?" + items.joined(separator: "&")), size)
    }

    private static func parse(_ url: String) throws(DatabaseURLError) -> [String: String] {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            // libpq's words may repeat a part of the URL: a password, where it has a sign that was not escaped.
            PQfreemem(message)
            throw fault(of: url)
        }
        defer { PQconninfoFree(options) }
        var found: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            // To libpq what is empty is not there.
            if let value = option.pointee.val, value.pointee != 0 { found[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return found
    }

    private static let unreadable = DatabaseURLError(
        "cannot be read", hint: "write postgres://user:password@host/database; in user and password write @ as %40, : as %3A, / as %2F")

    /// Which part of a URL cannot be read; of the URL only the name of a parameter is repeated, where it can be nothing else.
    private static func fault(of url: String) -> DatabaseURLError {
        if url.contains(/%(?![0-9A-Fa-f]{2})/) {
            return DatabaseURLError("has a % that two hexadecimal digits do not follow", hint: "write a % of the user or the password as %25")
        }
        guard let mark = url.firstIndex(of: "?"), !url[mark...].contains("@") else { return unreadable }
        for item in url[url.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false) {
            let name = item.prefix { $0 != "=" }
            guard name.count < item.count else { return DatabaseURLError("has a parameter without a value", hint: "write ?name=value&name=value") }
            guard !knownParameters.contains(String(name)) else { continue }
            let isName = (1...40).contains(name.count) && name.utf8.allSatisfy { (0x61...0x7A).contains($0 | 0x20) || $0 == UInt8(ascii: "_") }
            return DatabaseURLError(
                "has a parameter that PostgreSQL does not know\(isName ? ": \(name)" : "")", hint: "leave it out; those of other programs mean nothing here")
        }
        return unreadable
    }

    private static let knownParameters: Set<String> = {
        guard let options = PQconndefaults() else { return [] }
        defer { PQconninfoFree(options) }
        var names: Set = ["ssl"]
        var option = options
        while let keyword = option.pointee.keyword {
            names.insert(String(cString: keyword))
            option += 1
        }
        return names
    }()

    /// libpq 15 knows no `system`: the file has to be named.
    private static func systemRoots() throws(DatabaseURLError) -> String {
        let known = [
            "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
        ]
        guard let file = known.first(where: FileManager.default.isReadableFile) else {
            throw DatabaseURLError("needs certificate authorities, and this system's were not found", hint: "name them with sslrootcert=FILE")
        }
        return file
    }

    private static func shown(_ given: [String: String], hosts: [String]) -> String {
        let host = given["host"].map { $0.hasPrefix("/") ? "local" : $0 } ?? hosts.joined(separator: ",")
        return "postgres://\(host):\(given["port"] ?? "5432")/\(given["dbname"] ?? "")"
    }
}

/// What is wrong with a database URL; begins with a verb: `the database URL \(message)`.
package struct DatabaseURLError: Error, Sendable, Hashable {
    package let message: String
    package let hint: String?
    init(_ message: String, hint: String?) {
        self.message = message
        self.hint = hint
    }
}
