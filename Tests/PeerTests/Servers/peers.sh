#!/usr/bin/env bash
# peers.sh up DIR PORT_A PORT_G - installs what is missing, starts Authlib on PORT_A and Glewlwyd on PORT_G, both fresh,
#                                 and prints the paths of their two as.json files, Authlib's first.
# peers.sh down DIR             - ends both.
# Environment of `up`: REDIRECT_URIS, the callback URLs to register, separated by spaces; AT_TTL, seconds that access
# tokens live (3600).
set -euo pipefail
usage() {
  echo 'usage: peers.sh up DIR PORT_A PORT_G | peers.sh down DIR' >&2
  exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case ${1-} in
  up)
    [ $# -eq 4 ] || usage
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    "$here/install.sh" "$dir"
    "$here/start-authlib.sh" "$3" "$dir/authlib" "$dir/venv"
    "$here/start-glewlwyd.sh" "$4" "$dir/glewlwyd" || {
      "$here/stop.sh" "$dir/authlib"
      exit 1
    }
    echo "$dir/authlib/as.json"
    echo "$dir/glewlwyd/as.json"
    ;;
  down)
    [ $# -eq 2 ] || usage
    for name in authlib glewlwyd; do
      if [ -d "$2/$name" ]; then "$here/stop.sh" "$2/$name"; fi
    done
    ;;
  *) usage ;;
esac
