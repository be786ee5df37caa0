import OAuth
import Vault

/// What a person presented: a code, a password, a consent that has ended.
extension Cause {
    static let people: [Cause] = [
        Cause(
            "credentials", "Username or password is wrong",
            when: { trouble, said, facts in
                guard facts.oauth.grantType == .password, trouble.stage == .token, trouble.failure == .refused else { return false }
                return said.isCode("invalid_grant", "access_denied", "invalid_user_credentials")
                    || said.hasNumber(50126, 50034, 50053, 50055, 50057, 50056)
                    || [401, 403].contains(said.status)
            }
        ).saying { _, said, facts in
            let isStored = facts.connection.fetchesAlone
            let isLocked = said.hasNumber(50053, 50057, 50055) || said.says("locked", "disabled", "password expired", "inactive user")
            let salesforce = facts.provider?.name == "Salesforce" ? " Salesforce wants the account's security token behind the password." : ""
            return Words(
                isLocked
                    ? "\(facts.providerName) does not let this account in: it is locked or disabled, or its password has expired."
                    : "\(facts.providerName) does not accept this username with this password.",
                fix: isLocked
                    ? "Have the account unlocked at the provider."
                    : isStored
                        ? "Edit the connection and give username and password anew. They are not tried again before, as that could lock the account."
                            + salesforce
                        : "Have the person type them again. If they are right, the account may need a second factor, which the password grant "
                            + "cannot give.",
                state: isStored ? .bad : .warn)
        },
        Cause(
            "refresh_token", "A refresh token is not taken any more",
            when: { trouble, said, _ in
                trouble.stage == .refresh && trouble.failure == .refused
                    && (said.isCode("invalid_grant", "bad_refresh_token", "invalid_refresh_token", "token_expired", "token_revoked")
                        || said.hasNumber(700_082, 70008, 50173, 700_084))
            }
        ).saying { trouble, said, facts in
            let isGoogle = facts.provider?.name == "Google"
            var why = "the person withdrew access or changed their password, it was not used for too long, or it was used twice."
            if said.hasNumber(700_082) { why = "it was not used for too long." }
            if said.hasNumber(50173) { why = "the person's password was changed, or an administrator ended their sessions." }
            let whose = trouble.subject.isEmpty ? "the shared grant" : "the grant of \(trouble.subject)"
            return Words(
                "The consent behind \(whose) has ended at the provider: \(why) The connection itself is in order.",
                fix: "Connect again."
                    + (isGoogle
                        ? " While Google's consent screen is in testing, each refresh token ends after seven days: publish the app there."
                        : " If it happens to many at once, turn on keep_alive, so that tokens are used before they are forgotten."),
                state: .warn)
        },
        Cause(
            "code", "The code was not taken",
            when: { trouble, said, facts in
                facts.isCode && trouble.stage == .token && trouble.failure == .refused
                    && (said.isCode("invalid_grant", "bad_verification_code", "invalid_code", "code_already_used", "code_expired")
                        || said.hasNumber(54005, 70008, 70000, 900_014)
                        || said.says("bad_auth_code", "authorization code"))
            }
        ).saying { _, said, facts in
            let isUsed = said.hasNumber(54005) || said.isCode("code_already_used") || said.says("already redeemed", "already been used")
            return Words(
                isUsed
                    ? "The code had been redeemed before: the same trip came back twice."
                    : "\(facts.providerName) did not redeem the code that it had given: it was too old, it was used before, or something in the "
                        + "request differs from the one that it was given to.",
                fix: "Connect again. If it repeats, compare the Callback URL that is registered at the provider with this one, byte for byte"
                    + (facts.pkce == .none ? "." : ", and look at the PKCE Mode."), values: [.init(label: "Callback URL", text: facts.callbackURL)])
        },
        Cause(
            "clock", "The clocks differ",
            when: { trouble, _, _ in
                guard trouble.failure == .idToken, let reason = trouble.reason else { return false }
                return reason.hasPrefix("exp has passed") || reason.hasPrefix("iat lies") || reason.hasPrefix("iat is more")
                    || reason.hasPrefix("nbf lies")
            }
        ).saying { trouble, _, _ in
            let skew = trouble.response?.date.map { trouble.at.seconds - $0 }
            let measured =
                skew.map {
                    abs($0) > 60 ? " Its clock and this server's differ by \(abs($0)) seconds; this one is \($0 > 0 ? "ahead" : "behind")." : ""
                } ?? ""
            return Words(
                "The ID token says who signed in and when, and by this server's clock that cannot be: "
                    + "\(trouble.reason ?? "its time is wrong").\(measured)",
                fix: "Set this machine's clock by NTP (timedatectl set-ntp true). If it is right, the provider's is wrong.")
        },
        Cause("id_token", "The ID token does not fit", when: { trouble, _, _ in trouble.failure == .idToken }).saying { trouble, _, facts in
            let reason = trouble.reason ?? "it cannot be used"
            let isIssuer = reason.hasPrefix("iss")
            return Words(
                "The provider's answer holds an ID token, which says who signed in, and it was refused: \(reason).",
                fix: isIssuer
                    ? "Set the connection's issuer to exactly what the provider's metadata calls itself, slash included; or clear it, if it is "
                        + "another for each tenant."
                    : "Check issuer and Client ID of the connection. If nothing needs to know who signed in, take openid out of the scopes.",
                apply: !isIssuer && facts.oauth.scopes.contains("openid") && facts.oauth.scopes.count > 1 && reason.contains("no id_token came")
                    ? Facts.patch(["scopes": .array(facts.oauth.scopes.filter { $0 != "openid" }.map(JSONValue.string))]) : nil)
        },
    ]
}
