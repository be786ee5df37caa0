import Foundation
import NIOCore
import OAuth
import TestSupport
import Testing

/// An API that says back what it was sent: agents do not get the token from it in any form. SEC-87.
@Suite(.timeLimit(.minutes(5))) struct GatewayAnswerScanTests {
    private static let open: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET", "POST", "HEAD"], "paths": ["/**"]]]

    /// What the echo says of a token, and how it is framed.
    enum Echo: String, Sendable, CaseIterable {
        case field, fieldName, reason, json, chunks, everyByteAChunk, gzip, gzipInChunks, base64, base64url, basic, percent, jsonEscaped, trailer, largeBody

        func answer(_ token: String) -> [UInt8] {
            let bytes = Array(token.utf8)
            func body(_ text: String, _ fields: [String] = []) -> [UInt8] {
                RawUpstream.answer("200 OK", ["Content-Type: application/json"] + fields, body: text)
            }
            switch self {
            case .field: return body(#"{"before":1,"after":2}"#, ["X-Echo: Bearer \(token)", "X-Other: kept"])
            case .fieldName: return body(#"{"before":1,"after":2}"#, ["X-\(token): 1"])
            case .reason: return RawUpstream.answer("299 \(token)", ["Content-Type: application/json"], body: #"{"before":1,"after":2}"#)
            case .json: return body(#"{"before":1,"authorization":"Bearer \#(token)","after":2}"#)
            case .chunks:
                return RawUpstream.chunked(chunks: [
                    Array(#"{"before":1,"a":""#.utf8) + bytes.prefix(bytes.count / 2), bytes.dropFirst(bytes.count / 2) + Array(#"","after":2}"#.utf8),
                ])
            case .everyByteAChunk: return RawUpstream.chunked(chunks: Array(#"{"before":1,"a":"\#(token)","after":2}"#.utf8).map { [$0] })
            case .gzip, .gzipInChunks:
                let packed = Gzip.packed(Array(#"{"before":1,"a":"\#(token)","after":2}"#.utf8))
                let chunks = self == .gzip ? [packed] : packed.map { [$0] }
                return RawUpstream.chunked("200 OK", ["Content-Encoding: gzip"], chunks: chunks)
            case .base64: return body(#"{"before":1,"a":"\#(Data(bytes).base64EncodedString())","after":2}"#)
            case .base64url:
                let text = Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
                return body(#"{"before":1,"a":"\#(text)","after":2}"#)
            case .basic: return body(#"{"before":1,"a":"Basic \#(Data("user:\(token)".utf8).base64EncodedString())","after":2}"#)
            case .percent: return body(#"{"before":1,"a":"\#(bytes.map { String(format: "%%%02X", $0) }.joined())","after":2}"#)
            case .jsonEscaped: return body(#"{"before":1,"a":"\#(bytes.map { String(format: "\\u%04x", $0) }.joined())","after":2}"#)
            case .trailer:
                return RawUpstream.chunked(chunks: [Array(#"{"before":1,"after":2}"#.utf8)], trailers: ["X-Echo: \(token)"])
            case .largeBody:
                return RawUpstream.chunked(chunks: (0..<60).map { Array((#"{"before":1,"after":2}"# + String(repeating: "\($0)", count: 5000) + token).utf8) })
            }
        }
    }

    /// Every form of the token that an answer must not hold, its pieces of Base64 included.
    static func forms(_ token: String) -> [String] {
        let bytes = Array(token.utf8)
        let base64 = (0..<3).map { skew in
            let text = Data([UInt8](repeating: 0x78, count: skew) + bytes).base64EncodedString()
            return String(text.dropFirst(4).prefix(16))
        }
        return [
            token, bytes.map { String(format: "%%%02X", $0) }.joined(), bytes.map { String(format: "\\u%04x", $0) }.joined(),
            bytes.map { String(format: "%02x", $0) }.joined(),
        ] + base64 + base64.map { $0.replacing("+", with: "-").replacing("/", with: "_") }
    }

    private func script(_ echo: Echo) -> RawUpstream.Script {
        .answering { [.send(echo.answer(String(($0["Authorization"] ?? "").dropFirst("Bearer ".count))))] }
    }

    @Test(arguments: Echo.allCases) func anAgentDoesNotGetTheToken(echo: Echo) async throws {  // SEC-87
        try await Stage.with(upstream: script(echo), Self.open) { stage, upstream async throws in
            let forms = Self.forms(try await stage.token())
            let key = try await stage.key("agent")
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("GET", "api/echo", key: key))
                    let answer = try await client.answer()
                    #expect((200..<300).contains(answer.status), "\(answer.text)")
                    #expect(answer.isWhole)
                    let body = answer["Content-Encoding"] == "gzip" ? Gzip.unpacked(answer.body) : answer.body
                    let text = String(decoding: body, as: UTF8.self)
                    let heads = [answer.head.reason] + answer.head.fields.map { "\($0.name): \($0.value)" } + answer.trailers.map { "\($0.name): \($0.value)" }
                    for form in forms {
                        #expect(!text.contains(form))
                        #expect(!heads.joined(separator: "\n").lowercased().contains(form.lowercased()))
                    }
                    // The rest is as it was.
                    #expect(text.contains(#""before":1"#))
                    #expect(text.contains(#""after":2"#))
                    if echo == .field { #expect(answer["X-Other"] == "kept") }
                    if echo == .largeBody { #expect((0..<60).allSatisfy { text.contains(String(repeating: "\($0)", count: 5000)) }) }
                }
            }
        }
    }

    @Test(arguments: Echo.allCases.filter { $0 != .reason && $0 != .fieldName }) func anApplicationGetsTheAnswerAsItIs(echo: Echo) async throws {
        try await Stage.with(upstream: script(echo), Self.open) { stage, _ async throws in
            let token = try await stage.token()
            let sent = echo.answer(token)
            let answer = try await stage.ask("GET", "api/echo", key: try await stage.key("use"))
            #expect(answer.status == 200)
            #expect(answer.isWhole)
            switch echo {
            case .field: #expect(answer["X-Echo"] == "Bearer \(token)")
            case .gzip, .gzipInChunks:
                #expect(answer["Content-Encoding"] == "gzip")
                #expect(String(decoding: Gzip.unpacked(answer.body), as: UTF8.self).contains(token))
            case .chunks, .everyByteAChunk: #expect(answer.text == #"{"before":1,"a":"\#(token)","after":2}"#)
            case .trailer, .largeBody: break
            default: #expect(sent.suffix(answer.body.count) == answer.body[...])
            }
        }
    }

    @Test func anAgentsAnswerInACodingThatCannotBeReadIsNotPassedOn() async throws {  // SEC-87
        let codings = ["br", "zstd", "gzip, br", "x-unknown", "compress"]
        let script = RawUpstream.Script.answering { request in
            let index = Int(request.target.split(separator: "/").last ?? "") ?? 0
            return [.send(RawUpstream.answer("200 OK", ["Content-Encoding: \(codings[index])"], body: "packed"))]
        }
        try await Stage.with(upstream: script, Self.open) { stage, _ async throws in
            let key = try await stage.key("agent")
            for index in codings.indices {
                #expect(try await stage.ask("GET", "api/\(index)", key: key).problem == "provider_error", "\(codings[index])")
                #expect(try await stage.ask("GET", "api/\(index)").text == "packed")
            }
        }
    }

    @Test func anAgentsAnswerThatUnfoldsWithoutEndIsCut() async throws {  // SEC-74
        let bomb = Gzip.packed([UInt8](repeating: 0, count: 64 << 20))
        try await Stage.with(upstream: .answering(.send(RawUpstream.chunked("200 OK", ["Content-Encoding: gzip"], chunks: [bomb]))), Self.open) {
            stage, _ async throws in
            let key = try await stage.key("agent")
            var count = 0
            let request = stage.head("GET", "api/bomb", key: key)
            let answer = try await stage.client { client in
                await client.send(request)
                return try await client.answer { count += $0.readableBytes }
            }
            #expect(!answer.isWhole || answer.status == 502)
            #expect(count < 8 << 20)
        }
    }

    @Test func whatAnAgentAsksForIsReadableWhateverItAccepts() async throws {
        try await Stage.with(upstream: .success, Self.open) { stage, upstream async throws in
            let key = try await stage.key("agent")
            _ = try await stage.ask("GET", "api/x", ["Accept-Encoding: br, gzip", "Accept: text/plain", "Range: bytes=0-9"], key: key)
            let request = try #require(upstream.requests.first)
            #expect(request.names == ["accept", "accept-encoding", "authorization", "host"])
            #expect(request["Accept-Encoding"] == "identity")
        }
    }
}
