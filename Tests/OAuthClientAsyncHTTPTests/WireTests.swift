import HTTPTypes
import OAuth
import OAuthClient
import Testing

@testable import OAuthClientAsyncHTTP

@Suite(.timeLimit(.minutes(5))) struct WireTests {
    @Test func aTokenRequestIsTheseBytes() async throws {  // SEC-32
        let fields: HTTPFields = [
            .contentType: "application/x-www-form-urlencoded", .accept: "application/json", .userAgent: "Grantee/0.1",
        ]
        try await RawServer.with(.success) { server in
            let body = "grant_type=refresh_token&refresh_token=a%2Bb"
            let response = try await makeTransport().send(post(server.url("/token?tenant=1"), fields: fields, body: body))
            #expect(response.head.status == .ok)
            #expect(response.text == "{}")
            let expected = [
                "POST /token?tenant=1 HTTP/1.1", "Content-Type: application/x-www-form-urlencoded", "Accept: application/json",
                "User-Agent: Grantee/0.1", "Connection: close", "host: 127.0.0.1:\(server.port)", "Content-Length: \(body.utf8.count)", "", body,
            ]
            #expect(server.received == [expected.joined(separator: "\r\n")])
        }
    }

    @Test func aRequestWithoutBodyHasNoLengthAndNoFraming() async throws {
        try await RawServer.with(.success) { server in
            _ = try await makeTransport().send(get(server.url("/.well-known/openid-configuration")))
            #expect(
                server.received == ["GET /.well-known/openid-configuration HTTP/1.1\r\nConnection: close\r\nhost: 127.0.0.1:\(server.port)\r\n\r\n"])
        }
    }

    @Test func hostAndPathStayWhatWasChecked() async throws {  // SEC-68, SEC-69
        try await RawServer.with(.success) { server in
            let transport = try makeTransport(names: { _ in ["127.0.0.1"] })
            _ = try await transport.send(get(server.url("//a/%2e%2e/../b;c=d?x=%2F&y=a+b&&z", host: "As.Example")))
            let lines = server.received.first?.split(separator: "\r\n").map(String.init) ?? []
            #expect(lines.first == "GET //a/%2e%2e/../b;c=d?x=%2F&y=a+b&&z HTTP/1.1")
            #expect(lines.contains("host: as.example:\(server.port)"))
        }
    }

    /// Every visible character that the parser takes arrives as it was written, beside an escape that must stay one.
    @Test func whatWasCheckedIsWhatIsSent() async throws {  // SEC-68
        let characters = (UInt8(0x21)...0x7E).map { String(Character(Unicode.Scalar($0))) }
        let targets = characters.flatMap { ["/a\($0)b/%2F", "/a?x\($0)y=%2F"] }
        try await RawServer.with(.success) { server in
            let transport = try makeTransport()
            var sent: [String] = []
            for target in targets {
                guard let request = try? get(server.url(target)) else { continue }
                _ = try await transport.send(request)
                sent.append("GET \(target) HTTP/1.1")
            }
            #expect(sent.count > 100)
            #expect(server.received.compactMap { $0.split(separator: "\r\n").first.map(String.init) } == sent)
        }
    }

    @Test func theAnswerComesWholeWithItsFields() async throws {
        let fields = ["Content-Type: application/json", "X-Twice: one", "X-Twice: two", "Cache-Control: no-store"]
        try await RawServer.with(.answering([.send(RawServer.answer("400 Bad Request", fields: fields, body: #"{"error":"x"}"#))])) { server in
            let response = try await makeTransport().send(post(server.url()))
            #expect(response.head.status.code == 400)
            #expect(response.head.headerFields[.contentType] == "application/json")
            let twice = try #require(HTTPField.Name("X-Twice"))
            #expect(response.head.headerFields[values: twice] == ["one", "two"])
            #expect(response.text == #"{"error":"x"}"#)
        }
    }

    @Test(
        "Framings that end an answer",
        arguments: [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n", false, "abcde"),
            ("HTTP/1.0 200 OK\r\n\r\nabc", true, "abc"),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", true, "abc"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcEXTRA", false, "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc", false, "abc"),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", false, ""),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, ""),
        ] as [(String, Bool, String)])
    func framings(answer: String, closes: Bool, body: String) async throws {
        try await RawServer.with(.answering(closes ? [.send(RawServer.bytes(answer)), .close] : [.send(RawServer.bytes(answer))])) { server in
            let response = try await makeTransport().send(closes ? get(server.url()) : post(server.url()))
            #expect(response.text == body)
        }
    }

    @Test(
        "Answers that are none",
        arguments: [
            "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y", "HTTP/1.1 100 Continue\r\n\r\n", "",
        ])
    func brokenAnswers(answer: String) async throws {
        try await RawServer.with(.answering([.send(RawServer.bytes(answer)), .close])) { server in
            let error = try await failure(of: post(server.url()), by: makeTransport())
            #expect(error?.isBroken == true, "\(String(describing: error))")
            #expect(error?.mayHaveBeenSent == true)
        }
    }

    /// AsyncHTTPClient ends the process over such a head when it sees one, so this is watched from outside.
    @Test func aStatusBelowOneHundredIsABrokenAnswerAndNoMore() async {
        await #expect(processExitsWith: .success) {
            for answer in ["HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 001 X\r\n\r\n"] {
                try await RawServer.with(.answering([.send(RawServer.bytes(answer)), .close])) { server in
                    let error = try await failure(of: post(server.url()), by: makeTransport())
                    try #require(error?.isBroken == true)
                    try #require(error?.mayHaveBeenSent == true)
                }
            }
        }
    }

    @Test func eachRequestHasAConnectionOfItsOwnAndItIsClosed() async throws {  // SEC-77
        try await RawServer.with(.answering([.send(RawServer.answer(fields: ["Connection: keep-alive"]))])) { server in
            let transport = try makeTransport()
            for _ in 0..<5 { _ = try await transport.send(post(server.url())) }
            #expect(server.connectionCount == 5)
            try await server.allClosed()
        }
    }

    @Test func fiftyAtOnceGetEachTheirOwnAnswer() async throws {
        try await RawServer.with(
            .answering(by: { request in
                let target = request.split(separator: " ").dropFirst().first ?? ""
                return [.send(RawServer.answer(body: String(target)))]
            })
        ) { server in
            let transport = try makeTransport()
            try await withThrowingTaskGroup(of: (String, String).self) { group in
                for number in 0..<50 {
                    let request = try post(server.url("/\(number)"))
                    group.addTask { ("/\(number)", try await transport.send(request).text) }
                }
                for try await (asked, answered) in group { #expect(asked == answered) }
            }
            #expect(server.connectionCount == 50)
            try await server.allClosed()
        }
    }

    // MARK: SEC-79

    @Test(arguments: ["a\r\nX-Injected: b", "a\nX-Injected: b", "a\rX-Injected: b", "a\0X-Injected: b", "a\r\n\r\nGET /injected HTTP/1.1"])
    func noLineEndLeavesInAFieldValue(value: String) async throws {
        try await RawServer.with(.success) { server in
            let name = try #require(HTTPField.Name("X-Value"))
            // Whether such a request is refused or cleaned, one request with one line for the field is all that may arrive.
            _ = try await failure(of: post(server.url(), fields: [name: value], body: "body"), by: makeTransport())
            for request in server.received {
                #expect(request.hasSuffix("\r\n\r\nbody"))
                let head = request.dropLast("\r\n\r\nbody".count)
                #expect(head.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0D || $0 == 0x0A })
                let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
                #expect(lines.count == 5)
                #expect(lines.filter { $0.hasPrefix("X-Value: a") }.count == 1)
                #expect(!lines.contains { $0.hasPrefix("X-Injected") || $0.hasPrefix("GET") || $0.contains("\n") || $0.contains("\r") })
            }
        }
    }

    @Test(arguments: ["/a\r\nX-Injected: b", "/a HTTP/1.1\r\n\r\n", "/a\nb", "/a b", "/a\0b", "/a#b", "/é"])
    func aPathThatIsNoneOpensNoConnection(path: String) async throws {
        try await RawServer.with(.success) { server in
            let head = HTTPRequest(method: .post, scheme: "http", authority: "127.0.0.1:\(server.port)", path: path)
            let error = try await failure(of: WireRequest(head: head, body: [1]), by: makeTransport())
            #expect(error?.isUnreachable == true)
            #expect(error?.mayHaveBeenSent == false)
            #expect(server.connectionCount == 0)
        }
    }

    @Test(arguments: ["user@127.0.0.1", "127.0.0.1\r\nX: y", "127.1", "0x7f.1", "2130706433", "127.0.0.1:99999", "[::1%25lo]", ""])
    func anAuthorityThatIsNoneOpensNoConnection(authority: String) async throws {
        let head = HTTPRequest(method: .post, scheme: "http", authority: authority, path: "/")
        let error = try await failure(of: WireRequest(head: head, body: [1]), by: makeTransport())
        #expect(error?.isUnreachable == true)
        #expect(error?.mayHaveBeenSent == false)
    }
}
