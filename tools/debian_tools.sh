#!/bin/sh
# Gets the command-line tools that some tests drive. A tool that cannot be had is named, and its tests say "not run";
# this script never fails a build.
set -eu
cd "$(dirname "$0")/.."
. tools/apt.sh

have() {
    command -v "$1" >/dev/null 2>&1 || [ -x ".venv/bin/$1" ]
}

# Debian's package `prometheus` would start a server on this machine when installed. Only promtool is wanted, so the
# package is fetched and unpacked, and the one program put beside the others of .venv.
fetch_promtool() {
    folder=$(mktemp -d)
    # apt drops its privileges for the download, so its sandbox user must be able to write here.
    chmod 0777 "$folder"
    (cd "$folder" && { apt_try download prometheus || { apt_try update && apt_try download prometheus; }; }) &&
        dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb 2>/dev/null | tar -x -C "$folder" ./usr/bin/promtool &&
        install -m 0755 "$folder/usr/bin/promtool" .venv/bin/promtool
    status=$?
    rm -rf "$folder"
    return $status
}

missing=""
have openssl || apt_install openssl || missing="$missing openssl(openssl)"
have promtool || fetch_promtool || missing="$missing promtool(prometheus)"
: >.venv/.tools-missing
for tool in $missing; do
    package=${tool#*(}
    line="NOT RUN: tests that need ${tool%%(*}: Debian package ${package%)} is missing and apt could not be used"
    echo "$line"
    echo "$line" >>.venv/.tools-missing
done
[ -n "$missing" ] || touch .venv/.tools
