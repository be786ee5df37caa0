import OAuth
import TestSupport
import Testing

/// A command that speaks to a server through a proxy: which of the two is at fault.
struct SecureServerTests {
    @Test func aCertificateIsNotTakenForSilence() async throws {
        try await Nginx.with { nginx async throws in
            func list(_ more: [String: String]) async throws -> Program.Outcome {
                try await CommandLineTool(environment: ["GRANTEE_URL": nginx.secureURL, "GRANTEE_API_KEY": "gk_key"].merging(more) { $1 })
                    .run(["connections", "list"])
            }
            let unknown = try await list([:])
            #expect(unknown.status == 1)
            #expect(unknown.errors.hasPrefix("error: no secure connection to \(nginx.secureURL): its certificate is not trusted"), "\(unknown.errors)")
            #expect(unknown.errors.contains("GRANTEE_CA_FILE"))
            // Behind the handshake there is somebody, who is no Grantee.
            let known = try await list(["GRANTEE_CA_FILE": nginx.caFile])
            #expect(known.status == 1)
            #expect(!known.errors.contains("secure") && !known.errors.contains("no server answers"), "\(known.errors)")
            let none = try await list(["GRANTEE_CA_FILE": "/nowhere/ca.pem"])
            #expect(none.status == 2)
            #expect(none.errors.hasPrefix("error: GRANTEE_CA_FILE: /nowhere/ca.pem cannot be read"), "\(none.errors)")
        }
    }

    @Test("A proxy that reaches nobody", arguments: ["", "<html>Bad Gateway</html>"])
    func proxy(_ body: String) async throws {
        for status in [502, 503, 504] {
            let proxy = try await RawUpstream.start(
                .answering(.send("HTTP/1.1 \(status) Away\r\nContent-Type: text/html\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")))
            let tool = CommandLineTool(environment: ["GRANTEE_URL": proxy.url, "GRANTEE_API_KEY": "gk_key"])
            let listed = try await tool.run(["connections", "list"])
            #expect(listed.status == 1)
            await proxy.stop()
            #expect(listed.errors.hasPrefix("error: the proxy at \(proxy.url) reaches no server (status \(status))\n"), "\(listed.errors)")
        }
    }
}
