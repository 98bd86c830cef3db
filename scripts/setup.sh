#!/usr/bin/env bash
# Fills a virtual environment with the locked requirements and this checkout.
#
# Usage: setup.sh VENV
# PYTHON names the interpreter; without it the first of python3, python3.14 … python3.11 that will do.
# Safe to repeat: what is there already stays.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
# Slow networks and mirrors that hiccup are retried; whoever set other values keeps them.
export PIP_RETRIES=${PIP_RETRIES:-10} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-60}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# 0: will do. 1: absent or broken. 2: not 3.11 to 3.14. 3: lacks what makes a virtual environment.
suits() {
  command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys' 2>/dev/null || return 1
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || return 2
  "$1" -c 'import ensurepip, venv' 2>/dev/null || return 3
}

find_python() {
  local name code bare=''
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    code=0
    suits "$name" || code=$?
    case $code in
      0) echo "$name"; return ;;
      3) bare=${bare:-$name} ;;
    esac
  done
  if [[ -n $bare ]]; then
    local version
    version=$("$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "setup: $bare has no venv module. Bring it with: sudo apt-get install python$version-venv" >&2
  elif [[ -n ${PYTHON:-} ]]; then
    echo "setup: PYTHON=$PYTHON is not a working Python 3.11, 3.12, 3.13 or 3.14." >&2
  else
    echo "setup: no Python 3.11, 3.12, 3.13 or 3.14 found. Bring one with:" \
      "sudo apt-get install python3 python3-venv" >&2
  fi
  return 1
}

code=0
suits "$venv/bin/python" || code=$?
if ((code != 0)); then
  python=$(find_python)
  echo "setup: creating $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

# -qq: errors only; warnings about how a machine has set up pip are not about this project.
echo "setup: installing the locked requirements (the first time takes a minute or two)"
"$venv/bin/python" -m pip install -qq --require-hashes --only-binary :all: -r requirements-dev.txt
# Without isolation the build backend is the locked one, too.
"$venv/bin/python" -m pip install -qq --no-build-isolation --no-deps --editable .
echo "setup: done; $("$venv/bin/python" --version) in $venv"
