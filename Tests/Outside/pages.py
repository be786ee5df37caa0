"""A person in Chromium connects accounts at the demo: by mouse, by keyboard, without JavaScript, on a narrow screen.

Environment: GRANTEE_URL, GRANTEE_API_KEY. SCREENSHOTS, a folder, keeps a picture of each page.
"""

import json
import os
import sys
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

URL = os.environ["GRANTEE_URL"]
KEY = os.environ["GRANTEE_API_KEY"]
PICTURES = os.environ.get("SCREENSHOTS")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--no-default-browser-check", "--disable-domain-reliability", "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


def api(method, path, body=None):
    request = urllib.request.Request(URL + path, method=method, headers={"Authorization": f"Bearer {KEY}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def begin(connection, subject, **more):
    return api("POST", f"/v1/connections/{connection}/connect", {"subject": subject, **more})


class Person:
    """One browser of a person, watched for what the content security policy stops and for scripts that fail."""

    def __init__(self, browser, name, **options):
        self.name = name
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.pictures = 0
        self.with_script = options.get("java_script_enabled", True)

    def looks_right(self, accessible=True):
        """No sideways scrolling, and nothing that an accessibility checker finds."""
        self.pictures += 1
        if PICTURES:
            self.page.screenshot(path=f"{PICTURES}/{self.name}-{self.pictures}.png", full_page=True)
        if self.with_script:
            overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{self.name}: {self.page.url.split('?')[0]} scrolls sideways by {overflow} px"
            if accessible:
                found = Axe().run(self.page).response["violations"]
                assert not found, f"{self.name}: {[(item['id'], item['nodes'][0]['html']) for item in found]}"

    def close(self):
        # A status of 4xx on a page that says so is shown in the console too.
        bad = [text for text in self.complaints if "Failed to load resource" not in text]
        assert not bad, f"{self.name}: {bad}"
        self.context.close()


def sign_in_and_allow(person, keyboard=False):
    page = person.page
    page.wait_for_url("**/authorize?**")
    if keyboard:
        page.focus("#username")
        page.keyboard.type("alice")
        page.keyboard.press("Tab")
        page.keyboard.type("password")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    else:
        page.fill("#username", "alice")
        page.fill("#password", "password")
        page.click("button[value=approve]")


def ends(person, session, state, words, error=None):
    person.page.wait_for_url("**/connect/result/**")
    assert words in person.page.inner_text("h1"), person.page.inner_text("main")
    assert "code=" not in person.page.url and "state=" not in person.page.url
    person.looks_right()
    view = api("GET", f"/v1/connect-sessions/{session}")
    assert (view["state"], view["error"]) == (state, error), view


def code_flow(browser, connection, name, keyboard=False, **options):
    person = Person(browser, name, **options)
    begun = begin(connection, name)
    person.page.goto(begun["connect_url"])
    assert name in person.page.inner_text("main"), "the page names the subject"
    person.looks_right()
    if keyboard:
        person.page.keyboard.press("Tab")
        assert person.page.evaluate("document.activeElement.textContent").startswith("Continue")
        person.page.keyboard.press("Enter")
    else:
        person.page.click("a.button")
    sign_in_and_allow(person, keyboard)
    ends(person, begun["session"], "connected", "Connected")
    assert api("GET", f"/v1/connections/{connection}/token?subject={name}")["access_token"]
    # The link is over, and says so.
    person.page.goto(begun["connect_url"])
    assert person.page.query_selector("a.button[href$=continue]") is None
    person.looks_right()
    person.close()


def denied(browser):
    person = Person(browser, "denied")
    begun = begin("pkce", "denied")
    person.page.goto(begun["connect_url"])
    person.page.click("a.button")
    person.page.click("button[value=deny]")
    ends(person, begun["session"], "failed", "Access was not granted", "access_denied")
    person.close()


def password_form(browser):
    person = Person(browser, "password")
    begun = begin("password-end-user", "typed")
    person.page.goto(begun["connect_url"])
    person.looks_right()
    person.page.fill("#username", "alice")
    person.page.fill("#password", "wrong")
    person.page.keyboard.press("Enter")
    person.page.wait_for_selector("[role=alert]")
    assert person.page.input_value("#username") == "alice", "what was typed stays"
    assert person.page.input_value("#password") == "", "but for the password"
    person.looks_right()
    person.page.fill("#password", "password")
    person.page.click("button")
    ends(person, begun["session"], "connected", "Connected")
    person.close()


def another_browser(browser):
    """A link that was begun in one browser is not finished in another."""
    one, other = Person(browser, "one"), Person(browser, "other")
    begun = begin("pkce", "two-browsers")
    one.page.goto(begun["connect_url"])
    one.page.click("a.button")
    other.page.goto(one.page.url)
    sign_in_and_allow(other)
    ends(other, begun["session"], "failed", "Another browser", "browser_mismatch")
    one.close()
    other.close()


def main():
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        tests = {
            "authorization code": lambda: code_flow(browser, "authorization-code", "plain-code"),
            "PKCE S256, by keyboard": lambda: code_flow(browser, "pkce", "keyboard", keyboard=True),
            "PKCE plain, 390 px, dark": lambda: code_flow(
                browser, "pkce-plain", "narrow", viewport={"width": 390, "height": 800}, color_scheme="dark"),
            "without JavaScript": lambda: code_flow(browser, "pkce", "no-script", java_script_enabled=False),
            "denied consent": lambda: denied(browser),
            "username and password form": lambda: password_form(browser),
            "another browser": lambda: another_browser(browser),
        }
        for name, test in tests.items():
            test()
            print(f"ok  {name}")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
