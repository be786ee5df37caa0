"""An authorization server made of Authlib and Flask, everything in memory.

usage: authlib_server.py PORT STATE_DIR
environment: REDIRECT_URIS (space separated, allowed for every client), AT_TTL (seconds, 3600 by default)

Only storage, the person's pages and the rule for a reused refresh token are written here; Authlib decides the rest.
"""

import json
import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, jsonify, request, session

port, state_dir = int(sys.argv[1]), Path(sys.argv[2])
redirect_uris = os.environ.get("REDIRECT_URIS", "").split()
access_token_ttl = int(os.environ.get("AT_TTL", "3600"))
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP; it is loopback only

ISSUER = f"http://127.0.0.1:{port}"
SCOPES = ["read", "write"]
USER, PASSWORD = "alice", "password"
USER_GRANTS = ["authorization_code", "refresh_token"]
ALL_GRANTS = [*USER_GRANTS, "client_credentials", "password"]
AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]


# What is kept


@dataclass
class Client(ClientMixin):
    client_id: str
    client_secret: str
    auth_method: str
    grant_types: list

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return scope or " ".join(SCOPES)

    def check_redirect_uri(self, uri):
        return uri in redirect_uris

    def check_client_secret(self, secret):
        return secrets.compare_digest(self.client_secret.encode(), secret.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.auth_method

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in self.grant_types


@dataclass
class Code(AuthorizationCodeMixin):
    code: str
    client_id: str
    user: str
    scope: str
    redirect_uri: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


@dataclass
class Token(TokenMixin):
    """An access or a refresh token. Those of one consent are a family."""

    value: str
    kind: str
    family: str
    client_id: str
    user: str
    scope: str
    issued_at: int
    expires_in: int  # 0: never
    revoked: bool = False

    def check_client(self, client):
        return client.client_id == self.client_id

    def get_scope(self):
        return self.scope

    def is_expired(self):
        return self.expires_in > 0 and self.issued_at + self.expires_in <= time.time()

    def is_revoked(self):
        return self.revoked


CLIENTS = {
    client.client_id: client
    for client in [
        Client("conf", "conf-secret", "client_secret_basic", ALL_GRANTS),
        Client("conf-post", "post-secret", "client_secret_post", ALL_GRANTS),
        Client("odd client:1", "p+s%/ é?", "client_secret_basic", ALL_GRANTS),
        Client("pub", "", "none", USER_GRANTS),
    ]
}
codes = {}
tokens = {}


def save_token(answer, oauth_request):
    parent = oauth_request.refresh_token
    family = parent.family if parent else secrets.token_hex(8)
    for kind, ttl in (("access_token", answer["expires_in"]), ("refresh_token", 0)):
        if kind in answer:
            tokens[answer[kind]] = Token(
                value=answer[kind],
                kind=kind,
                family=family,
                client_id=oauth_request.client.client_id,
                user=oauth_request.user,
                scope=answer.get("scope", ""),
                issued_at=int(time.time()),
                expires_in=ttl,
            )


def revoke_family(token):
    for other in tokens.values():
        if other.family == token.family:
            other.revoked = True


# The protocol, by Authlib


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def save_authorization_code(self, code, oauth_request):
        parameters = oauth_request.payload.data
        codes[code] = Code(
            code=code,
            client_id=oauth_request.client.client_id,
            user=oauth_request.user,
            scope=oauth_request.scope,
            redirect_uri=oauth_request.payload.redirect_uri,
            code_challenge=parameters.get("code_challenge"),
            code_challenge_method=parameters.get("code_challenge_method"),
        )

    def query_authorization_code(self, code, client):
        found = codes.get(code)
        return found if found and found.client_id == client.client_id else None

    def delete_authorization_code(self, code):
        codes.pop(code.code, None)

    def authenticate_user(self, code):
        return code.user


class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def authenticate_user(self, username, password):
        return USER if (username, password) == (USER, PASSWORD) else None


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class RefreshTokenGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, value):
        token = tokens.get(value)
        if token is None or token.kind != "refresh_token":
            return None
        if token.revoked:  # it was used before: somebody stole it, or is stolen from. RFC 9700 §4.14.2
            revoke_family(token)
            return None
        return token

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.revoked = True


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = AUTH_METHODS

    def query_token(self, value, hint):
        return tokens.get(value)

    def revoke_token(self, token, oauth_request):
        token.revoked = True
        if token.kind == "refresh_token":
            revoke_family(token)


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, value, hint):
        return tokens.get(value)

    def check_permission(self, token, client, oauth_request):
        return True

    def introspect_token(self, token):
        answer = {
            "client_id": token.client_id,
            "sub": token.user or token.client_id,
            "scope": token.scope,
            "iss": ISSUER,
            "iat": token.issued_at,
        }
        if token.expires_in > 0:
            answer["exp"] = token.issued_at + token.expires_in
        return answer


class Issuer(IssuerParameter):
    def get_issuer(self):
        return ISSUER


app = Flask(__name__)
app.secret_key = secrets.token_hex()
app.config["OAUTH2_SCOPES_SUPPORTED"] = SCOPES
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(ALL_GRANTS, access_token_ttl)

issuer = Issuer()
server = AuthorizationServer(app, CLIENTS.get, save_token)
server.register_extension(issuer)
server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True)])
server.register_grant(PasswordGrant)
server.register_grant(ClientCredentialsGrant)
server.register_grant(RefreshTokenGrant)
server.register_endpoint(Revocation)
server.register_endpoint(Introspection)

# Of two requests with one refresh token or one code, one must lose.
one_at_a_time = threading.Lock()


# What the network sees

LOGIN_PAGE = """<!doctype html><title>Sign in</title>
<form method="post">
<input name="username"> <input name="password" type="password"> <button>Sign in</button>
</form>"""
CONSENT_PAGE = """<!doctype html><title>Consent</title>
<form method="post">
<button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button>
</form>"""


@app.route("/authorize", methods=["GET", "POST"])
def authorize():
    try:
        grant = server.get_consent_grant()
    except OAuth2Error as error:
        response = server.handle_error_response(None, error)
        issuer.add_issuer_parameter(server, response)  # Authlib leaves it out of this one
        return response
    credentials = (request.form.get("username"), request.form.get("password"))
    if credentials == (USER, PASSWORD):
        session["user"] = USER
    if "user" not in session:
        return LOGIN_PAGE
    decision = request.form.get("decision")
    if decision not in ("allow", "deny"):
        return CONSENT_PAGE
    return server.create_authorization_response(grant=grant, grant_user=session["user"] if decision == "allow" else None)


@app.post("/token")
def token():
    with one_at_a_time:
        return server.create_token_response()


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


METADATA_PATH = "/.well-known/oauth-authorization-server"
ENDPOINTS = {
    "issuer": ISSUER,
    "authorization_endpoint": ISSUER + "/authorize",
    "token_endpoint": ISSUER + "/token",
    "revocation_endpoint": ISSUER + "/revoke",
    "introspection_endpoint": ISSUER + "/introspect",
}


@app.get(METADATA_PATH)
def metadata():
    return jsonify(
        **ENDPOINTS,
        scopes_supported=SCOPES,
        response_types_supported=["code"],
        grant_types_supported=ALL_GRANTS,
        token_endpoint_auth_methods_supported=AUTH_METHODS,
        code_challenge_methods_supported=["S256", "plain"],
        authorization_response_iss_parameter_supported=True,
    )


def description():
    def confidential(client_id):
        return {"client_id": client_id, "client_secret": CLIENTS[client_id].client_secret}

    return {
        "name": "authlib",
        **ENDPOINTS,
        "metadata_url": ISSUER + METADATA_PATH,
        "scopes": SCOPES,
        "redirect_uris": redirect_uris,
        # RFC 6749 §2.3.1, but for one thing: Authlib leaves a plus sign as it is, a space has to come as %20.
        "basic_encoding": "form",
        "clients": {
            "confidential": confidential("conf"),
            "confidential_post": confidential("conf-post"),
            "confidential_odd": confidential("odd client:1"),
            "public": {"client_id": "pub"},
        },
        "user": USER,
        "password": PASSWORD,
    }


if __name__ == "__main__":
    (state_dir / "as.json").write_text(json.dumps(description(), indent=2) + "\n")
    # Flask's own server: one process, so that a test which stops the pid stops the whole of it.
    app.run("127.0.0.1", port, threaded=True)
