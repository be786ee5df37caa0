#!/bin/bash
# Measures refreshing, and what many grants cost: Benchmarks/README.md tells what and how to read it.
#
#   Benchmarks/refresh.sh [--quick]
#
# SKIP_BUILD=1 takes the binary as it is; BIN is the folder it is in (default: .build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3 seconds=5 outage=120 few=1000 many=100000
case "${1-}" in
    --quick) rounds=2 seconds=2 outage=20 many=10000 ;;
    "") ;;
    *) echo "usage: Benchmarks/refresh.sh [--quick]" >&2; exit 2 ;;
esac
# shellcheck source=Benchmarks/common.sh
. Benchmarks/common.sh

# --- What it needs -----------------------------------------------------------------------------------------------

need wrk wrk; need go golang-go; need curl curl; need python3 python3; need taskset util-linux
install_missing
build grantee
pin  # the provider is where the load is

# --- Starting and stopping ---------------------------------------------------------------------------------------

# grantee DATA_DIR: the server on that directory; sets `key`.
grantee() {
    launch grantee "${on_server[@]}" "$bin/grantee" serve --data-dir "$1" --port 0 --egress-allow 127.0.0.0/8,::1/128 --log-level error
    key=$(<"$1/admin.key")
}

go build -o "$work/goprovider" Benchmarks/goprovider/main.go

# --- Small tools -------------------------------------------------------------------------------------------------

# The processor time that the server has used, in microseconds, of all its threads.
cpu() { cat /proc/"${pid[grantee]}"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum / 1000 }'; }
asked() { curl -fsS "${url[$1]}/count"; }

# connect ID PROVIDER [JSON members]: a connection at that provider.
connect() {
    api "${url[grantee]}/v1/connections" -d @- >/dev/null <<JSON
{"id": "$1", "name": "$1", ${3-} "oauth": {"grant_type": "authorization_code", "authorization_url": "${url[$2]}/authorize", "token_url": "${url[$2]}/token", "client_id": "bench", "client_secret": "bench-secret"}}
JSON
}

# load SECONDS WRK_OPTION…: sets `count`, `rate` (per second) and `cost` (microseconds of the server's processor for each).
load() {
    local report before time=$1
    shift
    before=$(cpu)
    report=$("${on_load[@]}" wrk -t1 -c64 -d"${time}s" -H "Authorization: Bearer $key" "$@")
    answered grantee
    cost=$(divided "$(($(cpu) - before))" "$count" %.1f)
}

launch up "${on_load[@]}" "$work/goprovider" 0 200
launch down "${on_load[@]}" "$work/goprovider" 0 503
grantee "$work/data"

preface

# --- a. Refreshes ------------------------------------------------------------------------------------------------

connect people up
client put 0 "$few"
export GRANTS=$few
refreshing=(-s Benchmarks/refresh.lua "${url[grantee]}")
load 2 "${refreshing[@]}"
rates=() costs=()
for ((round = 0; round < rounds; round++)); do
    load "$seconds" "${refreshing[@]}"
    rates+=("$rate") costs+=("$cost")
done
printf '\na. Refreshes on one core, of %d grants in turn, each written and synced (medians of %d rounds of %d s, 64 callers)\n' "$few" "$rounds" "$seconds"
printf '   * per second: %.0f\n' "$(median "${rates[@]}")"
printf '   * of the processor, for each: %.0f us, so a core could do %.0f a second\n' "$(median "${costs[@]}")" "$(divided 1000000 "$(median "${costs[@]}")" %.0f)"

# --- b. Restart --------------------------------------------------------------------------------------------------

listening=() stored=() renewed=()
for ((start = 0; start < 5; start++)); do
    # Killed in the middle of refreshes: some have been sent and not been answered.
    "${on_load[@]}" wrk -t1 -c64 -d60s -H "Authorization: Bearer $key" "${refreshing[@]}" >/dev/null 2>&1 &
    pid[load]=$!
    sleep 1
    halt grantee KILL
    halt load
    begun=${EPOCHREALTIME/./}
    grantee "$work/data"
    refreshing=(-s Benchmarks/refresh.lua "${url[grantee]}")
    api "${url[grantee]}/v1/connections/people/token?subject=user-0" >/dev/null
    stored+=($((${EPOCHREALTIME/./} - begun)))
    api "${url[grantee]}/v1/connections/people/grants/user-1/refresh" -d '' >/dev/null
    renewed+=($((${EPOCHREALTIME/./} - begun)))
    listening+=("${took[grantee]}")
done
printf '\nb. From the start after a kill -9 in the middle of refreshes (medians of 5; each request adds the start of a curl)\n'
printf '   * to listening: %.0f ms, to the first token: %.0f ms, to the first refreshed one: %.0f ms\n' \
    "$(divided "$(median "${listening[@]}")" 1000)" "$(divided "$(median "${stored[@]}")" 1000)" "$(divided "$(median "${renewed[@]}")" 1000)"

# --- c. A provider that is down ----------------------------------------------------------------------------------

connect dead down '"keep_alive": true,'
begun=$EPOCHSECONDS
CONNECTION=dead EXPIRES_IN=0 client put 0 "$few"
callers=0
while ((EPOCHSECONDS < begun + outage)); do
    # Callers ask, too, and are told.
    curl -sS -m 30 -o "$work/refusal" -H "Authorization: Bearer $key" "${url[grantee]}/v1/connections/dead/token?subject=user-$((RANDOM % few))"
    callers=$((callers + 1))
    sleep 0.5
done
calls=$(asked down)
printf '\nc. Requests to a provider that is down, for %d grants that are due and kept alive\n' "$few"
printf '   in the first %d s: %d, though callers asked %d times for one of these tokens\n' "$outage" "$calls" "$callers"
printf '   in an hour, as the wait between two probes has grown to a minute: %s, so %s for each grant\n' \
    "$(awk -v n="$calls" -v t="$outage" 'BEGIN { printf "%.0f", n + (3600 - t) / 60 }')" \
    "$(awk -v n="$calls" -v t="$outage" -v g="$few" 'BEGIN { printf "%.2f", (n + (3600 - t) / 60) / g }')"
halt grantee; halt down

# --- d. Many grants ----------------------------------------------------------------------------------------------

declare -A starts=() hits=() misses=() claims=() sizes=()
reads=1000
for grants in "$few" "$many"; do
    data=$work/$grants
    grantee "$data"
    connect people up
    client put 0 "$grants"
    halt grantee
    values=() missed=()
    for ((start = 0; start < 5; start++)); do
        grantee "$data"
        values+=("${took[grantee]}")
        # A fresh process has nothing in its cache: the first read of each grant is a miss. The one before opens the data key.
        client get 0 1
        begun=$(cpu)
        STEP=$((grants / reads)) client get 0 "$reads"
        missed+=("$(divided "$(($(cpu) - begun))" "$reads" %.1f)")
        ((start == 4)) || halt grantee
    done
    starts[$grants]=$(median "${values[@]}") misses[$grants]=$(median "${missed[@]}")
    load 2 "${url[grantee]}/v1/connections/people/token?subject=user-7"
    values=()
    for ((round = 0; round < rounds; round++)); do
        load "$seconds" "${url[grantee]}/v1/connections/people/token?subject=user-7"
        values+=("$cost")
    done
    hits[$grants]=$(median "${values[@]}")
    halt grantee
    claims[$grants]=$(python3 Benchmarks/claim.py "$data/grantee.sqlite" 9)
    sizes[$grants]=$(du -m "$data" | cut -f1)
done
row() { printf '   %-58s %10s %10s %8s\n' "$1" "$2" "$3" "$(divided "$3" "$2")"; }
printf '\nd. What many grants cost (medians)\n'
printf '   %-58s %10s %10s %8s\n' "" "$few" "$many" ratio
row "* from start to listening, us" "${starts[$few]}" "${starts[$many]}"
row "* read of a token in the cache, us of the processor" "${hits[$few]}" "${hits[$many]}"
row "* read of a token that is not in the cache, us" "${misses[$few]}" "${misses[$many]}"
row "* claim of 100 due grants, us" "${claims[$few]}" "${claims[$many]}"
row "* data directory, MiB" "${sizes[$few]}" "${sizes[$many]}"
