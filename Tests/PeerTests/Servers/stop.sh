#!/usr/bin/env bash
# stop.sh STATE_DIR - ends the server which STATE_DIR/pid names, and nothing else. Does nothing where none runs.
set -euo pipefail
state=$(cd "${1:?usage: stop.sh STATE_DIR}" && pwd)
[ -f "$state/pid" ] || exit 0
pid=$(cat "$state/pid")

# A number that is left from before may be somebody else's by now: ours has STATE_DIR on its command line.
ours() { tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$state"; }

if ours; then
  kill "$pid"
  for _ in $(seq 100); do
    ours || break
    sleep 0.05
  done
  if ours; then kill -KILL "$pid"; fi
fi
rm -f "$state/pid"
