"""Somebody who has never heard of PKCE sets up connections at the console, in Chromium: each grant type from the form to a request that
works, broken at the provider, mended by the doctor, disconnected; by mouse, by keyboard alone, without JavaScript, on a narrow screen.

Environment: GRANTEE, the program; GRANTEE_URL, GRANTEE_API_KEY, GRANTEE_DATA_DIR of a running demo. PICTURES, a folder, keeps the pictures
that the documentation shows; SCREENSHOTS, a folder, one of each page that is looked at.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from pages import FLAGS, KEY, URL, api

PICTURES = os.environ.get("PICTURES")
SCREENSHOTS = os.environ.get("SCREENSHOTS")
GRANTEE = os.environ["GRANTEE"]
PROVIDER = api("GET", "/v1/connections/pkce")["oauth"]["issuer"]

# Adds up what moves without anybody's doing, before any page's own script runs.
WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver(list => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value; })
  .observe({type: 'layout-shift', buffered: true});
"""


def provider_client(name, **changes):
    """A client of its own at the rehearsal provider, or a change of one."""
    path = "/_rehearsal/clients" if "id" in changes else f"/_rehearsal/clients/{name}"
    request = urllib.request.Request(PROVIDER + path, method="POST", data=json.dumps(changes).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def sign_in_link():
    made = subprocess.run([GRANTEE, "console", "--json"], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(made.stdout)["url"]


class Person:
    """One browser: counts what its user does, and is watched for scripts that fail and for what the policy stops."""

    def __init__(self, browser, name, keyboard=False, **options):
        self.name, self.keyboard = name, keyboard
        self.with_script = options.get("java_script_enabled", True)
        self.context = browser.new_context(**options)
        if self.with_script:
            self.context.add_init_script(WATCH_SHIFTS)
        self.page = self.context.new_page()
        self.complaints, self.done, self.pictures = [], 0, 0
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def sign_in(self):
        self.page.goto(sign_in_link())
        assert self.page.url == URL + "/console", self.page.url
        self.done = 0

    # What people do. With `keyboard`, nothing else than keys.

    def reach(self, target):
        """Goes with Tab to a control; fails where the keyboard cannot."""
        target.wait_for()
        for _ in range(300):
            if target.evaluate("node => node === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{self.name}: Tab does not reach {target}")

    def press(self, role, name, exact=True, within=None):
        """A link or a button: each leads to a page."""
        self.done += 1
        target = (within or self.page).get_by_role(role, name=name, exact=exact).first
        if self.keyboard:
            self.reach(target)
        with self.page.expect_navigation():
            if self.keyboard:
                self.page.keyboard.press("Enter")
            else:
                target.click()
        # On the way to the provider the page goes on by itself.
        self.page.wait_for_url(lambda url: "/connect/" not in url)

    def fill(self, label, text):
        self.done += 1
        target = self.page.get_by_label(label, exact=True).first
        if self.keyboard:
            self.reach(target)
            self.page.keyboard.press("ControlOrMeta+a")
            self.page.keyboard.type(text)
        else:
            target.fill(text)

    def choose(self, name):
        """A radio button; with the keyboard, arrows move within its group."""
        self.done += 1
        target = self.page.get_by_role("radio", name=name).first
        if not self.keyboard:
            return target.check()
        group = target.get_attribute("name")
        self.reach(self.page.locator(f"input[name={group}]:checked").first)
        for _ in range(8):
            if target.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{self.name}: the arrows do not reach {name}")

    def at_provider(self):
        """Signs in at the rehearsal provider, unless that was done before, and agrees."""
        self.page.wait_for_url("**/authorize?**")
        self.page.locator("button[value=approve]").wait_for()
        if not self.page.locator("#username").count():
            self.done += 1
            self.reach(self.page.locator("button[value=approve]"))
            self.page.keyboard.press("Enter")
            return self.page.wait_for_url("**/console/connections/**")
        self.done += 3
        if self.keyboard:
            for selector, text in (("#username", "alice"), ("#password", "password")):
                self.reach(self.page.locator(selector))
                self.page.keyboard.type(text)
            self.reach(self.page.locator("button[value=approve]"))
            self.page.keyboard.press("Enter")
        else:
            self.page.fill("#username", "alice")
            self.page.fill("#password", "password")
            self.page.click("button[value=approve]")
        self.page.wait_for_url("**/console/connections/**")

    # What must be true of every page.

    def looks_right(self, picture=None):
        self.pictures += 1
        self.page.wait_for_load_state()
        if SCREENSHOTS:
            self.page.screenshot(path=f"{SCREENSHOTS}/{self.name}-{self.pictures}.png", full_page=True)
        if PICTURES and picture:
            self.page.screenshot(path=f"{PICTURES}/{picture}.png")
        where = f"{self.name}: {self.page.url.split('?')[0]}"
        assert not re.search(r"gk_[A-Za-z0-9_-]{20}|conf-secret", self.page.content()), f"{where} holds a secret"
        if not self.with_script:
            return
        overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{where} scrolls sideways by {overflow} px"
        shifts = self.page.evaluate("window.shifts")
        assert shifts == 0, f"{where} shifts by {shifts}"
        found = Axe().run(self.page).response["violations"]
        assert not found, f"{where}: {[(item['id'], item['nodes'][0]['html'][:200]) for item in found]}"
        assert not self.page.evaluate("[...Object.values(localStorage), ...Object.values(sessionStorage)].length"), f"{where} stores something"

    def says(self, text):
        expect(self.page.locator("main")).to_contain_text(text, timeout=15_000)

    def close(self):
        # A status of 4xx on a page that says so is shown in the console too.
        bad = [text for text in self.complaints if "Failed to load resource" not in text]
        assert not bad, f"{self.name}: {bad}"
        self.context.close()


def tries(person):
    """The first request that works."""
    person.press("button", "Send a test request")
    person.says("Status 200")


def disconnects(person, connection):
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("link", "Disconnect", exact=False)
    person.looks_right()
    person.press("button", "Disconnect", exact=False)
    person.says("Disconnected. The tokens are gone here")
    person.looks_right()
    with_grant = api("GET", f"/v1/connections/{connection}/grants")["items"]
    assert [grant["state"] for grant in with_grant] == ["revoked"], with_grant


def mended(person, connection, check, before, after):
    """The doctor says what is wrong and changes it."""
    person.page.goto(f"{URL}/console/connections/{connection}/doctor")
    card = person.page.locator(f"#check-{check}")
    expect(card).to_contain_text("What to do")
    person.looks_right("doctor" if connection == "orders-api" else None)
    person.press("button", "Apply this change", within=card)
    person.looks_right()
    oauth = api("GET", f"/v1/connections/{connection}")["oauth"]
    member = {"client_authentication": "client_authentication", "pkce_required": "pkce"}[check]
    assert (oauth[member], before != after) == (after, True), oauth


def authorization_code(browser, name=None, **options):
    """Custom, typed by hand; without a name, by the one that is suggested."""
    connection = (name or "My API").lower().replace(" ", "-")
    provider_client(connection, id=connection, secret="conf-secret-1")
    # The documentation shows the first of these.
    picture = (lambda title: title) if connection == "orders-api" else (lambda title: None)
    person = Person(browser, connection, **options)
    person.sign_in()
    person.looks_right(picture("connections"))
    person.press("link", "New connection")
    person.looks_right(picture("gallery"))
    if name:
        person.fill("Name", name)
    person.press("button", "Fill in the form")
    person.fill("Authorization URL", PROVIDER + "/authorize")
    person.fill("Access Token URL", PROVIDER + "/token")
    person.fill("Client ID", connection)
    person.fill("Client Secret", "conf-secret-1")
    person.fill("API base URL", PROVIDER + "/api")
    person.looks_right(picture("form"))
    person.press("button", "Save and connect")
    person.at_provider()
    tries(person)
    # With the three at the provider.
    assert person.done <= (13 if name else 12), f"{person.done} interactions to the first answer"
    person.looks_right()
    # From now on the provider wants the secret in the body.
    provider_client(connection, client_authentication=["client_secret_post"])
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.looks_right(picture("connection"))
    person.press("button", "Refresh", exact=False)
    person.looks_right()
    mended(person, connection, "client_authentication", "client_secret_basic", "client_secret_post")
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("button", "Refresh", exact=False)
    person.says("Refreshed")
    person.page.goto(f"{URL}/console/connections/{connection}")
    tries(person)
    person.page.goto(f"{URL}/console/connections/{connection}/grants/-")
    person.looks_right(picture("grant"))
    disconnects(person, connection)
    person.close()


def pkce(browser, name="pkce-console", **options):
    """Discovered from the issuer; a public client."""
    client = f"public-{name}"
    provider_client(client, id=client, secret=None, client_authentication=["none"], grant_types=["authorization_code", "refresh_token"], pkce="required")
    person = Person(browser, name, **options)
    person.sign_in()
    person.press("link", "New connection")
    person.fill("Issuer URL", PROVIDER)
    person.press("button", "Discover")
    person.looks_right()
    person.fill("Name", name)
    person.choose("Authorization Code with PKCE")
    person.choose("Plain")
    person.fill("Client ID", client)
    if not person.page.get_by_role("radio", name="None", exact=False).first.is_visible():
        person.page.get_by_text("No secret, or an unusual server").first.click()
    person.page.locator("input[name=client_authentication][value=none]").check()
    person.fill("API base URL", PROVIDER + "/api")
    person.press("button", "Save and connect")
    person.at_provider()
    tries(person)
    connection = re.search(r"connections/([^/?#]+)", person.page.url).group(1)
    provider_client(client, pkce="s256_only")
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("button", "Connect")
    # It refuses before anybody signs in.
    person.page.wait_for_url("**grantee_status=failed**")
    person.looks_right()
    mended(person, connection, "pkce_required", "plain", "S256")
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("button", "Connect")
    person.at_provider()
    tries(person)
    disconnects(person, connection)
    person.close()


def machine(browser, name, grant_type, words, keyboard=False, **options):
    """Client credentials, or a stored password: nobody signs in."""
    client = f"alone-{name}"
    provider_client(client, id=client, secret="conf-secret-2", grant_types=[grant_type, "refresh_token"])
    person = Person(browser, name, keyboard=keyboard, **options)
    person.sign_in()
    person.press("link", "New connection")
    person.fill("Name", name)
    person.press("button", "Fill in the form")
    person.choose(words)
    person.fill("Access Token URL", PROVIDER + "/token")
    person.fill("Client ID", client)
    person.fill("Client Secret", "conf-secret-2")
    if grant_type == "password":
        person.fill("Username", "alice")
        person.fill("Password", "password")
    person.fill("API base URL", PROVIDER + "/api")
    person.press("button", "Save and connect")
    tries(person)
    assert person.done <= 12, f"{person.done} interactions to the first answer"
    person.looks_right()
    connection = re.search(r"connections/([^/?#]+)", person.page.url).group(1)
    provider_client(client, client_authentication=["client_secret_post"])
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("button", "Refresh", exact=False)
    person.looks_right()
    mended(person, connection, "client_authentication", "client_secret_basic", "client_secret_post")
    person.page.goto(f"{URL}/console/connections/{connection}")
    person.press("button", "Refresh", exact=False)
    person.says("Refreshed")
    person.page.goto(f"{URL}/console/connections/{connection}")
    tries(person)
    disconnects(person, connection)
    person.close()


def preset(browser):
    """What a preset knows stands in the form, and what is wrong stands at its field."""
    person = Person(browser, "preset")
    person.sign_in()
    person.page.goto(URL + "/console/new?q=microsoft")
    person.press("link", "Microsoft Entra ID")
    expect(person.page.get_by_label("Authorization URL", exact=True)).to_have_value(re.compile("login.microsoftonline.com"))
    person.looks_right()
    person.press("button", "Save and connect")
    expect(person.page.locator("#errors")).to_be_visible()
    person.looks_right()
    person.close()


def every_page(browser, name, **options):
    """Each page of the console is right: both colour schemes, narrow and wide."""
    person = Person(browser, name, **options)
    person.sign_in()
    paths = ["", "/new", "/new/form?preset=google", "/grants", "/keys", "/webhooks", "/activity", "/settings", "/nothing"]
    paths += ["/connections/pkce" + part for part in ("", "/edit", "/try", "/use", "/agents", "/activity", "/doctor", "/remove")]
    for path in paths:
        person.page.goto(URL + "/console" + path)
        person.looks_right()
    person.page.goto(URL + "/console")
    person.press("button", "Sign out")
    person.looks_right()
    person.page.goto(URL + "/console/keys")
    assert person.page.get_by_label("Admin API key").is_visible()
    person.looks_right()
    person.fill("Admin API key", "gk_wrong")
    person.press("button", "Sign in")
    person.says("key")
    person.looks_right()
    person.fill("Admin API key", KEY)
    person.press("button", "Sign in")
    assert person.page.url == URL + "/console/keys", person.page.url
    person.close()


def main():
    for folder in filter(None, (PICTURES, SCREENSHOTS)):
        os.makedirs(folder, exist_ok=True)
    wide, narrow = {"viewport": {"width": 1280, "height": 860}}, {"viewport": {"width": 390, "height": 800}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        tests = {
            "Authorization Code, typed by hand": lambda: authorization_code(browser, "Orders API", **wide),
            "Authorization Code by keyboard, 390 px": lambda: authorization_code(browser, keyboard=True, **narrow),
            "Authorization Code with PKCE, discovered": lambda: pkce(browser, **wide),
            "Authorization Code with PKCE without JavaScript": lambda: pkce(browser, "no-script", java_script_enabled=False),
            "Client Credentials": lambda: machine(browser, "jobs", "client_credentials", "Client Credentials", **wide),
            "Client Credentials by keyboard": lambda: machine(browser, "keys-only", "client_credentials", "Client Credentials", keyboard=True),
            "Password Credentials, 390 px": lambda: machine(browser, "narrow", "password", "Password Credentials", **narrow),
            "a preset": lambda: preset(browser),
            "every page": lambda: every_page(browser, "light", **wide),
            "every page, dark and narrow": lambda: every_page(browser, "dark", color_scheme="dark", **narrow),
        }
        only = os.environ.get("ONLY")
        for name, test in tests.items():
            if only and only not in name:
                continue
            test()
            print(f"ok  {name}", flush=True)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
