/// Reads the members of a successful answer, by the standard's names and a profile's.
struct TokenMembers {
    /// Why the answer cannot be used; nothing from the body in it.
    struct Malformed: Error { let reason: String }

    /// Ten years, in seconds: longer lifetimes are cut to it.
    static let longestLifetime = 315_360_000

    private let root: JSONValue
    private let container: JSONValue
    private let profile: ProviderProfile
    /// Where members stand, by their standard names.
    private let places: [String: String]
    private let now: Int

    /// - Parameter isRefresh: the answer may stand where the standard says, though the first one did not. No other token can
    ///   be in it; in a first answer one may be, so there the standard's name is no stand-in.
    init(_ members: JSONObject, profile: ProviderProfile, now: Int, isRefresh: Bool = false) throws {
        root = .object(members)
        if let path = profile.responsePath {
            guard let inner = root.at(path: path), let object = inner.object else { throw Malformed(reason: "it has no object at \(path)") }
            // As at the top level: two readers must not find two tokens.
            guard Set(object.names.map { Array($0.utf8) }).count == object.members.count else { throw Malformed(reason: "a member is repeated at \(path)") }
            container = inner
        } else {
            container = root
        }
        self.profile = profile
        self.now = now
        if isRefresh, let path = profile.tokenResponseMembers["access_token"], container.at(path: path) == nil, root.at(path: path) == nil {
            places = [:]
        } else {
            places = profile.tokenResponseMembers
        }
    }

    /// By its standard name, wherever the profile says that it stands.
    subscript(_ name: String) -> JSONValue? {
        if let path = places[name] { return container.at(path: path) ?? root.at(path: path) }
        return container[name]
    }

    func response() throws -> TokenResponse {
        TokenResponse(
            accessToken: try accessToken(), tokenType: try tokenType(), expiresIn: expiresIn(), refreshToken: try refreshToken(),
            refreshExpiresIn: refreshExpiresIn(),
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
        let sent = Self.foldingASCII(text)
        guard (["bearer"] + profile.tokenTypeAliases).contains(where: { Self.foldingASCII($0) == sent }) else {
            throw Malformed(reason: "its token_type is not Bearer")
        }
        return text
    }

    /// Only A to Z have another case here: Unicode has more letters that fold to ASCII.
    private static func foldingASCII(_ text: String) -> [UInt8] { text.utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 } }

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
        var lifetime: Int?
        if let named = self["expires_in"], !named.isNull {
            lifetime = seconds(named)
            if lifetime == 0, profile.zeroMeansNever { return nil }
            if profile.expiresInUnit == .milliseconds { lifetime = lifetime.map { $0 / 1000 } }
        } else {
            lifetime = epochOrSeconds(self["expires"]) ?? moment(self["expires_at"])
        }
        return (lifetime ?? profile.defaultExpiresIn).map(Self.bounded)
    }

    /// 0 and less mean "never" where they are sent, so they say nothing.
    private func refreshExpiresIn() -> Duration? {
        let named = [self["refresh_expires_in"], container["refresh_token_expires_in"]].compactMap { $0 }.first { !$0.isNull }
        guard let lifetime = epochOrSeconds(named), lifetime > 0 else { return nil }
        return Self.bounded(lifetime)
    }

    private static func bounded(_ seconds: Int) -> Duration { .seconds(min(max(seconds, 0), longestLifetime)) }

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
        seconds(value).map { $0 < Self.longestLifetime ? $0 : left(until: $0) }
    }

    /// - Parameter epoch: seconds since 1970, or milliseconds: no moment of ours is 3000 years away.
    private func left(until epoch: Int) -> Int { max((epoch < 100_000_000_000 ? epoch : epoch / 1000) - now, 0) }

    /// Seconds since 1970, or RFC 3339.
    private func moment(_ value: JSONValue?) -> Int? {
        if let epoch = seconds(value) { return left(until: epoch) }
        return value?.string.flatMap(RFC3339.seconds).map { max($0 - now, 0) }
    }

    // MARK: Scope

    /// Texts, alone or in an array, each by the profile's separator or spaces. Anything else says nothing.
    private func scope() -> [String]? {
        let texts: [String]
        switch self["scope"] {
        case .string(let text): texts = [text]
        case .array(let values):
            texts = values.compactMap(\.string)
            guard texts.count == values.count else { return nil }
        default: return nil
        }
        let separator = profile.scopeSeparator
        var scope: [String] = []
        var seen: Set<String> = []
        for text in texts {
            let spaced = separator.isEmpty ? text : text.replacing(separator, with: " ")
            for part in spaced.split(separator: " ").map(String.init) where Client.isScopeToken(part) && seen.insert(part).inserted {
                scope.append(part)
            }
        }
        return scope.isEmpty ? nil : scope
    }
}
