#!/usr/bin/env bash
# start-glewlwyd.sh PORT STATE_DIR - Debian's Glewlwyd on 127.0.0.1:PORT, with a new SQLite database each time.
# Leaves STATE_DIR/{as.json,pid,log}. Environment: REDIRECT_URIS, AT_TTL (see glewlwyd_setup.py). stop.sh ends it.
set -euo pipefail
usage='usage: start-glewlwyd.sh PORT STATE_DIR'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
source "$here/common.sh"

: "${REDIRECT_URIS:?set it to the callback URLs to register}"
prepare "${1:?$usage}" "${2:?$usage}"

rm -f "$state/glewlwyd.db"
sqlite3 -cmd 'PRAGMA synchronous = OFF' "$state/glewlwyd.db" </usr/share/dbconfig-common/data/glewlwyd/install/sqlite3

# Two things not to change: `external_url` has no final slash, for Glewlwyd appends "/api", and a line
# `use_secure_connection` must not appear at all. The login page is not served: approve.py speaks to the API.
cat >"$state/glewlwyd.conf" <<CONF
port = $port
bind_address = "127.0.0.1"
external_url = "http://127.0.0.1:$port"
login_url = "login.html"
api_prefix = "api"
log_mode = "console"
log_level = "WARNING"
cookie_secure = 0
session_expiration = 3600
session_key = "GLEWLWYD2_SESSION_ID"
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
database = { type = "sqlite3"; path = "$state/glewlwyd.db"; };
CONF

launch glewlwyd --config-file="$state/glewlwyd.conf"
await "http://127.0.0.1:$port/config"
python3 "$here/glewlwyd_setup.py" "$port" "$state" || fail "the set-up failed"
