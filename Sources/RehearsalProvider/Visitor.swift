import AsyncHTTPClient
package import HTTPTypes
import NIOCore
import NIOHTTP1
import OAuth

/// A person with a browser, scripted: opens pages, keeps cookies, follows redirects and links, fills in the provider's
/// consent page. For checks and tests; it understands the pages of this project and no others.
package actor Visitor {
    package struct Page: Sendable {
        package let url: String
        package let status: Int
        package let headers: HTTPFields
        package let body: String

        /// The target of the first link or form whose address begins with `path`.
        package func link(to path: String) -> String? {
            for attribute in ["href=\"", "action=\""] {
                var rest = body[...]
                while let found = rest.firstRange(of: attribute) {
                    rest = rest[found.upperBound...]
                    if rest.hasPrefix(path) { return String(rest.prefix { $0 != "\"" }) }
                }
            }
            return nil
        }

        /// The value of a hidden field.
        package func field(_ name: String) -> String? {
            guard let found = body.firstRange(of: "name=\"\(name)\" value=\"") else { return nil }
            return String(body[found.upperBound...].prefix { $0 != "\"" })
        }
    }

    /// Browsers send cookies to every port of a host.
    private var cookies: [String: [String: String]] = [:]
    /// Follows no redirect by itself: cookies and pages on the way are looked at.
    private static let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: .init(redirectConfiguration: .disallow))

    package init() {}

    /// One request, no redirect followed.
    package func request(
        _ method: HTTPRequest.Method, _ url: String, form: [(String, String)]? = nil, headers: HTTPFields = [:]
    ) async throws -> Page {
        let host = try EndpointURL(url).host
        var request = HTTPClientRequest(url: url)
        request.method = .init(rawValue: method.rawValue)
        for field in headers { request.headers.add(name: field.name.rawName, value: field.value) }
        if let kept = cookies[host], !kept.isEmpty {
            request.headers.add(name: "Cookie", value: kept.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "; "))
        }
        if let form {
            request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
            request.body = .bytes(Array(Form.serialize(form).utf8))
        }
        let response = try await Self.client.execute(request, timeout: .seconds(60))
        for line in response.headers["Set-Cookie"] {
            let pair = line.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { cookies[host, default: [:]][String(pair[0])] = String(pair[1]) }
        }
        var fields = HTTPFields()
        for (name, value) in response.headers { if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) } }
        let body = try await response.body.collect(upTo: 4 << 20)
        return Page(url: url, status: Int(response.status.code), headers: fields, body: String(buffer: body))
    }

    /// As a browser does: follows redirects, at most ten.
    package func open(_ url: String, form: [(String, String)]? = nil) async throws -> Page {
        var page = try await request(form == nil ? .get : .post, url, form: form)
        for _ in 0..<10 {
            guard (300..<400).contains(page.status), let location = page.headers[.location] else { return page }
            page = try await request(.get, Self.resolve(location, from: page.url))
        }
        throw RehearsalError("more than ten redirects")
    }

    /// Answers the provider's consent page.
    /// - Returns: the redirect to the client, not followed.
    package func answerConsent(_ page: Page, approve: Bool = true, username: String = "alice", password: String = "password") async throws -> Page {
        guard let request = page.field("request"), let target = page.link(to: "/authorize") else {
            throw RehearsalError("this is not the provider's consent page (status \(page.status))")
        }
        var form = [("request", request), ("decision", approve ? "approve" : "deny")]
        if page.body.contains("name=\"username\"") { form += [("username", username), ("password", password)] }
        return try await self.request(.post, Self.resolve(target, from: page.url), form: form)
    }

    /// From a connect link through the provider and back: the page it ends on.
    package func connect(_ connectURL: String, approve: Bool = true, username: String = "alice", password: String = "password") async throws -> Page {
        var page = try await open(connectURL)
        if page.body.contains("name=\"password\""), let target = page.link(to: "/connect/") {
            return try await open(Self.resolve(target, from: page.url), form: [("username", username), ("password", password)])
        }
        if let link = page.link(to: "/connect/") { page = try await open(Self.resolve(link, from: page.url)) }
        guard page.field("request") != nil else { return page }
        let back = try await answerConsent(page, approve: approve, username: username, password: password)
        guard let location = back.headers[.location] else { return back }
        return try await open(location)
    }

    package static func resolve(_ link: String, from url: String) throws -> String {
        link.hasPrefix("/") ? try EndpointURL(url).origin + link : link
    }
}
