"""A receiver that fails, is killed and comes back gets every event, in order, and an implementation of Standard Webhooks that
is not ours accepts each message.

Environment: GRANTEE_URL, GRANTEE_API_KEY; the server may reach loopback.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from unittest import mock

from standardwebhooks import Webhook, WebhookVerificationError

CONNECTION = "webhooks-outside"


def api(method, path, body=None):
    request = urllib.request.Request(
        os.environ["GRANTEE_URL"] + path, method=method, headers={"Authorization": f"Bearer {os.environ['GRANTEE_API_KEY']}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def serve(port, log, behaviours):
    """The receiver's own process. It writes down each message before it behaves: `kill` ends it before it answers, a number is
    the status it answers; when none is left it takes everything."""
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with lock:
                behaviour = behaviours.pop(0) if behaviours else "200"
                with open(log, "a") as file:
                    file.write(json.dumps({"headers": dict(self.headers), "body": body, "behaviour": behaviour}) + "\n")
            if behaviour == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            self.send_response(int(behaviour))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


class Receiver:
    def __init__(self, folder):
        self.log = os.path.join(folder, "messages")
        open(self.log, "w").close()
        self.port = 0
        self.process = None

    def start(self, *behaviours):
        self.process = subprocess.Popen([sys.executable, __file__, "serve", str(self.port), self.log, *behaviours], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()

    def messages(self):
        with open(self.log) as file:
            messages = [json.loads(line) for line in file]
        for message in messages:
            message["headers"] = {name.lower(): value for name, value in message["headers"].items()}
            message["id"] = message["headers"]["webhook-id"]
            message["event"] = json.loads(message["body"])
        return [message for message in messages if message["event"]["data"]["connection"] == CONNECTION]

    def taken(self):
        return {message["id"] for message in self.messages() if message["behaviour"].startswith("2")}


def wait(what, condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen in time: {what}"
        time.sleep(0.1)


def put(subject):
    api("PUT", f"/v1/connections/{CONNECTION}/grants/{subject}", {"access_token": "not-in-any-message", "refresh_token": "nor-this"})


def refused(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError as error:
        return str(error)
    raise AssertionError("it was taken")


def in_six_minutes():
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(minutes=6)

    return mock.patch("standardwebhooks.webhooks.datetime", Later)


def main():
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(folder)
        receiver.start("503")
        oauth = {
            "grant_type": "authorization_code", "client_id": "client", "authorization_url": "https://as.example/authorize",
            "token_url": "https://as.example/token",
        }
        api("POST", "/v1/connections", {"id": CONNECTION, "name": "Webhooks", "oauth": oauth})
        made = api("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{receiver.port}/hook?x=1", "events": ["*"]})
        webhook = Webhook(made["secret"])
        path = f"/v1/webhooks/{made['id']}"
        try:
            check(receiver, webhook, path)
        finally:
            receiver.stop()
            api("DELETE", path)
            api("DELETE", f"/v1/connections/{CONNECTION}")


def check(receiver, webhook, path):
    def deliveries():
        return [item for item in api("GET", f"{path}/deliveries?limit=200")["items"] if item["connection"] == CONNECTION]

    def all_taken(count):
        return lambda: len(receiver.taken()) == count and all(item["state"] == "delivered" for item in deliveries())

    # Refused once, then taken.
    put("a")
    wait("the first try", lambda: len(receiver.messages()) == 1)
    put("b")
    api("DELETE", f"/v1/connections/{CONNECTION}/grants/a")
    wait("three events", all_taken(3))
    print("ok  a receiver that fails first gets every event")

    # Killed with a message in its hands, and started again.
    receiver.stop()
    receiver.start("kill")
    put("a")
    receiver.process.wait(timeout=60)
    put("a")
    put("b")
    receiver.start()
    wait("six events", all_taken(6))
    killed = [message for message in receiver.messages() if message["behaviour"] == "kill"]
    assert len(killed) == 1 and killed[0]["id"] in receiver.taken(), "what it had not answered came again"
    print("ok  a receiver that is killed in mid-delivery gets every event")

    messages = receiver.messages()
    assert {message["id"] for message in messages} == {item["event"] for item in deliveries()}
    expected = {"a": ["grant.created", "grant.revoked", "grant.refreshed", "grant.refreshed"], "b": ["grant.created", "grant.refreshed"]}
    for subject, types in expected.items():
        seen = {}
        for message in messages:
            if message["event"]["data"]["subject"] == subject:
                seen.setdefault(message["id"], message["event"])
        assert [event["type"] for event in seen.values()] == types, (subject, seen)
        generations = [event["data"]["generation"] for event in seen.values()]
        assert generations == sorted(generations), (subject, generations)
        # Nothing comes again once a later event was taken.
        order = list(seen)
        arrivals = [order.index(message["id"]) for message in messages if message["event"]["data"]["subject"] == subject]
        assert arrivals == sorted(arrivals), (subject, arrivals)
    print("ok  the events of each grant arrive in order")

    for message in messages:
        assert webhook.verify(message["body"], message["headers"]) == message["event"]
        assert "not-in-any-message" not in message["body"] and "nor-this" not in message["body"]
    body, headers = messages[-1]["body"], messages[-1]["headers"]
    assert refused(webhook, body.replace('"b"', '"c"').replace('"a"', '"c"'), headers) == "No matching signature found"
    with in_six_minutes():
        assert refused(webhook, body, headers) == "Message timestamp too old"
        # A new time does not make it a new message.
        fresh = dict(headers, **{"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 360)})
        assert refused(webhook, body, fresh) == "No matching signature found"
    print("ok  standardwebhooks takes every message, and none that was changed or is six minutes old")

    assert api("POST", f"{path}/replay")["replayed"] == 0
    last = deliveries()[0]
    assert api("POST", f"{path}/replay", {"delivery": last["id"]})["replayed"] == 1
    wait("the replay", lambda: sum(message["id"] == last["event"] for message in receiver.messages()) == 2)
    assert webhook.verify(receiver.messages()[-1]["body"], receiver.messages()[-1]["headers"])["type"] == last["type"]
    print("ok  a delivery is replayed")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        main()
