#!/usr/bin/env bash
# Installs the programs that run.sh and tls.sh use: smtp-source and smtp-sink of Postfix, swaks, curl,
# msmtp, nodemailer, testssl, sslscan, aiosmtpd and flufl.bounce. Debian; root.
set -euo pipefail
"$(dirname "$0")/dkim/setup.sh"
export DEBIAN_FRONTEND=noninteractive
here=$(cd "$(dirname "$0")" && pwd)
missing=()
needs() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
needs swaks swaks
needs /usr/sbin/smtp-source postfix
needs python3 python3
needs systemd-analyze systemd
needs openssl openssl
needs curl curl
needs msmtp msmtp
needs testssl testssl.sh
# testssl needs it.
needs hexdump bsdextrautils
needs sslscan sslscan
needs node nodejs
needs npm npm

# For Debian's Python, which may not be the first in the path.
/usr/bin/python3 -c 'import aiosmtpd, flufl.bounce' 2>/dev/null || missing+=(python3-aiosmtpd python3-flufl.bounce)

nodemailer() {
    [ -d "$here/node_modules/nodemailer" ] ||
        npm install --silent --no-audit --no-fund --no-package-lock --prefix "$here"
}

if [ ${#missing[@]} -eq 0 ]; then
    nodemailer
    exit
fi
apt-get update -qq
# Only the two test programs of Postfix are needed: it gets no configuration and is not started.
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
nodemailer
