import NIOCore
import NIOHTTP1

/// An answer on its way to an agent: unpacked, searched for what was put into the request, masked. SEC-87.
final class AnswerFilter {
    private var scan: TokenScan
    private let inflater: Inflater?
    private var ready: [ByteBuffer] = []
    private(set) var isBusy = false

    /// - Parameters:
    ///   - scan: for what was put into the request.
    ///   - fields: masked; without the coding that is taken off here.
    /// - Throws: ``APIFailure`` for a coding that cannot be looked into.
    init(_ scan: TokenScan, fields: inout HTTPHeaders, hasBody: Bool) throws(APIFailure) {
        self.scan = scan
        let codings = fields["Content-Encoding"].flatMap { $0.split(separator: ",") }.map { $0.trimming.lowercased() }.filter { $0 != "identity" }
        if codings.isEmpty || !hasBody {
            inflater = nil
        } else {
            guard codings.count == 1, let inflater = Inflater(encoding: codings[0]) else {
                throw .nonsense("in a Content-Encoding that cannot be searched for the token")
            }
            self.inflater = inflater
            fields.remove(name: "Content-Encoding")
            fields.remove(name: "Content-Length")
        }
        fields = HTTPHeaders(fields.map { (self.scan.masked($0.name), self.scan.masked($0.value)) })
    }

    /// How often something was masked.
    var found: Int { scan.found }

    func feed(_ chunk: ByteBuffer) {
        if let inflater { inflater.feed(chunk) } else { ready.append(chunk) }
        isBusy = true
    }

    /// - Returns: `nil` when all that was fed has gone.
    func next() throws(APIFailure) -> ByteBuffer? {
        while true {
            let chunk: ByteBuffer?
            if let inflater {
                do { chunk = try inflater.next() } catch { throw .nonsense("with a body that does not unpack, or unpacks to too much") }
            } else {
                chunk = ready.isEmpty ? nil : ready.removeFirst()
            }
            guard let chunk else {
                isBusy = false
                return nil
            }
            let masked = scan.next(chunk)
            if masked.readableBytes > 0 { return masked }
        }
    }

    /// After the last chunk.
    func finish() throws(APIFailure) -> ByteBuffer? {
        if let inflater {
            do { try inflater.finish() } catch { throw .nonsense("with a body that ends in the middle") }
        }
        let rest = scan.finish()
        return rest.readableBytes > 0 ? rest : nil
    }
}

extension Substring {
    /// Without spaces and tabs around it.
    var trimming: Substring {
        let start = drop { $0 == " " || $0 == "\t" }
        return start[..<(start.lastIndex { $0 != " " && $0 != "\t" }.map { start.index(after: $0) } ?? start.startIndex)]
    }
}
