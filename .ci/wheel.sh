#!/usr/bin/env bash
# Builds the wheel by way of the source distribution, installs it alone into an empty environment outside the
# checkout, and validates every configuration with it: a file missing from the wheel shows here and nowhere else.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD

make wheel
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
cp -r configs "$away/configs"
"$checkout/.venv/bin/python" -m venv "$away/venv"
"$away/venv/bin/python" -m pip install -qq --require-hashes --only-binary :all: -r requirements.txt
"$away/venv/bin/python" -m pip install -qq --no-deps --no-index "$checkout"/dist/headrace-*.whl

cd "$away"
"$away/venv/bin/python" - <<'PYTHON'
import pathlib
import sys

import headrace

place = pathlib.Path(headrace.__file__)
assert place.is_relative_to(sys.prefix), f"imported from {place}, not from the wheel"
PYTHON
"$away/venv/bin/headrace" --version
failed=0
for config in configs/*.yaml; do
  echo "validate $config"
  "$away/venv/bin/headrace" validate --config "$config" || failed=1
done
exit "$failed"
