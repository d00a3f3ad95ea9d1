#!/usr/bin/env bash
# Tests power cuts, full disks and failing disks with the real daemon on ext4 and XFS.
# usage: run.sh [ROUNDS]; the default is 50 power cuts on each file system.
# Needs Linux, root and loop devices. Installs packages on Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-50}

skip() {
    echo "power: SKIPPED, nothing was tested: $*"
    exit 0
}

[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
[ -e /dev/loop-control ] || skip "there are no loop devices"

missing=()
needs() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
needs mkfs.ext4 e2fsprogs
needs mkfs.xfs xfsprogs
needs xfs_io xfsprogs
needs eatmydata eatmydata
needs strace strace
if [ ${#missing[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

works() { # FILE SYSTEM: whether one can be mounted here
    local dir mounted=1
    dir=$(mktemp -d)
    truncate --size 400M "$dir/image"
    mkdir "$dir/mount"
    if "mkfs.$1" -q "$dir/image" && mount -o loop "$dir/image" "$dir/mount"; then
        umount "$dir/mount"
        mounted=0
    fi 2>/dev/null
    rm -r "$dir"
    return $mounted
}

test_power() { # [NAME OF A TEST]
    cargo test --locked -p relay-tests --test power -- --ignored --nocapture --test-threads 1 "$@"
}

works ext4 || skip "no ext4 can be mounted from a file"
echo "power: ext4, $rounds power cuts, controls that must lose mail, full disks and failing calls"
POWER_FS=ext4 POWER_ROUNDS=$rounds test_power
if works xfs; then
    echo "power: XFS, $rounds power cuts, and controls that must lose mail"
    POWER_FS=xfs POWER_ROUNDS=$rounds test_power cut
else
    echo "power: XFS was SKIPPED: none can be mounted from a file"
fi
