"""Turns a fresh Glewlwyd into the test server: scopes, the user, the OAuth plugin and the clients, by its admin API.

usage: glewlwyd_setup.py PORT STATE_DIR
environment: REDIRECT_URIS (space separated, registered for every client), AT_TTL (seconds, 3600 by default)
"""

import http.cookiejar
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from pathlib import Path

port, state_dir = int(sys.argv[1]), Path(sys.argv[2])
redirect_uris = os.environ.get("REDIRECT_URIS", "").split()
access_token_ttl = int(os.environ.get("AT_TTL", "3600"))

API = f"http://127.0.0.1:{port}/api"
OIDC = API + "/oidc"
SCOPES = ["read", "write"]
USER, PASSWORD = "alice", "password"
USER_GRANTS = ["code", "refresh_token"]
ALL_GRANTS = [*USER_GRANTS, "client_credentials", "password"]

opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))


def post(path, body):
    data = json.dumps(body).encode()
    message = urllib.request.Request(API + path, data, {"Content-Type": "application/json"})
    try:
        opener.open(message, timeout=10).close()
    except urllib.error.HTTPError as error:
        sys.exit(f"POST {path}: {error.code} {error.read().decode()}")


def add_client(client_id, grant_types, auth_method, secret=None):
    client = {
        "client_id": client_id,
        "confidential": secret is not None,
        "enabled": True,
        "redirect_uri": redirect_uris,
        "scope": SCOPES,  # of the client itself, for client credentials
        "authorization_type": grant_types,
        "token_endpoint_auth_method": [auth_method],
    }
    if secret is not None:
        client["client_secret"] = secret
    post("/client/", client)


post("/auth/", {"username": "admin", "password": "password"})  # as a new database has it
for scope in SCOPES:
    post("/scope/", {"name": scope, "password_required": False, "scheme": {}})
post("/user/", {"username": USER, "password": PASSWORD, "enabled": True, "scope": SCOPES})
post(
    "/mod/plugin/",
    {
        "module": "oidc",
        "name": "oidc",
        "enabled": True,
        "parameters": {
            "iss": OIDC,
            "oauth-as-iss-id": True,
            "jwt-type": "sha",  # the tokens are opaque to a client; this kind needs no key pair
            "jwt-key-size": "256",
            "key": secrets.token_hex(),
            "access-token-duration": access_token_ttl,
            "refresh-token-duration": 1209600,
            "refresh-token-rolling": True,
            "refresh-token-one-use": "always",
            "code-duration": 600,
            "allow-non-oidc": True,  # plain OAuth, without the scope openid
            "allowed-scope": ["openid", *SCOPES],
            "auth-type-code-enabled": True,
            "auth-type-code-revoke-replayed": True,
            "auth-type-password-enabled": True,
            "auth-type-client-enabled": True,
            "auth-type-refresh-enabled": True,
            "pkce-allowed": True,
            "pkce-method-plain-allowed": True,
            "pkce-required-public-client": True,
            "introspection-revocation-allowed": True,
            "introspection-revocation-allow-target-client": True,
        },
    },
)
add_client("conf", ALL_GRANTS, "client_secret_basic", "conf-secret")
add_client("conf-post", ALL_GRANTS, "client_secret_post", "post-secret")
add_client("odd client", ALL_GRANTS, "client_secret_basic", "p+s%/ é?")
add_client("pub", USER_GRANTS, "none")

description = {
    "name": "glewlwyd",
    "issuer": OIDC,
    "authorization_endpoint": OIDC + "/auth",
    "token_endpoint": OIDC + "/token",
    "revocation_endpoint": OIDC + "/revoke",
    "introspection_endpoint": OIDC + "/introspect",
    "metadata_url": OIDC + "/.well-known/openid-configuration",
    "scopes": SCOPES,
    "redirect_uris": redirect_uris,
    # It takes id and secret as they come, against RFC 6749 §2.3.1, so that an id with a colon could not sign in.
    "basic_encoding": "none",
    "clients": {
        "confidential": {"client_id": "conf", "client_secret": "conf-secret"},
        "confidential_post": {"client_id": "conf-post", "client_secret": "post-secret"},
        "confidential_odd": {"client_id": "odd client", "client_secret": "p+s%/ é?"},
        "public": {"client_id": "pub"},
    },
    "user": USER,
    "password": PASSWORD,
}
(state_dir / "as.json").write_text(json.dumps(description, indent=2) + "\n")
