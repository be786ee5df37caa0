"""An AI agent with the official MCP client, of both generations of the protocol: it finds what a builder opened to it, is refused
the rest, gets a link for a person, calls an API that returns the token in many forms, and never sees it.

Environment: GRANTEE_URL, GRANTEE_API_KEY of a demo; the server may reach loopback.
"""

import asyncio
import base64
import gzip
import http.cookiejar
import http.server
import json
import os
import re
import threading
import urllib.error
import urllib.parse
import urllib.request

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ["GRANTEE_URL"]
CONNECTION = "agents-outside"
TOOLS = ["list_connections", "describe_connection", "call_api", "connect"]
HIDDEN = "a\x1b[31mb\u200bc\u202ed\U000e0041e"


def api(method, path, body=None, key=os.environ["GRANTEE_API_KEY"]):
    request = urllib.request.Request(URL + path, method=method, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def status(method, path, body, key):
    try:
        api(method, path, body, key)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


class API(http.server.BaseHTTPRequestHandler):
    """A small API. What it was sent is kept; some of its paths return the token."""

    protocol_version = "HTTP/1.1"
    tokens = set()

    def answer(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if not token:
            return self.send(401, {"error": "no token"})
        API.tokens.add(token)
        parts = urllib.parse.urlsplit(self.path)
        path = parts.path.removeprefix("/api")
        encoded = base64.b64encode(f"Bearer {token}".encode()).decode()
        if path == "/items":
            self.send(200, {
                "method": self.command, "query": urllib.parse.parse_qs(parts.query), "type": self.headers["Content-Type"], "body": body.decode(),
                "key": self.headers["X-Api-Key"], "agent": self.headers["Mcp-Method"]})
        elif path == "/leak/header":
            self.send(200, {"ok": True}, {"ETag": f'"{token}"', "Link": f"<https://api.example/?t={token}>; rel=next", "X-Request-Id": encoded})
        elif path == "/leak/json":
            self.send(200, {"headers": dict(self.headers), token: token, "list": [{"deep": f"x{token}y"}]})
        elif path == "/leak/escaped":
            escaped = "".join(f"\\u{ord(character):04x}" for character in token)
            self.send(200, f'{{"token":"{escaped}"}}'.encode(), {"Content-Type": "application/json"})
        elif path == "/leak/gzip":
            self.send(200, gzip.compress(json.dumps({"token": token}).encode()), {"Content-Type": "application/json", "Content-Encoding": "gzip"})
        elif path == "/leak/base64":
            within_url = base64.urlsafe_b64encode(f"ab{token}".encode()).decode()
            self.send(200, {"bare": base64.b64encode(token.encode()).decode(), "within": encoded, "url": within_url})
        elif path == "/leak/text":
            halves = token[:4] + "\u200b" + token[4:]
            text = f"{token} {urllib.parse.quote(token, safe='')} {halves} {token.encode().hex()}"
            self.send(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        elif path == "/leak/error":
            self.send(400, {"error": f"the token {token} is not good enough"})
        elif path == "/hidden":
            self.send(200, f"{HIDDEN}\n![beacon](https://evil.example/x.png)".encode(), {"Content-Type": "text/markdown; charset=utf-8"})
        elif path == "/big":
            self.send(200, b"0123456789" * 1_000_000, {"Content-Type": "text/plain"})
        elif path == "/picture":
            self.send(200, b"\x89PNG\r\n\x1a\n" + bytes(100), {"Content-Type": "image/png"})
        elif path == "/away":
            self.send(302, b"", {"Location": "https://elsewhere.example/"})
        else:
            self.send(404, {"error": "not found"})

    do_GET = do_POST = do_DELETE = answer

    def send(self, status, body, headers=None):
        headers = dict(headers or {})
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            pass  # Enough was read of a body that is too long.

    def log_message(self, *arguments):
        pass


class Person:
    """A browser without a window, in the hands of somebody who allows everything."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments):
            return None

    def __init__(self):
        self.opener = urllib.request.build_opener(self.NoRedirect, urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, url, form=None):
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            answer = self.opener.open(urllib.request.Request(url, data), timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        location = answer.headers["Location"]
        return answer.read().decode(), location and urllib.parse.urljoin(url, location)

    def connect(self, link):
        """From the link to where the application has it from there."""
        _, provider = self.open(link)
        page, _ = self.open(provider)
        request = re.search(r'name="request" value="([^"]*)"', page).group(1)
        action = re.search(r'action="(/authorize[^"]*)"', page).group(1)
        form = {"request": request, "decision": "approve", "username": "alice", "password": "password"}
        _, callback = self.open(urllib.parse.urljoin(provider, action), form)
        _, back = self.open(callback)
        return back


def forms(token):
    """The token as it is, in hex, percent-encoded, and in Base64 wherever it begins."""
    raw = token.encode()
    found = [token, raw.hex(), raw.hex().upper(), urllib.parse.quote(token, safe=""), "".join(f"%{byte:02X}" for byte in raw)]
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        whole = encoded[(offset * 8 + 5) // 6:(offset + len(raw)) * 8 // 6]
        found += [whole, whole.replace("+", "-").replace("/", "_")]
    return found


class Agent:
    """One session; it writes down all that a model would get."""

    def __init__(self, client):
        self.client = client
        self.transcript = ""

    async def use(self, tool, **arguments):
        result = await self.client.call_tool(tool, arguments)
        self.transcript += result.model_dump_json() + repr(result)
        return result

    async def call(self, path, method="GET", **more):
        return await self.use("call_api", connection=CONNECTION, method=method, path=path, **more)

    async def refused(self, code, **arguments):
        result = await self.use("call_api", **{"connection": CONNECTION, "method": "GET", **arguments})
        assert result.is_error and result.structured_content["problem"]["code"] in code.split("|"), (arguments, result)
        assert result.content[0].text.startswith(result.structured_content["problem"]["code"])
        return result


async def session(mode, revision, key, return_url):
    subject = f"agents-{mode}"
    http_client = httpx2.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {key}"})
    async with Client(streamable_http_client(URL + "/mcp", http_client=http_client), mode=mode) as client:
        agent = Agent(client)
        assert client.session.protocol_version == revision, client.session.protocol_version
        listed = await client.list_tools()
        agent.transcript += listed.model_dump_json()
        assert [tool.name for tool in listed.tools] == TOOLS
        assert all(tool.input_schema["additionalProperties"] is False for tool in listed.tools)
        print(f"ok  {revision}: the tools are there")

        connections = (await agent.use("list_connections")).structured_content["connections"]
        assert [connection["id"] for connection in connections] == [CONNECTION], connections
        described = (await agent.use("describe_connection", connection=CONNECTION)).structured_content
        assert described["methods"] == ["GET", "POST"] and described["subjects"] == "optional", described
        assert "Prices are in cents." in described["guidance"] and "<token>" not in described["guidance"]
        hidden = await agent.use("describe_connection", connection="client-credentials")
        assert hidden.is_error and hidden.structured_content["problem"]["code"] == "not_found"
        print(f"ok  {revision}: what a builder opened is seen, nothing else")

        # A person gives access by the link that the agent gets.
        person = {"subject": subject}
        missing = await agent.refused("not_connected", path="/items", **person)
        assert f"subject {subject}" in missing.content[0].text
        shared = await agent.use("connect", connection=CONNECTION)
        assert not shared.is_error and "confirms it at the console" in shared.content[0].text, shared
        ticket = shared.structured_content["connect_url"]
        page, away = Person().open(ticket)
        assert away is None and "/console/confirm/" in page, "somebody at the console has to confirm it"
        assert Person().open(ticket + "/continue")[1] is None, "it leads nowhere before"
        link = (await agent.use("connect", connection=CONNECTION, return_url=return_url, **person)).structured_content
        back = Person().connect(link["connect_url"])
        assert back == f"{return_url}?grantee_status=pending&grantee_session={link['session']}", back
        complete = f"/v1/connect-sessions/{link['session']}/complete"
        assert status("POST", complete, person, key) == 403, "the agent finishes nothing by itself"
        assert status("POST", complete, {"subject": "agents-other"}, os.environ["GRANTEE_API_KEY"]) == 409, "somebody else gets nothing"
        await agent.refused("not_connected", path="/items", **person)
        api("POST", complete, person)
        print(f"ok  {revision}: a person connects by the link, and the application finishes it")

        result = await agent.call("/items", query={"q": "a b&c", "page": 2, "tag": ["x", "y"]}, **person)
        assert not result.is_error, result
        answer = result.structured_content
        assert answer["status"] == 200 and answer["body_is"] == "json" and answer["source"]["connection"] == CONNECTION
        assert answer["body"]["query"] == {"q": ["a b&c"], "page": ["2"], "tag": ["x", "y"]}, answer
        assert answer["body"]["key"] is None and answer["body"]["agent"] is None
        result = await agent.call("/items", "POST", body={"price": 5}, **person)
        assert result.structured_content["body"]["body"] == '{"price":5}' and result.structured_content["body"]["type"] == "application/json", result
        result = await agent.call("/items", "POST", body="plain words", **person)
        assert result.structured_content["body"]["body"] == "plain words", result
        print(f"ok  {revision}: GET and POST reach the API")

        await agent.refused("forbidden", path="/items", method="DELETE", **person)
        await agent.refused("forbidden", path="/secrets", **person)
        await agent.refused("forbidden", path="/ITEMS", **person)
        await agent.refused("forbidden|invalid_request", path="/items/../secrets", **person)
        await agent.refused("forbidden", path="/items", headers={"X-Extra": "1"}, **person)
        await agent.refused("invalid_request", path="https://evil.example/items", **person)
        await agent.refused("invalid_request", path="/items", token="x", **person)
        print(f"ok  {revision}: what the policy does not allow is refused")

        for leak in ["header", "json", "escaped", "gzip", "base64", "text", "error"]:
            result = await agent.call(f"/leak/{leak}", **person)
            assert result.structured_content["status"] == (400 if leak == "error" else 200), result
            assert result.is_error == (leak == "error")
        result = await agent.call("/hidden", **person)
        seen = result.structured_content["body"]
        assert not set(seen) & set("\x1b\u200b\u202e\U000e0041") and "taken out" in " ".join(result.structured_content["notes"]), result
        assert "~~~~\n" in result.content[0].text
        result = await agent.call("/big", **person)
        assert len(result.structured_content["body"]) <= 65536 and "Only the first" in result.structured_content["notes"][0]
        result = await agent.call("/picture", **person)
        assert result.structured_content["body_is"] == "binary" and result.structured_content["body"] is None
        result = await agent.call("/away", **person)
        assert not result.is_error and result.structured_content["headers"]["location"] == "https://elsewhere.example/"
        result = await agent.call("/nothing", **person)
        assert result.is_error and "Check the path" in result.content[0].text
        print(f"ok  {revision}: answers are labelled, cut and inert")
    return agent.transcript


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), API)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    oauth = api("GET", "/v1/connections/pkce")["oauth"]
    api("POST", "/v1/connections", {
        "id": CONNECTION, "name": "Agents", "base_url": f"{origin}/api", "return_origins": [origin],
        "oauth": {name: oauth[name] for name in ["grant_type", "authorization_url", "token_url", "client_id", "client_authentication", "scopes", "pkce"]},
        "authentication_instructions": "Authorization: Bearer <token>\nPrices are in cents.",
        "agent_access": {"enabled": True, "methods": ["GET", "POST"], "paths": ["/items", "/leak/*", "/hidden", "/big", "/picture", "/away", "/nothing"]},
    })
    made = api("POST", "/v1/keys", {"name": "Agent", "role": "agent", "connections": [CONNECTION]})
    try:
        transcripts = []
        for mode, revision in [("legacy", "2025-11-25"), ("auto", "2026-07-28")]:
            transcripts.append(asyncio.run(session(mode, revision, made["key"], f"{origin}/done")))
        assert len(API.tokens) == 2, "each person's own token was sent"
        for token in API.tokens:
            for form in forms(token):
                assert not any(form in transcript for transcript in transcripts), f"the token was shown, as {form[:4]}…"
        print("ok  the token arrives at the API and in no answer")
    finally:
        api("DELETE", f"/v1/keys/{made['id']}")
        api("DELETE", f"/v1/connections/{CONNECTION}")
        server.shutdown()


if __name__ == "__main__":
    main()
