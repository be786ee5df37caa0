/// For macOS and Linux, as a script or a `main.swift`.
enum SwiftSnippet: SnippetLanguage {
    static func text(_ program: SnippetProgram) -> String {
        var lines = [start]
        if needsEncoding(program) { lines.append(encoding) }
        if let token = program.token {
            lines += call(token, into: "granted")
            lines += [
                "guard granted.status == 200, let members = try JSONSerialization.jsonObject(with: Data(granted.body.utf8)) as? [String: Any],",
                "    let token = members[\"access_token\"] as? String", "else {", "    print(granted.body)", "    exit(1)", "}",
            ]
            if program.needsTokenType {
                lines += [
                    "let sentType = members[\"token_type\"] as? String ?? \"Bearer\"",
                    "let tokenType = sentType.lowercased() == \"bearer\" ? \"Bearer\" : sentType",
                ]
            }
            lines.append("")
        }
        if let remark = program.remark { lines.append("// " + remark) }
        return (lines + call(program.call, into: "answer") + ["print(answer.status, answer.body)"]).joined(separator: "\n") + "\n"
    }

    private static let start = """
        import Foundation
        #if canImport(FoundationNetworking)
        import FoundationNetworking
        #endif

        /// A redirect would take the key or the token to another host.
        final class NoRedirects: NSObject, URLSessionTaskDelegate {
            func urlSession(
                _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
                completionHandler: @escaping @Sendable (URLRequest?) -> Void
            ) {
                completionHandler(nil)
            }
        }

        func variable(_ name: String) -> String { ProcessInfo.processInfo.environment[name] ?? "" }

        func call(_ url: String, _ headers: [String: String]) async throws -> (status: Int, body: String) {
            guard let url = URL(string: url) else { throw URLError(.badURL) }
            var request = URLRequest(url: url)
            for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
            let session = URLSession(configuration: .ephemeral, delegate: NoRedirects(), delegateQueue: nil)
            let (body, response) = try await session.data(for: request)
            return ((response as? HTTPURLResponse)?.statusCode ?? 0, String(decoding: body, as: UTF8.self))
        }

        """

    private static let encoding = """
        func encoded(_ text: String) -> String {
            let unreserved = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
            return text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? ""
        }

        """

    private static func needsEncoding(_ program: SnippetProgram) -> Bool {
        program.call.parameters.contains { $0.value.contains { if case .literal = $0 { false } else { true } } }
    }

    private static func call(_ request: SnippetProgram.Request, into name: String) -> [String] {
        ["let \(name) = try await call(", "    \(url(request)),", "    ["] + request.fields.map { "        \(literal($0.name)): \(expression($0.value))," }
            + (request.fields.isEmpty ? ["        :"] : []) + ["    ])"]
    }

    static func token(_ part: SnippetPart) -> String { part == .token ? "token" : "tokenType" }
    static func environment(_ name: String) -> String { "variable(\(literal(name)))" }
    static func encoded(_ expression: String) -> String { "encoded(\(expression))" }
}
