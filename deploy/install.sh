#!/bin/sh
# Installs relayd on a server with systemd: programs, user, configuration, unit.
# An existing configuration is kept. Run it again to upgrade.
set -eu

usage() {
    cat <<'TXT'
usage: deploy/install.sh [--target DIR]

  --target DIR   the directory of the built programs (default: target/release)

Needs root. With DESTDIR set, files are installed below that directory, no user
is created and systemd is not notified.
TXT
}

fail() {
    echo "install: $*" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
target=$here/../target/release
while [ $# -gt 0 ]; do
    case $1 in
    --target)
        target=${2:?--target needs a directory}
        shift 2
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
root=${DESTDIR:-}

for program in relayd relayctl sendmail; do
    [ -x "$target/$program" ] ||
        fail "$target/$program does not exist; build it first: cargo build --release --workspace"
done
if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || fail "must be run as root"
    getent group relayd >/dev/null || groupadd --system relayd
    getent passwd relayd >/dev/null ||
        useradd --system --gid relayd --home-dir /var/lib/relayd --no-create-home \
            --shell /usr/sbin/nologin --comment "SMTP relay" relayd
fi

install -D -m 0755 "$target/relayd" "$root/usr/local/sbin/relayd"
install -D -m 0755 "$target/relayctl" "$root/usr/local/sbin/relayctl"
install -D -m 0755 "$target/sendmail" "$root/usr/local/sbin/sendmail"
for name in /usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases; do
    if [ "$(readlink "$root$name")" = /usr/local/sbin/sendmail ]; then
        continue
    elif [ -e "$root$name" ] || [ -L "$root$name" ]; then
        echo "install: kept $root$name, which belongs to another mail system"
    else
        install -d "$root${name%/*}"
        ln -s /usr/local/sbin/sendmail "$root$name"
    fi
done
# relayctl makes the man pages and the completion scripts itself, unless it was built for another machine.
share=$root/usr/local/share
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
if "$target/relayctl" man --out "$made" 2>/dev/null; then
    for page in relayctl.8 relayd.8 sendmail.8 relayd.toml.5; do
        install -D -m 0644 "$made/$page" "$share/man/man${page##*.}/$page"
    done
    for shell in bash zsh fish; do
        "$target/relayctl" completion $shell >"$made/$shell"
    done
    install -D -m 0644 "$made/bash" "$share/bash-completion/completions/relayctl"
    ln -sf relayctl "$share/bash-completion/completions/relayd"
    install -D -m 0644 "$made/zsh" "$share/zsh/site-functions/_relayctl"
    install -D -m 0644 "$made/fish" "$share/fish/vendor_completions.d/relayctl.fish"
else
    echo "install: $target/relayctl does not run here, so no man pages and no completion scripts were installed"
fi
install -D -m 0644 "$here/relayd.service" "$root/etc/systemd/system/relayd.service"
# sendmail reads the configuration with the rights of its caller, so the directory is open to all users.
# Files in it that were protected by the directory alone are listed.
if [ -d "$root/etc/relayd" ] && [ -z "$(find "$root/etc/relayd" -prune -perm -0001)" ]; then
    echo "install: $root/etc/relayd becomes readable by all users (0755), and so do these files in it;"
    echo "install: if one contains a secret: chmod o-r FILE"
    find "$root/etc/relayd" -type f -perm -0004 -exec echo "install:   " {} \;
fi
install -d -m 0755 "$root/etc/relayd"
if [ -e "$root/etc/relayd/relayd.toml" ]; then
    echo "install: kept $root/etc/relayd/relayd.toml"
    if [ -z "$(find "$root/etc/relayd/relayd.toml" -perm -0004)" ]; then
        echo "install: users cannot read it, so their sendmail uses the default paths and the system's host name;"
        echo "install: if it contains no secret: chmod 0644 $root/etc/relayd/relayd.toml"
    fi
else
    install -m 0644 "$here/../etc/relayd.toml" "$root/etc/relayd/relayd.toml"
fi

if [ -z "$root" ]; then
    # Other files there keep the owner that the operator gave them.
    chgrp relayd /etc/relayd /etc/relayd/relayd.toml
    if [ ! -d /run/systemd/system ]; then
        echo "install: done. systemd is not running: start /usr/local/sbin/relayd as the user relayd"
        exit 0
    fi
    systemctl daemon-reload
    if systemctl --quiet is-active relayd; then
        echo "install: done. The old version keeps running until: systemctl restart relayd"
    else
        echo "install: done. Edit /etc/relayd/relayd.toml, then: systemctl enable --now relayd"
    fi
fi
