import Foundation
import Synchronization

/// Takes whatever is posted to it on loopback, and answers 200. One request on each connection.
final class Receiver: Sendable {
    let url: String
    private let listener: Int32
    private let received = Mutex<[String]>([])

    /// In the order in which they came.
    var bodies: [String] { received.withLock { $0 } }

    init() throws {
        #if canImport(Glibc)
            let stream = Int32(SOCK_STREAM.rawValue)
        #else
            let stream = SOCK_STREAM
        #endif
        let listener = socket(AF_INET, stream, 0)
        self.listener = listener
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port: in_port_t? = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic -> Bool in
                bind(listener, generic, length) == 0 && listen(listener, 16) == 0 && getsockname(listener, generic, &length) == 0
            } ? in_port_t(bigEndian: pointer.pointee.sin_port) : nil
        }
        guard let port else { throw CocoaError(.featureUnsupported) }
        _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
        url = "http://127.0.0.1:\(port)/hook"
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 { return }
                take(connection)
            }
        }
    }

    func close() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func take(_ connection: Int32) {
        defer { Foundation.close(connection) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(connection, &buffer, buffer.count, 0)
            if count <= 0 { return }
            bytes += buffer[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            let head = text[..<end.lowerBound].lowercased()
            guard let field = head.range(of: "content-length: "), let length = Int(head[field.upperBound...].prefix { $0.isNumber }) else { return }
            guard text[end.upperBound...].utf8.count >= length else { continue }
            received.withLock { $0.append(String(text[end.upperBound...])) }
            let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
            _ = answer.withUnsafeBytes { Foundation.send(connection, $0.baseAddress, $0.count, 0) }
            return
        }
    }
}
