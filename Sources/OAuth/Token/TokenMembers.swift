/// Reads the members of a successful answer, by the standard's names and a profile's.
struct TokenMembers {
    /// Why the answer cannot be used; nothing from the body in it.
    struct Malformed: Error { let reason: String }

    /// Ten years, in seconds: longer lifetimes are cut to it.
    static let longestLifetime = 315_360_000

    private let root: JSONValue
    private let container: JSONValue
    private let profile: ProviderProfile
    private let now: Int

    init(_ members: JSONObject, profile: ProviderProfile, now: Int) throws {
        root = .object(members)
        if let path = profile.responsePath {
            guard let inner = root.at(path: path), inner.object != nil else { throw Malformed(reason: "it has no object at \(path)") }
            container = inner
        } else {
            container = root
        }
        self.profile = profile
        self.now = now
    }

    private subscript(_ name: String) -> JSONValue? {
        if let path = profile.tokenResponseMembers[name] { return container.at(path: path) ?? root.at(path: path) }
        return container[name]
    }

    func response() throws -> TokenResponse {
        TokenResponse(
            accessToken: try accessToken(), tokenType: try tokenType(), expiresIn: expiresIn(), refreshToken: try refreshToken(),
            refreshExpiresIn: seconds(self["refresh_expires_in"] ?? container["refresh_token_expires_in"]).map { .seconds($0) },
            scope: scope(), idTokenClaims: nil, members: root.object ?? JSONObject())
    }

    private func accessToken() throws -> AccessToken {
        guard let value = self["access_token"], !value.isNull else { throw Malformed(reason: "it has no access_token") }
        guard let text = value.string else { throw Malformed(reason: "its access_token is not a text") }
        guard !text.isEmpty else { throw Malformed(reason: "its access_token is empty") }
        guard ProviderText.isToken(text) else {
            throw Malformed(reason: "its access_token holds a space, a control character or a character outside ASCII, or is longer than 64 KiB")
        }
        return AccessToken(text)
    }

    /// Missing is Bearer: large providers leave it out. RFC 6749 §5.1 has no case.
    private func tokenType() throws -> String {
        guard let value = self["token_type"], !value.isNull else { return "Bearer" }
        guard let text = value.string else { throw Malformed(reason: "its token_type is not a text") }
        if text.isEmpty { return "Bearer" }
        let known = ["bearer"] + profile.tokenTypeAliases.map { $0.lowercased() }
        guard known.contains(where: { sameBytes($0, text.lowercased()) }) else { throw Malformed(reason: "its token_type is not Bearer") }
        return text
    }

    private func refreshToken() throws -> RefreshToken? {
        guard let value = self["refresh_token"], !value.isNull else { return nil }
        guard let text = value.string else { throw Malformed(reason: "its refresh_token is not a text") }
        if text.isEmpty { return nil }
        guard ProviderText.isToken(text) else {
            throw Malformed(reason: "its refresh_token holds a space, a control character or a character outside ASCII, or is longer than 64 KiB")
        }
        return RefreshToken(text)
    }

    // MARK: Lifetime

    private func expiresIn() -> Duration? {
        let named = self["expires_in"]
        let lifetime: Int?
        if let named, !named.isNull {
            lifetime = seconds(named).map { profile.expiresInUnit == .milliseconds ? $0 / 1000 : $0 }
        } else {
            lifetime = epochOrSeconds(container["expires"]) ?? moment(container["expires_at"])
        }
        guard let lifetime = lifetime ?? profile.defaultExpiresIn else { return nil }
        if lifetime == 0, profile.zeroMeansNever { return nil }
        return .seconds(min(max(lifetime, 0), Self.longestLifetime))
    }

    /// A number, or a text that is one, rounded down and not negative; everything else says nothing.
    private func seconds(_ value: JSONValue?) -> Int? {
        switch value {
        case .number(let number): return max(number.flooredClamped, 0)
        case .string(let text):
            let trimmed = text.drop { $0 == " " }
            let end = trimmed.lastIndex { $0 != " " }
            guard let end, case .number(let number)? = try? JSONValue(parsing: trimmed[...end].utf8) else { return nil }
            return max(number.flooredClamped, 0)
        default: return nil
        }
    }

    /// Below ten years it is a lifetime, else a moment.
    private func epochOrSeconds(_ value: JSONValue?) -> Int? {
        seconds(value).map { $0 < Self.longestLifetime ? $0 : max($0 - now, 0) }
    }

    /// Seconds since 1970, or RFC 3339.
    private func moment(_ value: JSONValue?) -> Int? {
        if let epoch = seconds(value) { return max(epoch - now, 0) }
        return value?.string.flatMap(RFC3339.seconds).map { max($0 - now, 0) }
    }

    // MARK: Scope

    /// A text by the profile's separator (or spaces), or an array of texts. Anything else says nothing.
    private func scope() -> [String]? {
        let tokens: [String]
        switch self["scope"] {
        case .string(let text):
            let separator = Character(profile.scopeSeparator.isEmpty ? " " : profile.scopeSeparator)
            tokens = text.split { $0 == separator || $0 == " " }.map(String.init)
        case .array(let values):
            tokens = values.compactMap(\.string)
            guard tokens.count == values.count else { return nil }
        default: return nil
        }
        guard !tokens.isEmpty else { return nil }
        var seen: Set<String> = []
        return tokens.filter { Client.isScopeToken($0) && seen.insert($0).inserted }
    }
}

/// RFC 3339 moments in UTC or with an offset.
enum RFC3339 {
    /// Seconds since 1970, fractions cut; `nil` when it is none.
    static func seconds(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes[4] == 0x2D, bytes[7] == 0x2D, [0x54, 0x74, 0x20].contains(bytes[10]), bytes[13] == 0x3A, bytes[16] == 0x3A else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            guard bytes[range].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return bytes[range].reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var rest = bytes[19...]
        if rest.first == 0x2E { rest = rest.dropFirst().drop { (0x30...0x39).contains($0) } }
        let utc = HTTPDate.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        if rest.elementsEqual([0x5A]) || rest.elementsEqual([0x7A]) { return utc }
        guard rest.count == 6, let sign = rest.first, sign == 0x2B || sign == 0x2D, let hours = number(rest.startIndex + 1..<rest.startIndex + 3),
            let minutes = number(rest.startIndex + 4..<rest.startIndex + 6)
        else { return nil }
        return utc - (sign == 0x2B ? 1 : -1) * (hours * 3600 + minutes * 60)
    }
}
