/// For Node 18 and later, as a script or a module.
enum JavaScriptSnippet: SnippetLanguage {
    static func text(_ program: SnippetProgram) -> String {
        var lines = ["async function main() {"]
        if let token = program.token {
            lines += fetch(token, into: "answer")
            lines += [
                "  if (!answer.ok) throw new Error(await answer.text());", "  const granted = await answer.json();",
                "  const token = granted.access_token;",
            ]
            if program.needsTokenType {
                lines.append("  const tokenType = granted.token_type.toLowerCase() === \"bearer\" ? \"Bearer\" : granted.token_type;")
            }
            lines.append("")
        }
        if let remark = program.remark { lines.append("  // " + remark) }
        lines += fetch(program.call, into: "response")
        lines += [
            "  console.log(response.status, await response.text());", "}", "", "main().catch((error) => {", "  console.error(error);",
            "  process.exitCode = 1;", "});",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    /// A redirect would take the key or the token to another host.
    private static func fetch(_ request: SnippetProgram.Request, into name: String) -> [String] {
        ["  const \(name) = await fetch(\(url(request)), {", "    headers: {"]
            + request.fields.map { "      \(literal($0.name)): \(expression($0.value))," }
            + ["    },", "    redirect: \"manual\",", "  });"]
    }

    static func token(_ part: SnippetPart) -> String { part == .token ? "token" : "tokenType" }
    static func environment(_ name: String) -> String { "process.env." + name }
    static func encoded(_ expression: String) -> String { "encodeURIComponent(\(expression))" }
}
