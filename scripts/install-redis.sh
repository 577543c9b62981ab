#!/bin/sh
# Makes sure that redis-server is on PATH, which the tests start servers of their own from. Installs it with the
# system's package manager if that needs no password; else says what to install and fails.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

have redis-server && exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif have sudo && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    as_root=none
fi

install_redis() {
    if have brew; then # refuses to run as root, and needs none
        brew install redis
    elif [ "$as_root" = none ]; then
        return 1
    elif have apt-get; then
        $as_root apt-get update -qq &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server
    elif have dnf; then
        $as_root dnf install -y redis
    elif have apk; then
        $as_root apk add redis
    elif have pacman; then
        $as_root pacman -S --noconfirm --needed redis
    else
        return 1
    fi
}

echo 'redis-server is missing; installing it if that needs no password'
if ! install_redis </dev/null || ! have redis-server; then
    cat >&2 <<'HELP'
The tests need redis-server on PATH, version 7.0 or later, and it could not be installed. Install it with one of
    sudo apt-get install redis-server      (Debian, Ubuntu)
    sudo dnf install redis                 (Fedora)
    sudo apk add redis                     (Alpine)
    sudo pacman -S redis                   (Arch)
    brew install redis                     (macOS)
HELP
    exit 1
fi
