"""docs/operations.md and deploy/, tried: its blocks are run as they stand there, with the files of deploy/, against a PostgreSQL, an
nginx and two nodes of a folder of its own. Nodes are restarted one after the other under load, and no request fails.

Usage: operations.py GRANTEE. Needs PostgreSQL's server and nginx: scripts/prepare tests.
"""

import concurrent.futures
import contextlib
import glob
import http.client
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# A node of a debug build on a busy machine.
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, check, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        result = check()
        if result:
            return result
        time.sleep(0.1)
    sys.exit(f"never: {what}")


def step(text):
    print(f"   {text}", flush=True)


# The page


class Page:
    """The blocks that are to be run, by name; in the end each was."""

    def __init__(self, path):
        self.blocks = dict(re.findall(r"^```sh run (\S+)\n(.*?)^```$", path.read_text(), re.M | re.S))
        self.was_run = set()

    def take(self, name):
        self.was_run.add(name)
        return self.blocks[name]

    def finish(self):
        assert self.blocks.keys() == self.was_run, f"not run: {self.blocks.keys() - self.was_run}"


class Shell:
    """Runs blocks as root would on a machine of its own: places, names and ports of the page become those of the folder."""

    def __init__(self, page, folder, replacements, environment):
        self.page, self.replacements = page, replacements
        self.environment = environment
        tools = folder / "bin"
        tools.mkdir()
        # `sudo` to somebody else is the database's superuser here; `systemctl restart` asks this program for it.
        self.requests = folder / "restart"
        for name, text in {
            "sudo": 'if [ "$1" = -u ]; then shift 2; fi\nexec "$@"',
            "systemctl": f'test "$*" = "restart grantee"\nprintf %s "$NODE" > {self.requests}.new\nmv {self.requests}.new {self.requests}\n'
            f"while [ -e {self.requests} ]; do sleep 0.05; done",
        }.items():
            tool = tools / name
            tool.write_text(f"#!/bin/sh\nset -e\n{text}\n")
            tool.chmod(0o755)
        self.environment["PATH"] = f"{tools}:{os.environ['PATH']}"

    def replaced(self, text):
        for old, new in self.replacements.items():
            text = text.replace(old, new)
        return text

    def run(self, name, change=lambda text: text, **environment):
        text = self.replaced(change(self.page.take(name)))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], env=self.environment | environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


# Programs


def as_other(user):
    if os.getuid() != 0:
        return []
    group = subprocess.run(["id", "-g", user], check=True, capture_output=True, text=True).stdout.strip()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


class PostgreSQL:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
        self.bin = found[-1] if found else os.path.dirname(shutil.which("initdb") or sys.exit("PostgreSQL is not installed: run scripts/prepare tests"))
        (folder / "socket").mkdir(parents=True)
        (folder / "data").mkdir(mode=0o700)
        self.user = as_other("postgres")
        self.certificate = self._make_certificate()
        if self.user:
            for path in [folder, *folder.rglob("*")]:
                shutil.chown(path, "postgres")
        self._run("initdb", "-D", "data", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C")
        with open(folder / "data/postgresql.conf", "a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{folder}/socket'\nfsync = off\n"
                f"ssl = on\nssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\n")
        self.start()

    def _make_certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=database", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "server.key", "-out", self.folder / "server.crt"],
            check=True, capture_output=True)
        (self.folder / "server.key").chmod(0o600)
        return self.folder / "server.crt"

    def _run(self, program, *arguments):
        done = subprocess.run(self.user + [f"{self.bin}/{program}", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self):
        # Its output goes to the log file: a pipe would be held open by the server.
        subprocess.run(
            self.user + [f"{self.bin}/pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "30", "start"], cwd=self.folder, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def ask(self, sql, database="grantee"):
        done = subprocess.run(
            ["psql", "-h", self.folder / "socket", "-p", str(self.port), "-U", "postgres", "-d", database, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def unit_environment(shell):
    """What deploy/grantee.service and deploy/grantee.env set."""
    settings = {}
    for line in (DEPLOY / "grantee.service").read_text().splitlines():
        if line.startswith("Environment="):
            name, value = line.removeprefix("Environment=").split("=", 1)
            settings[name] = shell.replaced(value.replace("%d", "/etc/grantee").replace("%S", "/var/lib"))
    for line in (DEPLOY / "grantee.env").read_text().splitlines():
        if line and not line.startswith("#"):
            name, value = line.split("=", 1)
            settings[name] = shell.replaced(value)
    return settings


class Node:
    def __init__(self, grantee, name, port, metrics_port, environment, log):
        self.grantee, self.name, self.port, self.metrics_port, self.log = grantee, name, port, metrics_port, log
        self.environment = environment | {"GRANTEE_NODE": name, "GRANTEE_PORT": str(port), "GRANTEE_METRICS_PORT": str(metrics_port)}
        self.process = None
        self.url = f"http://127.0.0.1:{port}"

    def start(self):
        # As systemd starts it: with nothing of this program's environment.
        self.process = subprocess.Popen(
            [self.grantee, "serve"], env={"PATH": "/usr/bin:/bin"} | self.environment, stdout=subprocess.DEVNULL, stderr=open(self.log, "a"))
        eventually(f"{self.name} is ready", lambda: self.running() and self.readiness()[0] == 200)

    def running(self):
        assert self.process.poll() is None, f"{self.name} ended:\n{open(self.log).read()[-3000:]}"
        return True

    def readiness(self):
        try:
            with urllib.request.urlopen(self.url + "/health/ready", timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return None, None

    def stop(self):
        """- Returns: what /health/ready said while it ended."""
        self.process.send_signal(signal.SIGTERM)
        seen = []
        while self.process.poll() is None:
            status, body = self.readiness()
            if status is not None:
                seen.append((status, body))
            time.sleep(0.05)
        assert self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}:\n{open(self.log).read()[-3000:]}"
        return seen

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=15) as answer:
            return answer.read().decode()


class Nginx:
    """deploy/nginx.conf with other ports."""

    def __init__(self, folder, port, plain_port, nodes):
        folder.mkdir()
        self.certificate = folder / "grantee.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", folder / "grantee.key", "-out", self.certificate], check=True, capture_output=True)
        text = (DEPLOY / "nginx.conf").read_text()
        for old, new in {
            "127.0.0.1:8081": f"127.0.0.1:{nodes[0]}", "127.0.0.1:8082": f"127.0.0.1:{nodes[1]}", "listen 443": f"listen 127.0.0.1:{port}",
            "listen 80;": f"listen 127.0.0.1:{plain_port};", "/etc/nginx/": f"{folder}/", "grantee.example.com": "localhost",
        }.items():
            assert old in text, f"deploy/nginx.conf has no {old}"
            text = text.replace(old, new)
        (folder / "grantee.conf").write_text(text)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        user = "user root;\n" if os.getuid() == 0 else ""
        (folder / "main.conf").write_text(
            f"{user}daemon off;\nworker_processes 2;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{ worker_connections 1024; }}\n"
            f"http {{\n{temporary}access_log {folder}/requests;\ninclude {folder}/grantee.conf;\n}}\n")
        self.errors, self.requests, self.plain_port = folder / "errors", folder / "requests", plain_port
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([program, "-c", folder / "main.conf", "-e", self.errors], stderr=subprocess.DEVNULL)
        eventually("nginx listens", lambda: self.listens(port))

    def listens(self, port):
        assert self.process.poll() is None, self.errors.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Caddy:
    """deploy/Caddyfile with other names and ports."""

    def __init__(self, folder, program, port, certificate, key, nodes):
        folder.mkdir()
        text = (DEPLOY / "Caddyfile").read_text()
        for old, new in {
            "\n{\n": "\n{\n\tadmin off\n\tauto_https disable_redirects\n",
            "grantee.example.com {": f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}",
            "127.0.0.1:8081": f"127.0.0.1:{nodes[0]}", "127.0.0.1:8082": f"127.0.0.1:{nodes[1]}",
        }.items():
            assert old in text, f"deploy/Caddyfile has no {old}"
            text = text.replace(old, new)
        file = folder / "Caddyfile"
        file.write_text(text)
        self.errors, self.port = folder / "errors", port
        self.process = subprocess.Popen(
            [program, "run", "--adapter", "caddyfile", "--config", file], env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL, stderr=open(self.errors, "w"))
        eventually("Caddy listens", lambda: Nginx.listens(self, port))

    def stop(self):
        self.process.terminate()
        self.process.wait()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class API(http.server.BaseHTTPRequestHandler):
    """What the gateway calls: it says back what it was sent."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) if self.command == "POST" else b"got"
        ok = self.headers["Authorization"].startswith("Bearer ")
        self.send_response(200 if ok else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *arguments):
        pass


# Load


class Load:
    """Callers that ask without a pause, over connections that are kept; each answer that is not right is written down."""

    def __init__(self, port, certificate, key, callers=12, methods=("GET", "POST")):
        self.port, self.key, self.methods = port, key, methods
        self.tls = ssl.create_default_context(cafile=certificate)
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.count, self.slowest, self.failures = 0, 0.0, []
        self.threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)

    def _ask(self, number):
        kinds = [
            ("GET", "/v1/connections/machine/token", None, lambda body: "access_token" in json.loads(body)),
            ("GET", "/gateway/echo/read", None, lambda body: body == b"got"),
            ("POST", "/gateway/echo/write", f"body of {number}".encode(), lambda body: body == f"body of {number}".encode()),
            ("GET", "/v1/grants?limit=5", None, lambda body: "items" in json.loads(body)),
        ]
        kinds = [kind for kind in kinds if kind[0] in self.methods]
        connection = None
        turn = number
        while not self.ending.is_set():
            method, path, body, is_right = kinds[turn % len(kinds)]
            turn += 1
            begun = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPSConnection("localhost", self.port, timeout=50, context=self.tls)
                connection.request(method, path, body, {"Authorization": f"Bearer {self.key}"})
                answer = connection.getresponse()
                content = answer.read()
                failure = None if answer.status == 200 and is_right(content) else f"{method} {path}: {answer.status} {content[:200]!r}"
                if answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = f"{method} {path}: {error!r}"
                connection = None
            with self.lock:
                self.count += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if failure:
                    self.failures.append(failure)

    def expect_whole(self):
        assert self.count > 100, f"only {self.count} requests"
        assert not self.failures, f"{len(self.failures)} of {self.count} requests failed:\n" + "\n".join(self.failures[:10])


# The page, from its top to its end


class Site:
    def __init__(self, grantee, folder):
        self.folder = folder
        for place in ["etc", "backups", "lib"]:
            (folder / place).mkdir()
        self.database = PostgreSQL(folder / "postgresql")
        self.ports = [free_port(), free_port()]
        self.port = free_port()
        self.page = Page(ROOT / "docs/operations.md")
        binaries = folder / "grantee-bin"
        binaries.mkdir()
        (binaries / "grantee").symlink_to(grantee)
        self.shell = Shell(
            self.page, folder,
            {
                "/etc/grantee": f"{folder}/etc/grantee", "/var/backups": f"{folder}/backups", "/var/lib": f"{folder}/lib",
                "db.example.com/": f"127.0.0.1:{self.database.port}/", "127.0.0.1:8081": f"127.0.0.1:{self.ports[0]}",
                "127.0.0.1:8082": f"127.0.0.1:{self.ports[1]}", "https://grantee.example.com": f"https://localhost:{self.port}",
            },
            {"PGHOST": f"{folder}/postgresql/socket", "PGPORT": str(self.database.port), "PGUSER": "postgres", "HOME": str(folder), "LC_ALL": "C"})
        self.shell.environment["PATH"] = f"{binaries}:{self.shell.environment['PATH']}"
        self.grantee = grantee
        self.nodes, self.nginx, self.provider = [], None, None
        self.restarts = threading.Thread(target=self.serve_restarts, daemon=True)
        self.ended = []

    def serve_restarts(self):
        """What `systemctl restart grantee` does on the machine of a node."""
        while True:
            if self.shell.requests.exists():
                node = self.nodes[int(self.shell.requests.read_text())]
                self.ended.append(node.stop())
                node.start()
                self.shell.requests.unlink()
            time.sleep(0.02)

    def restart_all(self):
        self.ended = []
        for number, port in enumerate(self.ports):
            self.shell.run("restart", lambda text: text.replace("127.0.0.1:8081", f"127.0.0.1:{port}"), NODE=str(number))

    @property
    def key(self):
        return (self.folder / "etc/grantee/admin-key").read_text().strip()

    def api(self, node, method, path, body=None):
        request = urllib.request.Request(node.url + path, method=method, headers={"Authorization": f"Bearer {self.key}"})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=40) as answer:
            return json.loads(answer.read() or b"null")

    def set_up(self):
        step("a role and a database")
        self.shell.run("database")
        shutil.copy(self.database.certificate, self.folder / "etc/grantee/database-ca.crt")
        self.shell.run("keys")
        for name in ["database-url", "master-keys", "admin-key"]:
            mode = (self.folder / "etc/grantee" / name).stat().st_mode & 0o777
            assert mode == 0o600, f"{name} has mode {mode:o}"
        owned = self.database.ask("SELECT nspname FROM pg_namespace WHERE pg_get_userbyid(nspowner) = 'grantee'")
        assert owned == "grantee", owned
        assert self.database.ask("SELECT has_schema_privilege('grantee', 'public', 'CREATE,USAGE')") == "f"
        assert self.database.ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'grantee'") == "postgres"

        step("two nodes, nginx in front")
        environment = unit_environment(self.shell) | {"GRANTEE_EGRESS_ALLOW": "127.0.0.0/8"}
        for name, port in zip(["one", "two"], self.ports):
            self.nodes.append(Node(self.grantee, name, port, free_port(), environment, self.folder / f"{name}.log"))
        # At once: of many that start on an empty database one makes the tables.
        starts = [threading.Thread(target=node.start) for node in self.nodes]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        assert all(node.readiness()[0] == 200 for node in self.nodes)
        self.shell.run("ready")
        over_tls = self.database.ask("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'grantee' AND NOT ssl")
        assert over_tls == "0", f"{over_tls} connections without TLS"
        plain = free_port()
        self.nginx = Nginx(self.folder / "nginx", self.port, plain, self.ports)
        self.restarts.start()

        self.provider = subprocess.Popen(
            [self.grantee, "provider", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        provider = eventually("the provider listens", lambda: re.search(r"http://\S+", self.provider.stdout.readline())).group().rstrip("/")
        api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), API)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        oauth = {"grant_type": "client_credentials", "token_url": f"{provider}/token", "client_id": "machine", "client_secret": "machine-secret"}
        for name, base in [("machine", None), ("echo", f"http://127.0.0.1:{api.server_address[1]}")]:
            document = {"id": name, "name": name, "oauth": oauth} | ({"base_url": base} if base else {})
            self.api(self.nodes[0], "POST", "/v1/connections", document)
        self.shell.run("ask")
        chains = self.shell.run("activity")
        assert re.search(r"^one +\d+ .* whole$", chains, re.M), chains

    def expect_one_token(self):
        tokens = {self.api(node, "GET", "/v1/connections/machine/token")["access_token"] for node in self.nodes}
        assert len(tokens) == 1, f"the nodes give {len(tokens)} different tokens"

    def watch(self):
        step("metrics, alerts and the dashboard speak of what is there")
        nodes = [set(re.findall(r"^# TYPE (\S+)", node.metrics(), re.M)) for node in self.nodes]
        known = set.union(*nodes) | {"up"}
        # Counters that begin with the first event; the README's table has them too.
        described = set(re.findall(r"^\| `(grantee_\w+|process_\w+)`", (ROOT / "README.md").read_text(), re.M))
        described |= set(re.findall(r"`((?:grantee|process)_\w+)`", (ROOT / "README.md").read_text()))
        for name in known - {"up"}:
            assert name in described, f"{name} is not in README.md"
        rules = (DEPLOY / "prometheus-rules.yml").read_text()
        dashboard = json.loads((DEPLOY / "grafana.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        assert len(expressions) > 8, "the dashboard is empty"
        used = set(re.findall(r"\b((?:grantee|process)_\w+)", rules + "\n".join(expressions)))
        for name in used:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert base in known | described, f"{name} is used in deploy/, and no server has it"
        assert "grantee_nodes 2" in self.nodes[0].metrics()
        age = float(re.search(r"^grantee_changes_age_seconds (\S+)", self.nodes[0].metrics(), re.M).group(1))
        assert age < 2, age
        assert 'grantee_ready 1' in self.nodes[0].metrics()

    def roll(self):
        step("nodes are restarted one after the other under load")
        for round in range(3):
            with Load(self.port, self.nginx.certificate, self.key) as load:
                time.sleep(2)
                self.restart_all()
                time.sleep(2)
            step(f"{load.count} requests, the slowest {load.slowest:.2f} s, {len(load.failures)} failed")
            load.expect_whole()
            for seen in self.ended:
                # Readiness went off before the listener closed.
                assert any(status == 503 and body["not_ready"] == ["ending"] for status, body in seen), seen
                assert all(status == 503 for status, _ in seen[1:]), seen

    def roll_behind_caddy(self):
        program = shutil.which("caddy")
        if not program:
            return step("Caddy is not installed: its file is not tried")
        step("the same behind Caddy, which asks whether nodes are ready")
        port = free_port()
        certificate = self.nginx.certificate
        caddy = Caddy(self.folder / "caddy", program, port, certificate, certificate.with_suffix(".key"), self.ports)
        try:
            # Until its first round of questions all nodes count as ready.
            time.sleep(2)
            # Caddy 2.6 cuts off one POST in some thousands by itself, whether or not anything is restarted.
            with Load(port, certificate, self.key, methods=("GET",)) as load:
                time.sleep(2)
                for _ in range(2):
                    self.restart_all()
                    time.sleep(2)
            step(f"{load.count} requests, the slowest {load.slowest:.2f} s, {len(load.failures)} failed")
            load.expect_whole()
        finally:
            caddy.stop()

    def lose_database(self):
        step("the database is away, and comes back")
        token = self.api(self.nodes[0], "GET", "/v1/connections/machine/token")["access_token"]
        self.database.stop("immediate")
        for node in self.nodes:
            eventually("not ready", lambda: node.readiness()[0] == 503)
            assert node.readiness()[1]["not_ready"][0] == "database", node.readiness()
            assert "grantee_ready 0" in node.metrics()
        # What was confirmed within the last second may still be served.
        time.sleep(1.5)
        try:
            self.api(self.nodes[0], "GET", "/v1/connections/machine/token")
            sys.exit("a token was given out that nobody could confirm")
        except urllib.error.HTTPError as error:
            assert error.code == 503 and json.load(error)["code"] == "unavailable"
        self.database.start()
        for node in self.nodes:
            eventually("ready again", lambda: node.readiness()[0] == 200)
        assert self.api(self.nodes[1], "GET", "/v1/connections/machine/token")["access_token"] == token
        assert 'code="connect"' in self.nodes[0].metrics()

    def back_up(self):
        step("a backup, restored into another database")
        password = "a-password-that-is-in-no-dump"
        document = {"id": "later", "name": "Later", "oauth": {
            "grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": password}}
        self.api(self.nodes[0], "POST", "/v1/connections", document)
        self.shell.run("backup")
        dump = (self.folder / "backups/grantee.dump").read_bytes()
        assert len(dump) > 10_000 and password.encode() not in dump
        self.api(self.nodes[0], "DELETE", "/v1/connections/later")
        self.shell.run("restore")
        for node in self.nodes:
            node.stop()
        url = self.folder / "etc/grantee/database-url"
        url.write_text(url.read_text().replace("/grantee?", "/grantee_restored?"))
        for node in self.nodes:
            node.start()
        self.shell.run("restored")
        # As it was then: what was removed since is there again.
        for node in self.nodes:
            assert self.api(node, "GET", "/v1/connections/later")["id"] == "later"
        assert self.api(self.nodes[0], "GET", "/v1/vault")["restored"], "the vault does not say that it came from a backup"
        self.expect_one_token()

    def rotate(self):
        step("the files of master keys, with and without a newline at their end")
        for end in ["", "\n"]:
            sample = self.folder / f"keys-{len(end)}"
            sample.mkdir()
            file = sample / "master-keys"
            file.write_text("k1:OLD" + end)
            file.chmod(0o600)
            there = lambda text: text.replace("/etc/grantee", str(sample))
            for name, expected in [("rotate-add", ["k1", "k2"]), ("rotate-first", ["k2", "k1"]), ("rotate-remove", ["k2"])]:
                self.shell.run(name, there)
                keys = [entry.split(":")[0] for entry in file.read_text().split()]
                assert keys == expected and "," not in file.read_text(), f"{name}: {keys}"
                assert file.stat().st_mode & 0o777 == 0o600, f"{name}: mode {file.stat().st_mode:o}"

        step("another master key across two nodes, under load")
        first = (self.folder / "etc/grantee/master-keys").read_text()
        with Load(self.port, self.nginx.certificate, self.key, callers=4) as load:
            self.shell.run("rotate-add")
            self.restart_all()
            self.shell.run("rotate-first")
            self.restart_all()
            assert (self.folder / "etc/grantee/master-keys").read_text().split()[1] == first.strip()
            self.shell.run("rotate")
            self.shell.run("rotate-remove")
            self.restart_all()
        load.expect_whole()
        now = (self.folder / "etc/grantee/master-keys").read_text()
        assert now.startswith("k2:") and len(now.split()) == 1, "the old key was not removed"
        assert self.database.ask("SELECT string_agg(DISTINCT master_key_id, ' ') FROM grantee.data_key", "grantee_restored") == "k2"
        self.expect_one_token()

    def remove_node(self):
        step("a node is removed, another dies")
        self.nodes[1].stop()
        assert self.database.ask("SELECT string_agg(name, ' ') FROM grantee.node", "grantee_restored") == "one"
        self.shell.replacements["127.0.0.1:8082"] = self.shell.replacements["127.0.0.1:8081"]
        self.shell.run("ask")
        self.nodes[1].start()
        self.nodes[1].kill()
        recovered = lambda: [
            entry for entry in self.api(self.nodes[0], "GET", "/v1/activity?limit=50")["items"]
            if entry["action"] == "node.recovered" and "two" in (entry.get("detail") or "")]
        eventually("a dead node is noticed", recovered)

    def lose_nodes(self):
        step("callbacks come while a node is down, and while both are")
        codes = []

        def visit(port, path):
            """As a browser does, with a code that was not there before."""
            codes.append(f"code-{len(codes)}-{os.urandom(12).hex()}")
            scheme, tls = ("http", None) if port == self.nginx.plain_port else ("https", ssl.create_default_context(cafile=self.nginx.certificate))
            request = urllib.request.Request(
                f"{scheme}://localhost:{port}{path.format(codes[-1])}", headers={"Referer": f"https://localhost:{port}/connect/{codes[-1]}"})
            try:
                with urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=tls)).open(request, timeout=30) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        paths = [
            "/oauth/callback/app?state=s&code={}", "/connect/{}", "/connect/{}/continue", "/console/sign-in/{}", "//connect/{}", "/assets/grantee.css"]
        program = shutil.which("caddy")
        key = self.nginx.certificate.with_suffix(".key")
        caddy = Caddy(self.folder / "caddy-down", program, free_port(), self.nginx.certificate, key, self.ports) if program else None
        doors = [self.port] + ([caddy.port] if caddy else [])
        try:
            assert visit(self.nginx.plain_port, paths[0]) == 301
            # Twice: one of the two goes to the node that is down.
            for path in paths * 2:
                for door in doors:
                    assert visit(door, path) < 500, path
                # nginx leaves a node alone for a second that refused it.
                time.sleep(1.1)
            self.nodes[0].stop()
            with concurrent.futures.ThreadPoolExecutor(12) as visitors:
                answers = list(visitors.map(lambda visited: visit(*visited), [(door, path) for door in doors for path in paths]))
            assert set(answers) <= {502, 503}, answers
            # What holds no secret is still in the log: it has to tell of a node that is down.
            visit(self.port, "/v1/connections")
            assert "/v1/connections" in self.nginx.errors.read_text(), self.nginx.errors.read_text()
        finally:
            if caddy:
                caddy.stop()
        logs = [self.nginx.errors, self.nginx.requests, *([caddy.errors] if caddy else []), *self.folder.glob("*.log")]
        for log in logs:
            text = log.read_text()
            for code in codes[:-1]:
                assert code not in text, f"{log} holds a code:\n" + "\n".join(line for line in text.splitlines() if code in line)
        if caddy:
            assert '"logger":"http.log.error"' in caddy.errors.read_text(), "Caddy's log does not tell of nodes that are down"

    def check_files(self):
        step("the unit and the image's description")
        if shutil.which("systemd-analyze"):
            unit = self.folder / "grantee.service"
            unit.write_text((DEPLOY / "grantee.service").read_text().replace("/usr/local/bin/grantee", str(self.grantee)))
            done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr.strip(), done.stderr
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-500:]
        check_containerfile(DEPLOY / "Containerfile")

    def check_logs(self):
        step("no secret is in a log")
        secrets = [text for name in ["admin-key", "master-keys"] for text in re.split(r"[,:\s]", (self.folder / "etc/grantee" / name).read_text())]
        secrets.append(re.search(r":([^:@]+)@", (self.folder / "etc/grantee/database-url").read_text()).group(1))
        for log in [*self.folder.glob("*.log"), self.folder / "postgresql/log", self.nginx.errors, self.nginx.requests]:
            text = log.read_text()
            for secret in secrets:
                assert len(secret) < 20 or secret not in text, f"{log.name} holds a secret"

    def close(self):
        for node in self.nodes:
            node.kill()
        for process in [self.nginx, self.provider]:
            if process is not None:
                process.stop() if isinstance(process, Nginx) else process.kill()
        if (self.database.folder / "data/postmaster.pid").exists():
            self.database.stop("immediate")


def check_containerfile(path):
    """No engine is needed: its instructions are known ones, each shell command is one, and what it copies is there."""
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    stages = set()
    for line in filter(None, (line.strip() for line in re.sub(r"\\\n", " ", text).splitlines())):
        instruction, rest = line.split(None, 1)
        assert instruction in known, line
        if instruction == "FROM" and " AS " in rest:
            stages.add(rest.split(" AS ")[1])
        if instruction == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)
        if instruction in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(rest)), line
        if instruction == "COPY":
            words = shlex.split(rest)
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in stages, line
            else:
                for source in words[:-1]:
                    assert "[" in source or (ROOT / source).exists(), line


def main():
    grantee = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="operations-") as name:
        folder = pathlib.Path(name)
        # The database's own user has to get to its part of it.
        folder.chmod(0o755)
        site = Site(grantee, folder)
        try:
            site.check_files()
            site.set_up()
            site.expect_one_token()
            site.watch()
            site.roll()
            site.roll_behind_caddy()
            site.lose_database()
            site.back_up()
            site.rotate()
            site.remove_node()
            site.lose_nodes()
            site.check_logs()
            site.page.finish()
        except BaseException:
            for log in folder.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            site.close()
    print("   all blocks of docs/operations.md were run")


if __name__ == "__main__":
    main()
