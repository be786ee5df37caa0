#if PostgreSQL
    import Foundation
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// What keeps a database from being opened is told apart, and each has something to do about it.
    @Suite struct DatabaseTroubleTests {
        @Test(
            "libpq's words",
            arguments: [
                (#"could not translate host name "db.example" to address: Name or service not known"#, DatabaseTrouble.unknownName),
                (#"connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running on that host?"#, .refused),
                (#"connection to server on socket "/run/x/.s.PGSQL.1" failed: No such file or directory"#, .noSocket),
                (#"connection to server on socket "/run/x/.s.PGSQL.1" failed: Connection refused"#, .noSocket),
                ("server does not support SSL, but SSL was required", .noTLS), ("SSL error: certificate verify failed", .unknownAuthority),
                (#"server certificate for "localhost" (and 1 other name) does not match host name "127.0.0.1""#, .wrongName),
                (#"could not read root certificate file "/etc/ca.pem": no certificate or crl found"#, .noRoots),
                (#"invalid sslmode value: "x""#, .badParameter), (#"invalid channel_binding value: "x""#, .badParameter),
                (#"invalid integer value "x" for connection option "keepalives""#, .badParameter), ("invalid SSL protocol version range", .badParameter),
                (#"FATAL:  password authentication failed for user "u""#, .wrongPassword), ("fe_sendauth: no password supplied", .wrongPassword),
                (#"FATAL:  Peer authentication failed for user "u""#, .wrongPassword),
                (#"FATAL:  role "u" is not permitted to log in"#, .wrongPassword),
                (#"FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption"#, .notAdmitted),
                (#"FATAL:  database "d" does not exist"#, .noSuchDatabase), (#"FATAL:  role "u" does not exist"#, .noSuchUser),
                (#"FATAL:  permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege."#, .mayNotConnect),
                ("FATAL:  sorry, too many clients already", .full), ("session is read-only", .readOnly),
            ])
        func words(_ words: String, trouble: DatabaseTrouble) {
            #expect(DatabaseTrouble(connecting: words) == trouble)
            #expect(DatabaseError(connecting: words).asStoreError == trouble.asStoreError)
        }

        @Test(arguments: [
            "timeout expired", "FATAL:  the database system is starting up", "server closed the connection unexpectedly", "timeout expired at u:secret",
        ])
        func whatIsNotKnownIsNotRepeated(_ words: String) {
            #expect(DatabaseTrouble(connecting: words) == nil)
            #expect(DatabaseError(connecting: words).asStoreError == DatabaseTrouble.silent.asStoreError)
        }

        @Test func whatComesBackByItselfIsToldFromWhatDoesNot() {
            let away = DatabaseTrouble.allCases.filter { $0.asStoreError.isAway }
            #expect(away == [.unknownName, .refused, .noSocket, .silent])
            for trouble in DatabaseTrouble.allCases { #expect(!trouble.hint.isEmpty && DatabaseTrouble(rawValue: trouble.rawValue) == trouble) }
        }

        @Test("Rights that are missing", .enabled(if: PostgresServer.isExpected)) func rights() async throws {
            let server = try await PostgresServer.shared
            let url = try await server.makeDatabase()
            let name = PostgresServer.name(ofDatabase: url)
            func trouble() async -> StoreError? { await #expect(throws: StoreError.self) { try await PostgresStore(DatabaseURL(url)) } }
            try await server.query("ALTER DATABASE \(name) OWNER TO postgres")
            try await server.query("REVOKE ALL ON SCHEMA public FROM PUBLIC", in: url)
            try await server.query("GRANT USAGE ON SCHEMA public TO \(name)", in: url)
            #expect(await trouble() == DatabaseTrouble.mayNotUse.asStoreError)
            try await server.query("DROP SCHEMA public", in: url)
            #expect(await trouble() == DatabaseTrouble.noSchema.asStoreError)
            try await server.query("REVOKE CONNECT ON DATABASE \(name) FROM PUBLIC")
            #expect(await trouble() == DatabaseTrouble.mayNotConnect.asStoreError)
            try await server.query("GRANT CONNECT ON DATABASE \(name) TO \(name)")
            try await server.query("CREATE SCHEMA own AUTHORIZATION \(name)", in: url)
            try await server.query("ALTER ROLE \(name) SET search_path = own")
            try await PostgresStore(DatabaseURL(url)).close()
            try await server.dropDatabase(url)
        }

        @Test("What libpq itself says", .enabled(if: PostgresServer.isExpected)) func live() async throws {
            func trouble(_ url: String) async -> StoreError? { await #expect(throws: StoreError.self) { try await PostgresStore(DatabaseURL(url)) } }
            #expect(await trouble("postgres://u@nowhere.invalid/d?hostaddr=127.0.0.1&port=1&sslmode=prefer") == DatabaseTrouble.refused.asStoreError)
            #expect(await trouble("postgres://u@/d?host=/nowhere") == DatabaseTrouble.noSocket.asStoreError)
            #expect(await trouble("postgres://u:p@nowhere.invalid/d") == DatabaseTrouble.unknownName.asStoreError)
            #expect(await trouble("postgres://u:p@127.0.0.1:1/d?keepalives=x") == DatabaseTrouble.badParameter.asStoreError)
            #expect(await trouble("postgres://u:p@127.0.0.1:1/d?channel_binding=x") == DatabaseTrouble.badParameter.asStoreError)
        }
    }
#endif
