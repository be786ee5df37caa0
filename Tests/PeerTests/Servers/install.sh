#!/usr/bin/env bash
# install.sh DIR - puts what the two authorization servers need on a Debian or Ubuntu machine:
# Glewlwyd and a few tools by apt, Authlib and Flask by pip into DIR/venv. Does nothing where all is there.
set -euo pipefail
dir=${1:?usage: install.sh DIR}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# dbconfig-sqlite3: without it apt picks MySQL, client and all, for the database of the package's own server.
packages=(glewlwyd dbconfig-sqlite3 libjs-jquery sqlite3 python3-venv curl)

installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  if ! command -v apt-get >/dev/null || ! command -v "${as_root[0]:-env}" >/dev/null; then
    echo "install.sh: missing packages, and no right to install them. As root run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >&2
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
  # The package starts a server of its own, open to the network. Only ours shall run.
  if [[ " ${missing[*]} " == *" glewlwyd "* ]] && [ -d /run/systemd/system ]; then
    "${as_root[@]}" systemctl disable --now glewlwyd >&2
  fi
fi

# The copy inside the environment tells what it holds.
venv=$dir/venv
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  mkdir -p "$dir"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
