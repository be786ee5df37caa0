# shellcheck shell=bash
# What the start scripts share. Read it with `source`.

# prepare PORT STATE_DIR - ends the server that STATE_DIR knows and makes sure that the port is free. Sets `port` and `state`.
prepare() {
  port=$1
  mkdir -p "$2"
  state=$(cd "$2" && pwd)
  "$(dirname "${BASH_SOURCE[0]}")/stop.sh" "$state"
  rm -f "$state/as.json"
  if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "port $port is taken" >&2
    exit 1
  fi
}

# launch COMMAND... - runs it in the background. STATE_DIR must be among its arguments: stop.sh knows the process by it.
launch() {
  "$@" </dev/null >"$state/log" 2>&1 &
  echo "$!" >"$state/pid"
}

# await URL - until URL answers, for 30 seconds at most.
await() {
  local deadline=$((SECONDS + 30))
  until curl -sf -m 2 -o /dev/null "$1"; do
    if ! kill -0 "$(cat "$state/pid")" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      fail "no answer from $1"
    fi
    sleep 0.05
  done
}

# fail REASON - shows the log and gives up.
fail() {
  echo "$1; the log:" >&2
  cat "$state/log" >&2
  "$(dirname "${BASH_SOURCE[0]}")/stop.sh" "$state"
  exit 1
}
