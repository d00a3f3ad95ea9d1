#!/usr/bin/env bash
# Installs the verifiers that run.sh uses: dkimpy, Perl's Mail::DKIM and OpenDKIM, and the messages
# of Python's email tests. Debian; root.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
missing=()
# The name of the test package contains the version of Debian's Python.
python=$(readlink /usr/bin/python3 || true)
for package in python3-dkim python3-nacl "lib${python:-python3.11}-testsuite" libmail-dkim-perl opendkim; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update -qq
# Only the verifier of OpenDKIM is needed: it is not started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
