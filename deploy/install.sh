#!/bin/sh
# Installs the relay on a server with systemd: binaries, user, configuration, unit.
# An existing configuration is left as it is. Run again to upgrade.
set -eu

usage() {
    cat <<'TXT'
usage: deploy/install.sh [--target DIR]

  --target DIR   where the built binaries are (default: target/release)

Needs root. With DESTDIR set, files go below that folder, and neither the user
is made nor systemd told.
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
        target=${2:?--target needs a folder}
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
        fail "no $program in $target; build it first: cargo build --release --workspace"
done
if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || fail "needs root"
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
install -D -m 0644 "$here/relayd.service" "$root/etc/systemd/system/relayd.service"
# sendmail reads the configuration as whoever calls it. Secrets have files of their own, and others must
# not read those once they may pass through the folder.
if [ -d "$root/etc/relayd" ] && [ -z "$(find "$root/etc/relayd" -prune -perm -0001)" ]; then
    echo "install: $root/etc/relayd is opened to all users (0755). They can read these files in it from now on;"
    echo "install: if one holds a secret: chmod o-r FILE"
    find "$root/etc/relayd" -type f -perm -0004 -exec echo "install:   " {} \;
fi
install -d -m 0755 "$root/etc/relayd"
if [ -e "$root/etc/relayd/relayd.toml" ]; then
    echo "install: kept $root/etc/relayd/relayd.toml as it is"
    if [ -z "$(find "$root/etc/relayd/relayd.toml" -perm -0004)" ]; then
        echo "install: users cannot read it, so their sendmail uses the usual places and the system's own name;"
        echo "install: if it holds no secret: chmod 0644 $root/etc/relayd/relayd.toml"
    fi
else
    install -m 0644 "$here/../etc/relayd.toml" "$root/etc/relayd/relayd.toml"
fi

if [ -z "$root" ]; then
    # What else the operator keeps there has the owner he gave it.
    chgrp relayd /etc/relayd /etc/relayd/relayd.toml
    if [ ! -d /run/systemd/system ]; then
        echo "install: done. systemd does not run here: start /usr/local/sbin/relayd as the user relayd"
        exit 0
    fi
    systemctl daemon-reload
    if systemctl --quiet is-active relayd; then
        echo "install: done. The old version still runs, until: systemctl restart relayd"
    else
        echo "install: done. Edit /etc/relayd/relayd.toml, then: systemctl enable --now relayd"
    fi
fi
