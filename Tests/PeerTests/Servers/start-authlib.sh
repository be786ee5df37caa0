#!/usr/bin/env bash
# start-authlib.sh PORT STATE_DIR VENV - Authlib's authorization server on 127.0.0.1:PORT, with a new memory each time.
# Leaves STATE_DIR/{as.json,pid,log}. Environment: REDIRECT_URIS, AT_TTL (see authlib_server.py). stop.sh ends it.
set -euo pipefail
usage='usage: start-authlib.sh PORT STATE_DIR VENV'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
source "$here/common.sh"

: "${REDIRECT_URIS:?set it to the callback URLs to register}"
prepare "${1:?$usage}" "${2:?$usage}"
launch "${3:?$usage}/bin/python" "$here/authlib_server.py" "$port" "$state"
await "http://127.0.0.1:$port/.well-known/oauth-authorization-server"
