#!/usr/bin/env bash
# Unpacks the programs that the tests marked `peer` compare Headrace with: Prometheus 3.5 and promtool,
# VictoriaMetrics and vmagent, node-exporter.
#
# Usage: peers.sh [DIR]     (else $HEADRACE_PEERS, else ~/.cache/headrace-peers)
# They come as Debian packages from the mirror this machine already uses, by a private apt state inside
# DIR: nothing is installed into the system, nothing is started, and no root is needed. The newer three
# are taken from sid, node-exporter from this machine's own release.
set -euo pipefail

dir=${1:-${HEADRACE_PEERS:-$HOME/.cache/headrace-peers}}
programs=(prometheus promtool victoria-metrics vmagent prometheus-node-exporter)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "peers: $1" >&2
  exit 1
}

complete() {
  local program
  for program in "${programs[@]}"; do
    [[ -x $dir/bin/$program ]] || return 1
  done
}

# The first Debian mirror in the machine's own lists, old (`deb URL …`) or new (`URIs: URL`) style.
mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    awk '/^URIs:/ {print $2; exit}
         /^deb / {sub(/\[[^]]*\] */, ""); print $2; exit}'
}

apt_private() {
  apt-get -q -o Dir::Etc::sourcelist="$dir/apt/peers.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State="$dir/apt/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$dir/apt/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=5 -o Acquire::http::Timeout=60 "$@"
}

if complete; then
  echo "peers: already in $dir/bin"
  exit 0
fi
for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null ||
    fail "$tool is missing. Put ${programs[*]} into $dir/bin by hand (Prometheus 3.5 or newer)."
done
[[ -r $keyring ]] || fail "$keyring is missing. Bring it with: sudo apt-get install debian-archive-keyring"
url=$(mirror || true)
[[ -n $url ]] || fail "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d."
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")

mkdir -p "$dir"/{apt/state/lists/partial,apt/cache/archives/partial,deb,tree,bin}
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$url" sid "$keyring" "$url" "$release" |
  sort -u >"$dir/apt/peers.list"
apt_private update
(cd "$dir/deb" && apt_private download prometheus/sid promtool/sid victoria-metrics/sid \
  "prometheus-node-exporter/$release")
for package in "$dir"/deb/*.deb; do
  dpkg-deb -x "$package" "$dir/tree"
done
for program in "$dir"/tree/usr/bin/*; do
  ln -sf "$program" "$dir/bin/${program##*/}"
done

rm -rf "$dir"/{apt,deb}
complete || fail "a package no longer holds one of ${programs[*]}; see $dir/tree."
"$dir/bin/prometheus" --version 2>&1 | head -n 1
echo "peers: ready in $dir/bin"
