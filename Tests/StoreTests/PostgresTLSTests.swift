#if PostgreSQL
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// SEC-54 with a server that speaks TLS, and one that does not.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresTLSTests {
        @Test("The certificate has to be of a known authority, and for the host that is named") func verified() async throws {
            var options = PostgresServer.Options()
            options.certificateNames = ["DNS:localhost", "DNS:db.example"]
            try await PostgresServer.with(options) { server in
                let url = try await server.makeDatabase()
                func at(_ host: String, _ caFile: String, _ more: String = "") -> String {
                    url.replacing("127.0.0.1", with: host) + "?sslmode=verify-full&sslrootcert=\(caFile)" + more
                }
                let store = try await PostgresStore(DatabaseURL(at("localhost", server.caFile)))
                let isEncrypted = try await store.read { try $0.row("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")?.boolean("ssl") }
                #expect(isEncrypted == true)
                try await store.close()
                // The name that is checked is the one that is written, whatever the address.
                try await PostgresStore(DatabaseURL(at("db.example", server.caFile, "&hostaddr=127.0.0.1"))).close()

                await #expect(throws: DatabaseTrouble.unknownAuthority.asStoreError) {
                    try await PostgresStore(DatabaseURL(at("localhost", server.otherCAFile)))
                }
                await #expect(throws: DatabaseTrouble.wrongName.asStoreError) { try await PostgresStore(DatabaseURL(at("127.0.0.1", server.caFile))) }
                await #expect(throws: DatabaseTrouble.wrongName.asStoreError) {
                    try await PostgresStore(DatabaseURL(at("other.example", server.caFile, "&hostaddr=127.0.0.1")))
                }
            }
        }

        @Test func aServerWithoutTLSProvesNothing() async throws {
            try await withDatabase { url, _ in
                let roots = try #require(DatabaseURL("postgres://u@db.example/d").parameters["sslrootcert"])
                await #expect(throws: DatabaseTrouble.noTLS.asStoreError) {
                    try await PostgresStore(DatabaseURL(url + "?sslmode=verify-full&sslrootcert=\(roots)"))
                }
                // Within the machine nobody has to.
                try await PostgresStore(DatabaseURL(url)).close()
            }
        }
    }
#endif
