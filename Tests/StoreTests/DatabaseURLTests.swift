#if PostgreSQL
    import Foundation
    import Testing

    @testable import PostgresStore

    /// SEC-54: where a server has to prove who it is, and that nothing talks it out of that.
    @Suite struct DatabaseURLTests {
        @Test(
            "To another machine: verified TLS, whatever the URL leaves out",
            arguments: [
                "postgres://u:secret@db.example/d", "postgresql://u:secret@db.example/d", "postgres://u:secret@10.0.0.1/d",
                "postgres://u:secret@[2001:db8::1]/d",
                "postgres://u:secret@localhost.example/d", "postgres://u:secret@127.0.0.1.example/d", "postgres://u:secret@127.1/d",
                "postgres://u:secret@0x7f.0.0.1/d", "postgres://u:secret@2130706433/d", "postgres://u:secret@0.0.0.0/d", "postgres://u:secret@LOCALHOST/d",
                "postgres://u:secret@localhost,db.example/d", "postgres://u:secret@db.example,localhost/d", "postgres://u:secret@/d?host=db.example",
                "postgres://u:secret@localhost/d?host=db.example", "postgres://u:secret@localhost/d?hostaddr=10.0.0.1",
                "postgres://u:secret@db.example/d?hostaddr=", "postgres://u:secret@localhost,db.example/d?hostaddr=127.0.0.1,",
                "postgres://u:secret@/d?host=/run/postgresql,db.example",
            ])
        func remote(_ url: String) throws {
            #expect(try DatabaseURL(url).parameters["sslmode"] == "verify-full")
            #expect(try DatabaseURL(url).parameters["sslrootcert"] != nil)
            for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
                let error = #expect(throws: DatabaseURLError.self) { try DatabaseURL(url + (url.contains("?") ? "&" : "?") + "sslmode=\(mode)") }
                #expect(error?.message == "asks for sslmode=\(mode) to another machine")
            }
        }

        @Test(
            "Within the machine: as the URL says",
            arguments: [
                "postgres://u:secret@localhost/d", "postgres://u:secret@127.0.0.1/d", "postgres://u:secret@127.9.8.7:6000/d", "postgres://u:secret@[::1]/d",
                "postgres://u@/d?host=/run/postgresql", "postgres://u@%2Frun%2Fpostgresql/d", "postgres://u@/d?host=@socket", "postgres:///d",
                "postgres://u:secret@/d?host=", "postgres://u:secret@localhost,127.0.0.1,[::1]/d", "postgres://u:secret@db.example/d?hostaddr=127.0.0.1",
            ])
        func local(_ url: String) throws {
            #expect(try DatabaseURL(url).parameters["sslmode"] == "prefer")
            for mode in ["disable", "require", "verify-full"] {
                #expect(try DatabaseURL(url + (url.contains("?") ? "&" : "?") + "sslmode=\(mode)").parameters["sslmode"] == mode)
            }
        }

        @Test("What the environment could say is said here") func complete() throws {
            let parameters = try DatabaseURL("postgres://u@/d?host=").parameters
            #expect(parameters["host"] == "/var/run/postgresql")
            #expect(parameters["port"] == "5432")
            #expect(parameters["target_session_attrs"] == "read-write")
            #expect(parameters["connect_timeout"] == "5")
            #expect(parameters["gssencmode"] == "disable")
        }

        @Test(
            "Settings that are Grantee's own, and what would name another file",
            arguments: [
                "options=-csearch_path%3Dother", "target_session_attrs=any", "client_encoding=LATIN1", "application_name=x", "replication=database",
                "connect_timeout=0", "tcp_user_timeout=0", "service=other", "passfile=/etc/passwd",
            ])
        func refused(_ parameter: String) {
            let error = #expect(throws: DatabaseURLError.self) { try DatabaseURL("postgres://u:secret@localhost/d?\(parameter)") }
            #expect(error?.message == "sets \(parameter.prefix { $0 != "=" })")
            #expect(error?.hint?.hasPrefix("leave it out") == true)
        }

        @Test(
            "A password is in no error and in nothing that is shown",
            arguments: [
                "postgres://u:hunter2@db.example/d?sslmode=require", "postgres://u:hunter2@db.example/d?options=x", "postgres://u:hunter2@db.example:5432:1/d",
                "postgres://u:hun@hunter2@db.example/d", "postgres://u:12/hunter2@db.example/d", "postgres://u:hun/hunter2@db.example/d",
                "postgres://u:%zzhunter2@db.example/d", "postgres://u:hunter2@db.example/d?unknown=hunter2", "postgres://u:hunter2@db.example/d?pool_size=0",
                "postgres://u:hunter2@db.example/d?sslmode=hunter2", "postgres://u@localhost/d?password=hunter2", "postgres://u:hunter2@localhost/d",
                "postgres://u:hunter2@db.example/d", "postgres://u:hunter2@db.example/d?sslmode=verify-full&sslrootcert=/hunter2",
                "mysql://u:hunter2@db.example/d",
                "postgres://u:hunter2@/d?host=/tmp", "postgres://u:hunter2@[::1/d", "postgres://u:hunter2",
            ])
        func silent(_ url: String) {
            do throws(DatabaseURLError) {
                let judged = try DatabaseURL(url)
                #expect(!judged.shown.contains("hunter2"), "\(judged.shown)")
            } catch {
                #expect(!"\(error) \(error.message) \(error.hint ?? "")".contains("hunter2"))
            }
        }

        @Test func whatIsShownNamesTheDatabase() throws {
            #expect(try DatabaseURL("postgres://u:secret@localhost:6000/d").shown == "postgres://localhost:6000/d")
            #expect(try DatabaseURL("postgres://u:secret@/d?host=/run/postgresql").shown == "postgres://local:5432/d")
            #expect(try DatabaseURL("postgres://u:secret@a.example,b.example/d").shown == "postgres://a.example,b.example:5432/d")
        }

        @Test(arguments: [("", 8), ("?pool_size=3", 3), ("?sslmode=prefer&pool_size=200", 200), ("?pool_size=1&sslmode=prefer", 1)])
        func thePoolHasItsSize(query: String, size: Int) throws {
            let url = try DatabaseURL("postgres://u:secret@localhost/d" + query)
            #expect(url.poolSize == size)
            #expect(url.parameters["pool_size"] == nil)
            #expect(url.parameters["dbname"] == "d")
        }

        @Test(arguments: ["0", "201", "-1", "x", "", "1.5"]) func aPoolsSizeIsANumber(_ size: String) {
            #expect(throws: DatabaseURLError("has a pool_size that is no number from 1 to 200", hint: nil)) {
                try DatabaseURL("postgres://u@localhost/d?pool_size=\(size)")
            }
        }

        @Test(
            "A URL that is not taken says which part of it is wrong",
            arguments: [
                ("postgres://u:secret@db.example:x/d", "has a port that is no number from 1 to 65535"),
                ("postgres://u:secret@db.example:70000/d", "has a port that is no number from 1 to 65535"),
                ("postgres://u:secret@db.example:0/d", "has a port that is no number from 1 to 65535"),
                ("postgres://u:secret@db.example/d?schema=public", "has a parameter that PostgreSQL does not know: schema"),
                ("postgres://u:secret@localhost/d?connection_limit=5&sslmode=prefer", "has a parameter that PostgreSQL does not know: connection_limit"),
                ("postgres://u:secret@localhost/d?sec%72et!=1", "has a parameter that PostgreSQL does not know"),
                ("postgres://u:secret@localhost/d?sslmode", "has a parameter without a value"),
                ("postgres://u:50%secret@db.example/d", "has a % that two hexadecimal digits do not follow"),
                ("postgres://u:sec@ret@db.example/d", "cannot be read"), ("postgres://u:sec/ret@db.example/d", "cannot be read"),
                ("postgres://", "names no database"), ("postgres://u:secret@db.example", "names no database"),
                ("postgres://u:secret@localhost/?sslmode=prefer", "names no database"),
                ("postgres://u:secret@localhost/d?sslmode=secret", "has an sslmode that there is not"),
                ("postgres://u:secret@db.example/d?sslmode=secret", "has an sslmode that there is not"),
            ])
        func parts(_ url: String, words: String) {
            let error = #expect(throws: DatabaseURLError.self) { try DatabaseURL(url) }
            #expect(error?.message == words)
            #expect(error?.hint?.isEmpty == false)
            let said = (error?.message ?? "") + (error?.hint ?? "")
            #expect(!said.contains("secret"))
        }

        @Test func aRootWithoutACertificateIsRefused() throws {
            let file = FileManager.default.temporaryDirectory.appending(path: "roots-\(UUID().uuidString).pem").path
            defer { try? FileManager.default.removeItem(atPath: file) }
            for text in ["", "not a certificate", "-----BEGIN PRIVATE KEY-----"] {
                try Data(text.utf8).write(to: URL(fileURLWithPath: file))
                let error = #expect(throws: DatabaseURLError.self) { try DatabaseURL("postgres://u@db.example/d?sslrootcert=\(file)") }
                #expect(error?.message == "names an sslrootcert that holds no certificate")
            }
            // What begins as one and is none, libpq finds out.
            try Data("-----BEGIN CERTIFICATE-----".utf8).write(to: URL(fileURLWithPath: file))
            #expect(try DatabaseURL("postgres://u@db.example/d?sslrootcert=\(file)").parameters["sslrootcert"] == file)
        }

        @Test func aRootThatIsNotThereIsNamed() {
            let error = #expect(throws: DatabaseURLError.self) { try DatabaseURL("postgres://u@db.example/d?sslrootcert=/nowhere/ca.pem") }
            #expect(error?.message == "names an sslrootcert that cannot be read")
        }
    }
#endif
