#!/usr/bin/env python3
"""How long a claim of 100 due grants takes: claim.py DATABASE ROUNDS

On the database itself, which no server may use meanwhile, by the statements of SQLiteStore.claimDue, each claim in one
transaction that is synced. Each round takes the next 100 by the time they are due. Prints the median in microseconds.
"""
import sqlite3
import statistics
import sys
import time

LIMIT = 100


def main():
    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")
    (connection,) = database.execute('SELECT connection_uid FROM "grant" WHERE due_at IS NOT NULL LIMIT 1').fetchone()
    times = []
    for _ in range(int(sys.argv[2])):
        (now,) = database.execute(
            'SELECT due_at FROM "grant" WHERE connection_uid = ? AND due_at IS NOT NULL ORDER BY due_at LIMIT 1 OFFSET ?', (connection, LIMIT - 1)
        ).fetchone()
        began = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(
            'SELECT uid, * FROM "grant" WHERE connection_uid = ? AND due_at <= ? ORDER BY due_at LIMIT ?', (connection, now, LIMIT)
        ).fetchall()
        for row in rows:
            database.execute('UPDATE "grant" SET due_at = ? WHERE uid = ?', (now + 86_400_000, row[0]))
        database.execute("COMMIT")
        times.append(time.perf_counter() - began)
        if len(rows) < LIMIT:
            raise SystemExit(f"{len(rows)} grants were due, not {LIMIT}")
    database.close()
    print(round(statistics.median(times) * 1e6))


if __name__ == "__main__":
    main()
