import Foundation

// embed-text OUTPUT FILE… - writes `enum PackageResources` with the bytes of each text file.

/// `sign-in.mustache` is `sign_in_mustache`.
func identifier(_ name: String) -> String {
    String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
}

let arguments = CommandLine.arguments.dropFirst()
guard let output = arguments.first else {
    FileHandle.standardError.write(Data("usage: embed-text OUTPUT FILE…\n".utf8))
    exit(2)
}
var code = "enum PackageResources {\n"
for path in arguments.dropFirst() {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let quote = String(repeating: "#", count: 5)
    // The literal could not hold its own end, and would change these line ends.
    guard !text.contains("\"\"\"" + quote), !text.contains("\\" + quote), !text.utf8.contains(0x0D) else {
        FileHandle.standardError.write(Data("\(path): a text with CR or the end of a literal cannot be embedded\n".utf8))
        exit(1)
    }
    code += "    static let \(identifier(URL(fileURLWithPath: path).lastPathComponent)) = bytes(\(quote)\"\"\"\n\(text)\n\"\"\"\(quote))\n"
}
code += """

        private static func bytes(_ text: StaticString) -> [UInt8] { text.withUTF8Buffer { Array($0) } }
    }

    """
try code.write(toFile: output, atomically: true, encoding: .utf8)
