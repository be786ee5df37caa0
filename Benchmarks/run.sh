#!/bin/bash
# Measures the server beside the least that could answer the same: Benchmarks/README.md tells what and how to read it.
#
#   Benchmarks/run.sh [--quick]
#
# SKIP_BUILD=1 takes the binaries as they are; BIN is the folder they are in (default: .build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3 seconds=5 grants=10000 token_bytes=1024
case "${1-}" in
    --quick) rounds=2 seconds=2 grants=2500 token_bytes=5000 ;;  # as many bytes of tokens, in fewer grants
    "") ;;
    *) echo "usage: Benchmarks/run.sh [--quick]" >&2; exit 2 ;;
esac
target=0.85
# shellcheck source=Benchmarks/common.sh
. Benchmarks/common.sh

# --- What it needs -----------------------------------------------------------------------------------------------

need wrk wrk; need go golang-go; need strace strace; need gcc gcc libc6-dev; need curl curl; need python3 python3; need taskset util-linux
install_missing
build grantee BareRoute
pin

# --- Starting and stopping ---------------------------------------------------------------------------------------

data=$work/data

# serve NAME [WRAPPER…]: launches one of the servers.
serve() {
    local name=$1
    shift
    case $name in
        grantee) set -- "$@" "$bin/grantee" serve --data-dir "$data" --port 0 --egress-allow 127.0.0.0/8,::1/128 ;;
        bare) set -- "$@" "$bin/BareRoute" 0 "$work/body.json" ;;
        go) set -- "$@" "$work/gotoken" 0 "$work/body.json" ;;
        provider) set -- "$@" "$bin/grantee" provider --port 0 --clients "$work/clients.json" ;;
    esac
    launch "$name" "${on_server[@]}" "$@"
}

go build -o "$work/gotoken" Benchmarks/gotoken/main.go
gcc -O2 -shared -fPIC -o "$work/malloc_count.so" Benchmarks/malloc_count.c

# --- Small tools -------------------------------------------------------------------------------------------------

# load NAME SECONDS: sets `rate` (requests per second) and `count` (requests answered).
load() {
    local report
    report=$("${on_load[@]}" wrk -t1 -c64 -d"$2s" -H "Authorization: Bearer $key" "${url[$1]}/v1/connections/bench/token")
    answered "$1"
}

answer() { curl -fsS -m 30 -D "$work/head" -H "Authorization: Bearer $key" "${url[$1]}/v1/connections/bench/token"; }
# The answer without what time changes.
shape() { answer "$1" | sed -E 's/"expires_in":[0-9]+/"expires_in":0/'; echo; tr -d '\r' <"$work/head" | sed 's/^[Dd]ate:.*/date/' | tr '[:upper:]' '[:lower:]' | sort; }

# --- A fresh grant -----------------------------------------------------------------------------------------------

cat >"$work/clients.json" <<'JSON'
[{"id": "bench", "secret": "bench-secret", "grant_types": ["client_credentials"], "access_token_lifetime": 86400}]
JSON
serve provider
provider=http://localhost:${url[provider]##*:}
serve grantee
key=$(<"$data/admin.key")
api "${url[grantee]}/v1/connections" -d @- >/dev/null <<JSON
{"id": "bench", "name": "Bench", "oauth": {"grant_type": "client_credentials", "token_url": "$provider/token", "client_id": "bench", "client_secret": "bench-secret"}}
JSON
api "${url[grantee]}/v1/connections" -d @- >/dev/null <<JSON
{"id": "people", "name": "People", "oauth": {"grant_type": "authorization_code", "authorization_url": "$provider/authorize", "token_url": "$provider/token", "client_id": "conf", "client_secret": "conf-secret"}}
JSON
answer grantee >/dev/null  # fetches
answer grantee >"$work/body.json"
serve bare
serve go
shape grantee >"$work/expected"
for name in bare go; do
    shape "$name" | diff "$work/expected" - >&2 || { echo "$name answers something else, so there is nothing to compare" >&2; exit 1; }
done

preface "; what can be compared are the ratios"

# --- a. Requests per second --------------------------------------------------------------------------------------

names=(grantee bare go)
declare -A rates=()
for name in "${names[@]}"; do load "$name" 2; done
for ((round = 0; round < rounds; round++)); do
    for ((turn = 0; turn < 3; turn++)); do
        name=${names[(round + turn) % 3]}
        load "$name" "$seconds"
        rates[$name]+="$rate "
    done
done
declare -A mid=()
# shellcheck disable=SC2086 # a list of numbers
for name in "${names[@]}"; do mid[$name]=$(median ${rates[$name]}); done
to_bare=$(divided "${mid[grantee]}" "${mid[bare]}")
holds "${mid[grantee]} >= $target * ${mid[bare]}"
printf '\na. Token reads per second on a fresh grant (medians of %d rounds of %d s, 64 connections)\n' "$rounds" "$seconds"
printf '   %-44s %s   target >= %s: %s\n' "of a bare Hummingbird route" "$to_bare" "$target" "$verdict"
printf '   %-44s %s\n' "of a small token endpoint in Go" "$(divided "${mid[grantee]}" "${mid[go]}")"
printf '   * per second: grantee %.0f, bare %.0f, Go %.0f\n' "${mid[grantee]}" "${mid[bare]}" "${mid[go]}"
halt go; halt bare; halt grantee

# --- b. Allocations ----------------------------------------------------------------------------------------------

declare -A allocations=()
for name in grantee bare; do
    counter=$work/$name.mallocs
    serve "$name" env LD_PRELOAD="$work/malloc_count.so" MALLOC_COUNT_FILE="$counter"
    load "$name" 1
    before=$(od -An -tu8 "$counter")
    load "$name" 2
    allocations[$name]=$(awk -v a="$before" -v b="$(od -An -tu8 "$counter")" -v n="$count" 'BEGIN { printf "%.1f", (b - a) / n }')
    halt "$name"
done
printf '\nb. Allocations per request\n'
printf '   %-44s %s\n' "of the bare route's" "$(divided "${allocations[grantee]}" "${allocations[bare]}")"
printf '   grantee %s, bare %s\n' "${allocations[grantee]}" "${allocations[bare]}"

# --- c. Database access ------------------------------------------------------------------------------------------

# Each window reads with a key of its own, so that each has the first row of a key, a grant and a minute to write.
printf '\nc. System calls on the database files\n'
serve grantee
db=$data/grantee.sqlite
client hit 0 8
strace -f -qq -p "${pid[grantee]}" -e trace=read,write,pread64,pwrite64,fsync,fdatasync,fcntl \
    -P "$db" -P "$db-wal" -P "$db-shm" -o "$work/trace" 2>"$work/strace.log" &
pid[strace]=$!
sleep 1
if kill -0 "${pid[strace]}" 2>/dev/null; then
    printf '   %8s %8s %8s %8s %8s %8s %14s\n' hits seconds reads writes syncs locks 'calls per hit'
    worst=0
    for hits in 0 1000 10000; do
        own=$(own_key use)
        sleep 2.5
        before=$(wc -l <"$work/trace")
        began=$EPOCHSECONDS
        key=$own client hit 0 "$hits"
        sleep 2.5  # uses are written each second
        while ((EPOCHSECONDS < began + 5)); do sleep 0.2; done
        window=$((EPOCHSECONDS - began))
        read -r reads writes syncs locks < <(tail -n "+$((before + 1))" "$work/trace" | awk '
            / p?read(64)?\(/ { r++ } / p?write(64)?\(/ { w++ } / f(data)?sync\(/ { s++ } / fcntl\(/ { l++ }
            END { print r + 0, w + 0, s + 0, l + 0 }')
        calls=$((reads + writes + syncs + locks))
        ((calls / window <= worst)) || worst=$((calls / window))
        printf '   %8d %8d %8d %8d %8d %8d %14s\n' "$hits" "$window" "$reads" "$writes" "$syncs" "$locks" "$(divided "$calls" "$hits")"
    done
    holds "$worst <= 50"
    printf '   target: at most 50 a second, however many hits: %s\n' "$verdict"
else
    printf '   not measured: %s\n' "$(head -n 1 "$work/strace.log")"
fi
halt strace  # lets go of the server and leaves it running

# --- d. Start ----------------------------------------------------------------------------------------------------

starts=5
batches=4
client put 0 $((batches * grants)) "$token_bytes"
halt grantee
declare -A times=()
for ((start = 0; start < starts; start++)); do
    for name in grantee bare; do
        serve "$name"
        times[$name]+="${took[$name]} "
        halt "$name"
    done
done
# shellcheck disable=SC2086 # lists of numbers
own=$(median ${times[grantee]}) least=$(median ${times[bare]})
printf '\nd. From start to listening (medians of %d), on a data directory with %d grants\n' "$starts" $((batches * grants))
printf '   %-44s %s\n' "of the bare route's" "$(divided "$own" "$least")"
awk -v a="$own" -v b="$least" 'BEGIN { printf "   * ms: grantee %.0f, bare %.0f\n", a / 1000, b / 1000 }'

# --- e. Memory ---------------------------------------------------------------------------------------------------

serve grantee
serve bare
sleep 2
idle=$(rss grantee)
printf '\ne. Resident memory\n'
printf '   %-44s %s\n' "idle, of the bare route's" "$(divided "$idle" "$(rss bare)")"
printf '   * MiB: grantee %s, bare %s\n' "$idle" "$(rss bare)"
printf '   growth since idle, in cache sizes (32 MiB), after the tokens of so many grants were read:\n'
growth=0
for ((batch = 0; batch < batches; batch++)); do
    client get $((batch * grants)) "$grants" "$token_bytes"
    sleep 2
    last=$growth
    growth=$(awk -v a="$(rss grantee)" -v b="$idle" 'BEGIN { printf "%.2f", (a - b) / 32 }')
    printf '   %8d %6s\n' $(((batch + 1) * grants)) "$growth"
done
# Three batches fill the cache; the fourth only replaces.
holds "$growth - $last <= 0.15"
printf '   target: the last %d, for which there is no room, add at most 0.15: %s\n' "$grants" "$verdict"

ending
