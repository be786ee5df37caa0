import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import OAuth

struct Call: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Call a connection's API through the gateway, which puts the token in.",
        discussion: """
            PATH is relative to the connection's base URL and may have a query. The answer's body goes to standard output as it comes. An API's status of 400 \
            or more is told on standard error, and the exit code is 1.

              grantee call github /user
              grantee call github /repos/me/site/issues -d '{"title": "It works"}'
              grantee call drive /files/7 -X PUT -H 'Content-Type: image/png' -d @picture.png
            """)

    @Argument(help: "The connection's id.") var connection: String
    @Argument(help: "The path below its base URL, such as /user?page=2.") var path: String
    @Option(
        name: [.customShort("X", allowingJoined: true), .customLong("request")],
        help: ArgumentHelp("The method. Default: GET, with -d POST.", valueName: "method")) var method: String?
    @Option(
        name: [.customShort("H"), .customLong("header")], parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A header field, 'Name: value'; may be repeated.", valueName: "field")) var headers: [String] = []
    @Option(
        name: [.customShort("d"), .customLong("data")], parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "The body; @FILE reads it from a file, @- from standard input, byte for byte. Without -H 'Content-Type: …' a text is sent as JSON if it is JSON, else "
                + "as a form; a file as JSON if it begins with { or [, else as plain bytes.", valueName: "data"),
        completion: .file()) var data: [String] = []
    @Option(help: "Whose grant; left out: the shared one.") var subject: String?
    @Flag(name: [.customShort("i"), .long], help: "Print status and header fields before the body.") var include = false
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Write the answer to this file, - for standard output, whatever is in it.", valueName: "file"), completion: .file())
    var output: String?
    @OptionGroup var server: ServerOptions

    func validate() throws {
        if data.count > 1 { throw ValidationError("-d can be given once.") }
        if server.json, include || output != nil { throw ValidationError("--json prints status, header fields and body as JSON: it goes without -i and -o.") }
    }

    func run() async throws {
        let request = try CallRequest(path: path, method: method, fields: headers, data: data.first, subject: subject)
        let answer = try await server.client().call(connection, request)
        if server.json {
            Terminal.write(try await CallAnswer.document(answer).pretty)
        } else {
            try await CallAnswer.copy(answer, to: CallDestination(output), withHead: include)
        }
        let status = answer.status
        // Each answer of an API has it; without it, the server gave up on the request before it knew what it was.
        guard answer.headers.contains(name: "Grantee-Request-Id") else {
            throw Failure(
                "Grantee could not read the request, and answered with status \(status.code)", hint: "-X takes a method such as GET, in upper case")
        }
        guard status.code < 400 else {
            throw Failure(
                "the API answered with status \(status.code)" + (status.reasonPhrase.isEmpty ? "" : " \(status.reasonPhrase)"),
                hint: status == .unauthorized ? "it does not take the token as it is sent: `grantee connections show \(connection)` shows the request" : nil)
        }
    }
}

/// What the arguments of `call` ask for, ready to be sent.
struct CallRequest {
    let method: String
    /// What follows `/gateway/ID`.
    let target: String
    private(set) var headers: [(name: String, value: String)] = []
    private(set) var body: HTTPClientRequest.Body?

    /// What the command or the gateway says itself.
    private static let reserved = [
        "authorization", "connection", "content-length", "cookie", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    private static let reasons = [
        "authorization": "the connection's instructions say how the token is sent", "cookie": "no caller's one reaches the API",
    ]

    /// - Throws: ``Failure`` (usage), naming the argument.
    init(path: String, method: String?, fields: [String], data: String?, subject: String?) throws {
        self.target = try Self.target(path)
        self.method = method ?? (data == nil ? "GET" : "POST")
        guard Self.isToken(self.method) else { throw Failure("-X must be a method such as GET or POST", exitCode: Failure.usage) }
        headers = try fields.map(Self.field)
        if let subject {
            // It goes into a header field, where blanks at its ends would be lost.
            guard !subject.isEmpty, subject.utf8.allSatisfy({ 0x21...0x7E ~= $0 }) else {
                throw Failure("--subject must be visible ASCII characters without spaces", exitCode: Failure.usage)
            }
            headers.append(("Grantee-Subject", subject))
        }
        guard let data else { return }
        let content = try CallBody(data)
        body = content.body
        if !headers.contains(where: { $0.name.lowercased() == "content-type" }) { headers.append(("Content-Type", content.type)) }
    }

    /// Bytes that a URL cannot hold are encoded; all others stay as they are, for the gateway to judge.
    private static func target(_ path: String) throws -> String {
        let lowered = path.lowercased()
        guard !lowered.hasPrefix("https://"), !lowered.hasPrefix("http://") else {
            throw Failure("PATH is relative to the connection's base URL", hint: "leave scheme and host out: /user", exitCode: Failure.usage)
        }
        guard !path.utf8.contains(UInt8(ascii: "#")) else { throw Failure("PATH must not hold a #", hint: "a # that is meant is %23", exitCode: Failure.usage) }
        let bytes = Array(path.utf8)
        let encoded = bytes.indices.map { index in
            let byte = bytes[index]
            return canStand(bytes[index...]) ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
        return encoded.hasPrefix("/") || encoded.hasPrefix("?") ? encoded : "/" + encoded
    }

    /// Whether the first of the bytes can stand in a URL as it is; RFC 3986 §2.
    private static func canStand(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let byte = bytes.first, 0x21...0x7E ~= byte else { return false }
        if byte == UInt8(ascii: "%") {
            let digits = bytes.dropFirst().prefix(2)
            return digits.count == 2 && digits.allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
        }
        return !#""<>[\]^`{|}"#.utf8.contains(byte)
    }

    private static func field(_ text: String) throws -> (name: String, value: String) {
        let (name, value) = try HeaderArgument.split(text, of: "-H")
        guard !reserved.contains(name.lowercased()) else {
            throw Failure(
                "-H cannot set \(name)",
                hint: reasons[name.lowercased()] ?? "it is made for each request",
                exitCode: Failure.usage)
        }
        return (name, value)
    }

    private static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy(HeaderArgument.isTokenByte) }
}

/// A header field as an argument: `Name: value`.
enum HeaderArgument {
    /// - Throws: ``Failure`` (usage): RFC 9110 §5.1 and §5.5.
    static func split(_ text: String, of option: String) throws -> (name: String, value: String) {
        guard let colon = text.firstIndex(of: ":"), colon != text.startIndex, text[..<colon].utf8.allSatisfy(isTokenByte) else {
            throw Failure("\(option) takes 'Name: value'", exitCode: Failure.usage)
        }
        let value = text[text.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        guard !value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else {
            throw Failure("\(option) \(text[..<colon]): the value holds a control character", exitCode: Failure.usage)
        }
        return (String(text[..<colon]), value)
    }

    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
