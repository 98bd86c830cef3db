#!/usr/bin/env bash
# Brings the Debian packages that a clean machine lacks: a Python that can make virtual environments, make, node.
# Does nothing where they are there; says what is missing where it may not install.
set -euo pipefail

packages=()
command -v make >/dev/null || packages+=(make)
command -v git >/dev/null || packages+=(git)
python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  packages+=(python3 python3-venv)
# npm where node came without it; Debian's needs Debian's node.
command -v npm >/dev/null || packages+=(nodejs npm)

if ((${#packages[@]} == 0)); then
  echo "system: nothing to install"
elif ((EUID != 0)); then
  echo "system: missing: ${packages[*]}. Bring them with: sudo apt-get install ${packages[*]}" >&2
  exit 1
else
  apt-get -q -o Acquire::Retries=5 update
  apt-get -q -o Acquire::Retries=5 install -y --no-install-recommends "${packages[@]}"
fi
