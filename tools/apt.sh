# Sourced by the other scripts: apt, only where it may be used without asking anybody.

# as_root COMMAND...: run it as root, or fail at once.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        sudo -n "$@"
    else
        return 1
    fi
}

# apt_try COMMAND...: an apt-get command with a time-out, quietly, never asking.
apt_try() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root timeout 180 env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=1 -o Acquire::http::Timeout=30 \
        -o DPkg::Lock::Timeout=60 -qq "$@" >/dev/null 2>&1
}

# apt_install PACKAGE...: from the lists that are there, or from fresh ones.
apt_install() {
    apt_try install -y --no-install-recommends "$@" ||
        { apt_try update && apt_try install -y --no-install-recommends "$@"; }
}
