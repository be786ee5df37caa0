import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// The least that Hummingbird does for an answer: what the token route is measured against.
///
/// Answers every request with the same bytes and the same headers as the token route, and looks at nothing.
func serve(port: Int, body: ByteBuffer) async throws {
    var fields: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store", .xContentTypeOptions: "nosniff"]
    if let name = HTTPField.Name("Cross-Origin-Resource-Policy") { fields[name] = "same-origin" }
    let answer = Response(status: .ok, headers: fields, body: ResponseBody(byteBuffer: body))
    let responder = CallbackResponder<BasicRequestContext> { _, _ in answer }
    let application = Application(
        responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
        onServerRunning: { channel in
            let line = "Listening on http://127.0.0.1:\(channel.localAddress?.port ?? port)\n"
            FileHandle.standardOutput.write(Data(line.utf8))
        })
    try await application.runService()
}

let arguments = CommandLine.arguments
guard arguments.count == 3, let port = Int(arguments[1]) else {
    FileHandle.standardError.write(Data("usage: BareRoute PORT BODY_FILE\n".utf8))
    exit(2)
}
try await serve(port: port, body: ByteBuffer(bytes: try Data(contentsOf: URL(fileURLWithPath: arguments[2]))))
