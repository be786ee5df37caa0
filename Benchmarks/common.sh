# What the benchmarks have in common; to be sourced from the project's folder, with `set -euo pipefail`.
# shellcheck shell=bash

export LC_ALL=C
bin=${BIN:-.build/release}
unmet=0

[[ $(uname) == Linux ]] || { echo "these benchmarks need Linux (/proc, LD_PRELOAD)" >&2; exit 2; }

# --- What it needs -----------------------------------------------------------------------------------------------

missing=()
need() { command -v "$1" >/dev/null || missing+=("${@:2}"); }  # COMMAND PACKAGE…

# Installs what `need` found missing, by apt when root; else names it and ends.
install_missing() {
    ((${#missing[@]})) || return 0
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2
    else
        echo "install first: ${missing[*]}" >&2
        exit 2
    fi
}

# build PRODUCT…
build() {
    local product
    [[ ${SKIP_BUILD-} != 1 ]] || return 0
    for product in "$@"; do swift build -c release --product "$product" >&2; done
}

# The server has one core and the load another, where there are two.
on_server=() on_load=()
pin() {
    local cores
    mapfile -t cores < <(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0))[:2], sep="\n")')
    if ((${#cores[@]} == 2)); then on_server=(taskset -c "${cores[0]}") on_load=(taskset -c "${cores[1]}"); fi
}

# --- Starting and stopping ---------------------------------------------------------------------------------------

work=$(mktemp -d)
declare -A pid=() url=() took=()

# launch NAME COMMAND…: starts a server and waits for its `Listening on URL`; `took` is how long that was, in microseconds.
launch() {
    local name=$1 pipe="$work/$1.out" out before line=""
    shift
    [[ -p $pipe ]] || mkfifo "$pipe"
    before=${EPOCHREALTIME/./}
    "$@" >"$pipe" 2>>"$work/$name.log" &
    pid[$name]=$!
    exec {out}<"$pipe"
    read -r -t 60 line <&"$out" || true
    took[$name]=$((${EPOCHREALTIME/./} - before))
    exec {out}<&-
    [[ $line == "Listening on "* ]] || { echo "$name did not start: $line" >&2; tail -n 20 "$work/$name.log" >&2; exit 1; }
    url[$name]=${line#Listening on }
}

# halt NAME [SIGNAL]
halt() {
    local name=$1
    [[ ${pid[$name]-} ]] || return 0
    kill "-${2:-TERM}" "${pid[$name]}" 2>/dev/null || true
    wait "${pid[$name]}" 2>/dev/null || true
    unset "pid[$name]"
}

cleanup() {
    local name
    for name in "${!pid[@]}"; do halt "$name"; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- Small tools -------------------------------------------------------------------------------------------------

median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
divided() { awk -v a="$1" -v b="$2" -v f="${3:-%.2f}" 'BEGIN { if (b > 0) printf f, a / b; else printf "-" }'; }
# The resident memory of a server, in MiB.
rss() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/${pid[$1]}/status"; }

# holds CONDITION: sets `verdict` to `ok` or `MISSED`, and counts the miss. CONDITION is an awk expression.
holds() { if awk "BEGIN { exit !($1) }"; then verdict=ok; else verdict=MISSED unmet=$((unmet + 1)); fi; }

api() { curl -fsS -m 30 -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"; }
client() { GRANTEE_URL=${url[grantee]} GRANTEE_API_KEY=$key "${on_load[@]}" python3 Benchmarks/client.py "$@"; }

# own_key ROLE: makes an API key and prints it.
own_key() { api "${url[grantee]}/v1/keys" -d "{\"name\": \"bench\", \"role\": \"$1\"}" | sed -E 's/.*"key":"([^"]+)".*/\1/'; }

# wrk's report in `report`, or the end when an answer was wrong.
answered() {
    if grep -qE 'Non-2xx|Socket errors' <<<"$report"; then printf '%s\n' "$1 answered wrongly:" "$report" >&2; exit 1; fi
    rate=$(awk '/^Requests\/sec/ { print $2 }' <<<"$report")
    count=$(awk '/requests in/ { print $1 }' <<<"$report")
}

preface() {
    echo "Figures marked * hold for this machine and this run only${1-}."
    awk -v c="$(nproc)" '$1 > 0.5 { printf "The machine was busy before this began (load %s on %d cores): expect figures to wander.\n", $1, c }' /proc/loadavg
}

ending() {
    echo
    if ((unmet)); then echo "$unmet of the targets missed"; exit 1; fi
    echo "all targets met"
}
