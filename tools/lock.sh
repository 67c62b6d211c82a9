#!/bin/sh
# Writes requirements.lock (what runs), requirements-dev.lock (what tests and builds) and requirements-bench.lock (what
# is measured against) from pyproject.toml's bounds. Three fresh environments, so that nothing unwanted is frozen. The files name versions only: from where a machine fetches
# them is its own pip configuration.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

freeze() { # extras
    rm -rf "$folder/venv"
    .venv/bin/python -m venv "$folder/venv"
    "$folder/venv/bin/pip" install -qq --disable-pip-version-check --upgrade 'setuptools>=77'
    "$folder/venv/bin/pip" install -qq --disable-pip-version-check ".$1"
    "$folder/venv/bin/pip" freeze --all --disable-pip-version-check | grep -Ev '^(pip|zonegate)( @|==)' | LC_ALL=C sort -f
}

header() {
    echo "# Made by \`make lock\` from pyproject.toml. $1"
}

freeze '' >"$folder/runtime"
freeze '[dev]' >"$folder/dev"
freeze '[bench]' >"$folder/bench"
{ header "What zonegate runs on."; grep -v '^setuptools==' "$folder/runtime"; } >requirements.lock
{
    header "What tests and builds need beside requirements.lock."
    echo "-r requirements.lock"
    grep -vxF -f requirements.lock "$folder/dev"
} >requirements-dev.lock
{
    header "What \`make bench\` needs beside requirements-dev.lock."
    grep -vxF -f requirements-dev.lock "$folder/bench" | grep -vxF -f requirements.lock
} >requirements-bench.lock
rm -rf build
