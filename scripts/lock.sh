#!/usr/bin/env bash
# Writes requirements.txt (the daemon) and requirements-dev.txt (the daemon and the tools of `make setup`)
# from pyproject.toml: one list with hashes for Python 3.11 to 3.14, which names no package index.
#
# Usage: lock.sh [--upgrade]
# Pins that still fit stay unless --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")/.."

uv_version=0.13.9
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install -qq --disable-pip-version-check "uv==$uv_version"

compile() {
  # `fewest`: the same release for every Python where there is one, so that all of them test the same code.
  "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --custom-compile-command "make lock" pyproject.toml "$@" >/dev/null
}
compile --output-file requirements.txt "$@"
compile --group dev --constraints requirements.txt --output-file requirements-dev.txt "$@"
