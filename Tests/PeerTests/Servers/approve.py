#!/usr/bin/env python3
"""A person at an authorization server: signs in, allows or denies, and ends where the browser would be sent back.

usage: approve.py AS_JSON AUTHORIZATION_URL [--deny]

Prints the callback URL, which it never opens. Exit status 3, and nothing printed, when the server leaves the person
on its own pages; 1 when it shows an error page instead.
"""

import argparse
import http.cookiejar
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit


class Browser:
    """Keeps cookies. Follows redirects within one origin; one that leads away from it is where we are sent back to."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments):
            return None

    def __init__(self):
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(self.NoRedirect, cookies)

    def request(self, method, url, body=None, content_type="application/x-www-form-urlencoded"):
        """Status, Location or None, body."""
        headers = {"Content-Type": content_type} if body is not None else {}
        message = urllib.request.Request(url, body.encode() if body is not None else None, headers, method=method)
        try:
            answer = self.opener.open(message, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers.get("Location"), answer.read().decode()

    def visit(self, method, url, form=None):
        """Like a page load: an error page ends the program, and so does a redirect to another origin."""
        status, location, body = self.request(method, url, None if form is None else urlencode(form))
        if status >= 400:
            sys.exit(f"{method} {url}\n{status} {body}")
        if location is not None:
            target = urljoin(url, location)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                print(target)
                sys.exit(0)

    def call(self, method, url, value=None):
        """A call of a JSON API, which has to succeed."""
        status, _, body = self.request(method, url, None if value is None else json.dumps(value), "application/json")
        if status >= 400:
            sys.exit(f"{method} {url}\n{status} {body}")
        return json.loads(body) if body else None


def authlib(browser, server, url, deny):
    """A form to sign in, a form to decide, both at the authorization URL."""
    browser.visit("GET", url)
    browser.visit("POST", url, {"username": server["user"], "password": server["password"]})
    browser.visit("POST", url, {"decision": "deny" if deny else "allow"})


def glewlwyd(browser, server, url, deny):
    """What the scripts of its login page do: sign in, ask for the scopes, grant those which are ticked, continue.

    There is no button to deny: a person who will not grant ticks nothing, and the page offers no way on. Going on
    all the same is the most that such a person can try.
    """
    api = server["authorization_endpoint"].removesuffix("/oidc/auth")
    query = parse_qs(urlsplit(url).query)
    browser.visit("GET", url)
    browser.call("POST", api + "/auth/", {"username": server["user"], "password": server["password"]})
    if "scope" in query:
        grant = api + "/auth/grant/" + quote(query["client_id"][0], safe="")
        offered = browser.call("GET", grant + "/" + quote(query["scope"][0], safe=""))["scope"]
        ticked = [] if deny else [scope["name"] for scope in offered]
        browser.call("PUT", grant, {"scope": " ".join(ticked)})
    browser.visit("GET", url + "&g_continue")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("as_json")
parser.add_argument("authorization_url")
parser.add_argument("--deny", action="store_true")
arguments = parser.parse_args()

with open(arguments.as_json) as file:
    description = json.load(file)
person = {"authlib": authlib, "glewlwyd": glewlwyd}[description["name"]]
person(Browser(), description, arguments.authorization_url, arguments.deny)
print("the server sends nobody back", file=sys.stderr)
sys.exit(3)
