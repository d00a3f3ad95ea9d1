#!/usr/bin/env bash
# Installs the peers that run.sh drives: swaks, and smtp-source and smtp-sink of Postfix. Debian; root.
set -euo pipefail
"$(dirname "$0")/dkim/setup.sh"
export DEBIAN_FRONTEND=noninteractive
missing=()
command -v swaks >/dev/null || missing+=(swaks)
[ -x /usr/sbin/smtp-source ] || missing+=(postfix)
command -v python3 >/dev/null || missing+=(python3)
command -v systemd-analyze >/dev/null || missing+=(systemd)
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update -qq
# Postfix comes for its two test programs only: it gets no configuration and is not started.
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
