import ArgumentParser
import Foundation
import OAuth
import Server

/// Which server a command speaks to, and with which key.
struct ServerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the server is. Default: GRANTEE_URL, else the local data directory's server.", valueName: "url"))
    var url: String?

    @Option(
        help: ArgumentHelp(
            "The data directory whose server and admin key are used when GRANTEE_URL or GRANTEE_API_KEY are not set. Default: GRANTEE_DATA_DIR, else ./grantee-data.",
            valueName: "dir"), completion: .directory)
    var dataDir: String?

    @Flag(help: "Print JSON, for programs.")
    var json = false

    /// - Throws: ``Failure`` that says where it looked.
    func client() throws -> APIClient {
        let environment = ProcessInfo.processInfo.environment
        let directory = dataDir ?? environment["GRANTEE_DATA_DIR"] ?? "./grantee-data"
        guard let text = url ?? environment["GRANTEE_URL"].flatMap({ $0.isEmpty ? nil : $0 }) ?? Self.serverURL(in: directory) else {
            throw Failure(
                "no server was found: GRANTEE_URL is not set, and none runs on \(directory)",
                hint: "start one with `grantee serve`, or set GRANTEE_URL and GRANTEE_API_KEY")
        }
        guard let address = try? EndpointURL(text), address.query == nil else { throw Failure("the server's URL is not one: \(text)", exitCode: Failure.usage) }
        guard address.scheme == .https || address.isLoopback else {
            throw Failure("the API key would travel unprotected to \(address.origin)", hint: "use https, or a loopback address", exitCode: Failure.usage)
        }
        guard let key = try Self.secret("GRANTEE_API_KEY") ?? Self.content(of: directory + "/admin.key") else {
            throw Failure(
                "no API key was found: GRANTEE_API_KEY is not set, and \(directory) holds no admin.key", hint: "set GRANTEE_API_KEY or GRANTEE_API_KEY_FILE")
        }
        return APIClient(base: text.hasSuffix("/") ? String(text.dropLast()) : text, key: key)
    }

    private static func serverURL(in directory: String) -> String? {
        guard let text = content(of: directory + "/server.json") else { return nil }
        return (try? JSONValue(parsing: text.utf8))?["url"]?.string
    }

    private static func content(of path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8)).map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
    }

    /// From the environment, or from the file that NAME_FILE names.
    static func secret(_ name: String) throws -> String? { try namedSecret(name)?.text }

    /// The same, with the variable that it came from.
    static func namedSecret(_ name: String) throws -> (text: String, variable: String)? {
        let environment = ProcessInfo.processInfo.environment
        if let value = environment[name], !value.isEmpty { return (value, name) }
        guard let path = environment[name + "_FILE"], !path.isEmpty else { return nil }
        guard let text = content(of: path), !text.isEmpty else { throw Failure("\(name)_FILE names \(path), which cannot be read or is empty") }
        return (text, name + "_FILE")
    }
}

extension ServerConfiguration {
    /// - Parameter flag: the value of `--database-url`, which goes first.
    mutating func nameDatabase(_ flag: String?) throws {
        databaseURL = flag
        guard flag == nil, let (text, variable) = try ServerOptions.namedSecret("GRANTEE_DATABASE_URL") else { return }
        (databaseURL, databaseSetting) = (text, variable)
    }
}
