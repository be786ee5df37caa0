/// Standard library only. No line within a block is empty, so that it can be pasted at the prompt, too.
enum PythonSnippet: SnippetLanguage {
    static func text(_ program: SnippetProgram) -> String {
        var lines = [start]
        if let token = program.token {
            lines += call(token)
            lines += ["if status != 200:", "    raise SystemExit(body)", "", "granted = json.loads(body)", "token = granted[\"access_token\"]"]
            if program.needsTokenType {
                lines.append("token_type = \"Bearer\" if granted[\"token_type\"].lower() == \"bearer\" else granted[\"token_type\"]")
            }
            lines.append("")
        }
        if let remark = program.remark { lines.append("# " + remark) }
        return (lines + call(program.call) + ["print(status, body)"]).joined(separator: "\n") + "\n"
    }

    private static let start = """
        import json
        import os
        import urllib.error
        import urllib.parse
        import urllib.request


        class NoRedirects(urllib.request.HTTPRedirectHandler):
            # A redirect would take the key or the token to another host.
            def redirect_request(self, *arguments):
                return None


        def call(url, headers):
            request = urllib.request.Request(url, headers=headers)
            try:
                with urllib.request.build_opener(NoRedirects).open(request) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as answer:
                return answer.code, answer.read().decode()


        """

    private static func call(_ request: SnippetProgram.Request) -> [String] {
        ["status, body = call(", "    \(url(request)),", "    {"]
            + request.fields.map { "        \(literal($0.name)): \(expression($0.value))," } + ["    },", ")"]
    }

    static func token(_ part: SnippetPart) -> String { part == .token ? "token" : "token_type" }
    static func environment(_ name: String) -> String { "os.environ[\(literal(name))]" }
    static func encoded(_ expression: String) -> String { "urllib.parse.quote(\(expression), safe=\"\")" }
}
