#!/usr/bin/env python3
"""Requests in exact numbers: client.py put|get|hit FIRST COUNT [TOKEN_BYTES]

put  imports the grants user-FIRST … of the connection CONNECTION (`people`), each with a token of its own that lives EXPIRES_IN (86400) seconds
get  reads the token of each of them once; with STEP, of each STEPth
hit  reads the token of the connection `bench` COUNT times

The server is GRANTEE_URL, the key GRANTEE_API_KEY. A few connections at once, each kept alive. Ends at the first wrong answer.
"""
import http.client
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

WORKERS = 8
ADDRESS = urlsplit(os.environ["GRANTEE_URL"]).netloc
CONNECTION = os.environ.get("CONNECTION", "people")
EXPIRES_IN = int(os.environ.get("EXPIRES_IN", "86400"))
STEP = int(os.environ.get("STEP", "1"))
FIELDS = {"Authorization": "Bearer " + os.environ["GRANTEE_API_KEY"], "Content-Type": "application/json"}


def token(number, size):
    return f"{number:08d}-".ljust(size, "x")


def ask(connection, kind, number, size):
    if kind == "put":
        document = {"access_token": token(number, size), "refresh_token": f"refresh-{number}", "expires_in": EXPIRES_IN}
        connection.request("PUT", f"/v1/connections/{CONNECTION}/grants/user-{number}", json.dumps(document), FIELDS)
    elif kind == "get":
        connection.request("GET", f"/v1/connections/{CONNECTION}/token?subject=user-{number}", headers=FIELDS)
    else:
        connection.request("GET", "/v1/connections/bench/token", headers=FIELDS)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{kind} {number}: {response.status} {body[:300]!r}")
    if kind == "get" and json.loads(body)["access_token"] != token(number, size):
        raise SystemExit(f"{kind} {number}: another grant's token")


def work(kind, numbers, size):
    connection = http.client.HTTPConnection(ADDRESS, timeout=30)
    for number in numbers:
        ask(connection, kind, number, size)
    connection.close()


def main():
    kind, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    size = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(work, kind, range(first + worker * STEP, first + count * STEP, WORKERS * STEP), size) for worker in range(WORKERS)]
        for job in jobs:
            job.result()


if __name__ == "__main__":
    main()
