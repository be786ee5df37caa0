#!/bin/bash
# Measures nodes on PostgreSQL: Benchmarks/README.md tells what and how to read it.
#
#   Benchmarks/postgres.sh [--quick]
#
# SKIP_BUILD=1 takes the binary as it is; BIN is the folder it is in (default: .build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3 seconds=5 few=1000 many=1000000 kills=10
case "${1-}" in
    --quick) rounds=2 seconds=2 many=50000 kills=2 ;;
    "") ;;
    *) echo "usage: Benchmarks/postgres.sh [--quick]" >&2; exit 2 ;;
esac
# shellcheck source=Benchmarks/common.sh
. Benchmarks/common.sh

# --- What it needs -----------------------------------------------------------------------------------------------

need wrk wrk; need go golang-go; need curl curl; need python3 python3; need taskset util-linux; need setpriv util-linux; need psql postgresql-client
postgres_bin() { find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1; }
[[ $(postgres_bin) ]] || missing+=(postgresql)
install_missing
build grantee
pin  # provider and database are where the load is
go build -o "$work/goprovider" Benchmarks/goprovider/main.go

# --- The database ------------------------------------------------------------------------------------------------

# A cluster of its own, synced as in earnest; on a socket and a loopback port.
cluster=$work/postgres as=() socket=$work/postgres/socket
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$cluster/data" "$socket"
chmod 755 "$work"
if ((EUID == 0)); then
    chown -R postgres "$cluster"
    as=(setpriv --reuid=postgres "--regid=$(id -g postgres)" --clear-groups env "HOME=$cluster")
fi
chmod 700 "$cluster/data"
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$socket" -p "$port" -U postgres "$@"; }
(
    cd /
    "${as[@]}" "$(postgres_bin)/initdb" -D "$cluster/data" -U postgres --auth=trust -E UTF8 --locale=C >/dev/null
    "${as[@]}" "${on_load[@]}" "$(postgres_bin)/pg_ctl" -D "$cluster/data" -l "$cluster/log" -w \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$socket -c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=100" \
        start >/dev/null
)
end() {
    local name
    for name in "${!pid[@]}"; do halt "$name"; done
    (cd / && "${as[@]}" "$(postgres_bin)/pg_ctl" -D "$cluster/data" -m immediate stop >/dev/null 2>&1) || true
    cleanup
}
trap end EXIT

# --- Nodes -------------------------------------------------------------------------------------------------------

key=gk_admin_$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
GRANTEE_MASTER_KEYS=k1:$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
export GRANTEE_MASTER_KEYS GRANTEE_ADMIN_KEY=$key

# database NAME: a new one, which the nodes use from now on.
database() {
    sql -d postgres -c "CREATE DATABASE $1 TEMPLATE template0"
    export GRANTEE_DATABASE_URL="postgres://postgres@127.0.0.1:$port/$1"
    now=$1
}
# node NAME: a server.
node() {
    launch "$1" "${on_server[@]}" "$bin/grantee" serve --node "$1" --port 0 --public-url http://localhost:4711 --egress-allow 127.0.0.0/8,::1/128 --log-level error
}
# The processor time that processes have used, in microseconds, of all their threads.
used() { local each; for each in "$@"; do cat "/proc/$each/task/"*/schedstat 2>/dev/null || true; done | awk '{ sum += $1 } END { printf "%.0f", sum / 1000 }'; }
backends() { local main; main=$(head -1 "$cluster/data/postmaster.pid"); echo "$main" "$(cat "/proc/$main/task/$main/children")"; }

# connect NODE [JSON members of oauth]
connect() {
    api "${url[$1]}/v1/connections" -d @- >/dev/null <<JSON
{"id": "people", "name": "people", "keep_alive": true, "oauth": {"grant_type": "authorization_code", "authorization_url": "${url[up]}/authorize", "token_url": "${url[up]}/token", "client_id": "bench", "client_secret": "bench-secret"${2-}}}
JSON
}
put() { url[grantee]=${url[$1]}; client put 0 "$few"; }

# load SECONDS WRK_OPTION… -- NODE…: the same load on each of them; sets `cost` (microseconds of the nodes' processors for each
# answer) and `behind` (of the database's).
load() {
    local time=$1 report name total=0 before database_before options=() names pids=() servers=() first=0
    shift
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    names=("$@")
    for name in "${names[@]}"; do servers+=("${pid[$name]}"); done
    before=$(used "${servers[@]}") database_before=$(used $(backends))
    for name in "${names[@]}"; do
        FIRST=$((first * few / ${#names[@]})) "${on_load[@]}" wrk -t1 -c$((64 / ${#names[@]})) -d"${time}s" -H "Authorization: Bearer $key" \
            "${options[@]}" "${url[$name]}$target" >"$work/wrk.$name" &
        pids+=($!)
        first=$((first + 1))
    done
    wait "${pids[@]}"
    for name in "${names[@]}"; do
        report=$(<"$work/wrk.$name")
        answered "$name"
        total=$((total + count))
    done
    cost=$(divided "$(($(used "${servers[@]}") - before))" "$total" %.1f)
    behind=$(divided "$(($(used $(backends)) - database_before))" "$total" %.1f)
}

launch up "${on_load[@]}" "$work/goprovider" 0 200
preface

# --- a. Many grants ----------------------------------------------------------------------------------------------

# fill COUNT: more grants, rows like the first one's under other names. What is sealed in them is of the right size and opens
# for nobody: they are never read, only stood among.
fill() {
    sql -d "$now" <<SQL
CREATE TEMP TABLE first AS SELECT * FROM "grant" ORDER BY uid LIMIT 1;
DO \$\$
DECLARE columns text; chosen text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(
        CASE attname WHEN 'uid' THEN '''filler-'' || n' WHEN 'subject' THEN '''filler-'' || n'
            WHEN 'due_at' THEN 'due_at + n * 1000::int8' ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
    INTO columns, chosen FROM pg_attribute WHERE attrelid = '"grant"'::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('INSERT INTO "grant" (%s) SELECT %s FROM first, generate_series(1, $1) AS n', columns, chosen);
END \$\$;
VACUUM ANALYZE "grant";
CHECKPOINT;
SQL
}

# Of 9 claims of the 100 that are due first, by the statement of PostgresStore.claimDue: microseconds, committed and synced.
claims() {
    local round connection
    connection=$(sql -d "$now" -c 'SELECT uid FROM connection LIMIT 1')
    for ((round = 0; round < 9; round++)); do
        sql -d "$now" <<SQL | awk '/^Time:/ { last = $2 } END { printf "%.0f\n", last * 1000 }'
SELECT max(due_at) AS moment FROM (SELECT due_at FROM "grant" WHERE connection_uid = '$connection' AND due_at IS NOT NULL ORDER BY due_at LIMIT 100) AS due \gset
\timing on
WITH due AS MATERIALIZED (
    SELECT uid, due_at FROM "grant" WHERE connection_uid = '$connection' AND due_at <= :moment ORDER BY due_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED),
claimed AS (UPDATE "grant" SET due_at = "grant".due_at + 86400000000 FROM due WHERE "grant".uid = due.uid RETURNING "grant".*, due.due_at AS was_due_at)
SELECT count(*) FROM claimed;
SQL
    done
}

declare -A starts=() idle=() hits=() misses=() claimed=() sizes=()
for grants in "$few" "$many"; do
    database "grants_$grants"
    node a
    connect a
    put a
    halt a
    ((grants == few)) || fill $((grants - few))
    values=() missed=()
    for ((start = 0; start < 5; start++)); do
        node a
        values+=("${took[a]}")
        idle[$grants]=$(rss a)
        # A fresh process has nothing in its cache: the first read of each grant is a miss. The one before opens the data key.
        url[grantee]=${url[a]}
        client get 0 1
        before=$(used "${pid[a]}")
        client get 0 "$few"
        missed+=("$(divided "$(($(used "${pid[a]}") - before))" "$few" %.1f)")
        ((start == 4)) || halt a
    done
    starts[$grants]=$(median "${values[@]}") misses[$grants]=$(median "${missed[@]}")
    target="/v1/connections/people/token?subject=user-7"
    load 2 -- a
    values=()
    for ((round = 0; round < rounds; round++)); do
        load "$seconds" -- a
        values+=("$cost")
    done
    hits[$grants]=$(median "${values[@]}")
    halt a
    mapfile -t values < <(claims)
    claimed[$grants]=$(median "${values[@]}")
    sizes[$grants]=$(sql -d "$now" -c "SELECT pg_total_relation_size('\"grant\"') / count(*) FROM \"grant\"")
done
row() { printf '   %-58s %10s %10s %8s\n' "$1" "$2" "$3" "$(divided "$3" "$2")"; }
printf '\na. What many grants cost on PostgreSQL (medians)\n'
printf '   %-58s %10s %10s %8s\n' "" "$few" "$many" ratio
row "* from start to listening, us" "${starts[$few]}" "${starts[$many]}"
row "* resident memory after the start, MiB" "${idle[$few]}" "${idle[$many]}"
row "* read of a token in the cache, us of the processor" "${hits[$few]}" "${hits[$many]}"
row "* read of a token that is not in the cache, us" "${misses[$few]}" "${misses[$many]}"
row "* claim of 100 due grants, us" "${claimed[$few]}" "${claimed[$many]}"
row "* database, bytes for each grant with its indexes" "${sizes[$few]}" "${sizes[$many]}"

# --- b. Nodes ----------------------------------------------------------------------------------------------------

database nodes
node n1
connect n1 ', "rotation_grace": 60'
put n1
export GRANTS=$few
declare -A read_cost=() refresh_cost=() read_behind=() refresh_behind=()
running=(n1)
for nodes in 1 2 4; do
    while ((${#running[@]} < nodes)); do
        node "n$((${#running[@]} + 1))"
        running+=("n$((${#running[@]} + 1))")
    done
    for kind in read refresh; do
        if [[ $kind == read ]]; then options=() target="/v1/connections/people/token?subject=user-7"; else options=(-s Benchmarks/refresh.lua) target=""; fi
        load 2 "${options[@]}" -- "${running[@]}"
        values=() others=()
        for ((round = 0; round < rounds; round++)); do
            load "$seconds" "${options[@]}" -- "${running[@]}"
            values+=("$cost") others+=("$behind")
        done
        declare "${kind}_cost[$nodes]=$(median "${values[@]}")" "${kind}_behind[$nodes]=$(median "${others[@]}")"
    done
done
line() { printf '   %-58s %8s %8s %8s %10s\n' "$1" "$2" "$3" "$4" "$(divided "$4" "$2")"; }
printf '\nb. Microseconds of the processor, all nodes together (medians of %d rounds of %d s, 64 callers)\n' "$rounds" "$seconds"
printf '   %-58s %8s %8s %8s %10s\n' "nodes" 1 2 4 "4 / 1"
line "* read of a token in the cache, the nodes" "${read_cost[1]}" "${read_cost[2]}" "${read_cost[4]}"
line "* the same, the database" "${read_behind[1]}" "${read_behind[2]}" "${read_behind[4]}"
line "* refresh, the nodes" "${refresh_cost[1]}" "${refresh_cost[2]}" "${refresh_cost[4]}"
line "* the same, the database" "${refresh_behind[1]}" "${refresh_behind[2]}" "${refresh_behind[4]}"

# --- c. The node that has the lease is killed --------------------------------------------------------------------

gaps=()
for ((round = 0; round < kills; round++)); do
    node dying
    curl -fsS "${url[up]}/slow" >/dev/null
    api "${url[dying]}/v1/connections/people/grants/user-$round/refresh" -d '' >/dev/null 2>&1 &
    asking=$!
    sleep 0.5
    halt dying KILL
    begun=${EPOCHREALTIME/./}
    wait "$asking" && { echo "the refresh ended before its node did" >&2; exit 1; }
    api "${url[n1]}/v1/connections/people/grants/user-$round/refresh" -d '' >/dev/null
    gaps+=($((${EPOCHREALTIME/./} - begun)))
done
printf '\nc. From the kill -9 of the node that refreshes a grant to its next good token, %d times\n' "$kills"
printf '   * median %.0f ms, longest %.0f ms\n' "$(divided "$(median "${gaps[@]}")" 1000)" "$(divided "$(printf '%s\n' "${gaps[@]}" | sort -n | tail -1)" 1000)"
