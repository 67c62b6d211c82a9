#!/bin/sh
# Makes .venv/ from the lock files, with the ordinary pip client as this machine has it configured.
# A second run does nothing but pip's own check. Needs Python >= 3.11 with venv; nothing else.
set -eu
cd "$(dirname "$0")/.."
. tools/apt.sh

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    # 3.11 first: it is the version that the lock files were made and tested with.
    for candidate in python3.11 python3 python3.12 python3.13 python3.14; do
        if usable "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' >/dev/null 2>&1; then
    if ! python=$(find_python); then
        apt_install python3-venv || true
        python=$(find_python) || {
            echo "zonegate needs Python 3.11 or newer with venv (Debian package python3-venv); none was found" >&2
            exit 1
        }
    fi
    echo "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "installing the locked packages into .venv"
.venv/bin/python -m pip install -qq --disable-pip-version-check -r requirements-dev.lock
# The build needs only setuptools, which the lock has just installed: no second download, no isolated environment.
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch .venv/.installed
