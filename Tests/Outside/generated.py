"""A generated client, found as the package `client`, does the main job. Environment: GRANTEE_URL, GRANTEE_API_KEY."""

import os

from client import AuthenticatedClient
from client.api.connections import get_connection, list_connections
from client.api.grants import list_grants
from client.api.tokens import get_token

api = AuthenticatedClient(base_url=os.environ["GRANTEE_URL"], token=os.environ["GRANTEE_API_KEY"])
found = list_connections.sync(client=api)
assert {"pkce", "client-credentials"} <= {connection.id for connection in found.items}
one = get_connection.sync("client-credentials", client=api)
assert one.oauth.grant_type == "client_credentials", one
token = get_token.sync("client-credentials", client=api)
assert token.access_token and token.generation >= 1, "a token came"
grants = list_grants.sync(client=api, connection="client-credentials")
assert [grant.state for grant in grants.items] == ["active"], grants
print("ok  a generated client lists connections, gets a token and sees its grant")
