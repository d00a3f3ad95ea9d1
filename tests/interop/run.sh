#!/usr/bin/env bash
# Tests the relay with independent programs. usage: run.sh [DIRECTORY OF THE BUILT PROGRAMS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-$here/../../target/release}" && pwd)
. "$here/harness.sh"

port=$(free_port)
sink=$(free_port)
mkdir "$work/mail"
cat >"$work/relayd.toml" <<TOML
hostname = "relay.interop.test"
state_dir = "$work/state"
[[listener]]
address = "127.0.0.1:$port"
role = "mx"
[relay]
networks = ["127.0.0.0/8"]
[limits]
connections_per_client = 200
[delivery]
refuse_addresses = []
[[route]]
domain = "*"
host = ["127.0.0.1"]
port = $sink
tls = "none"
[control]
socket = "$work/control.sock"
TOML

# -d: one file for each message received.
(cd "$work" && exec /usr/sbin/smtp-sink -u root -d "mail/m." "127.0.0.1:$sink" 256) >"$work/sink.log" 2>&1 &
pids+=($!)
"$bin/relayd" --config "$work/relayd.toml" >"$work/relayd.log" 2>&1 &
relayd=$!
pids+=("$relayd")
wait_for 15 listens "$port" || { cat "$work/relayd.log"; echo "relayd does not listen"; exit 1; }
wait_for 15 listens "$sink" || { cat "$work/sink.log"; echo "smtp-sink does not listen"; exit 1; }

arrived() { find "$work/mail" -type f | wc -l; }
at_least() { [ "$(arrived)" -ge "$1" ]; }
is_empty() { "$bin/relayctl" --socket "$work/control.sock" qstat | head -n 1 | grep -qx 'messages in queue: 0'; }
delivered() { # NUMBER: so many and not one more, with an empty queue
    wait_for 30 at_least "$1" && wait_for 10 is_empty && [ "$(arrived)" -eq "$1" ]
}

check "swaks submits a message" swaks --server "127.0.0.1:$port" --helo client.interop.test \
    --from app@sender.test --to user@dest.test --header "Subject: swaks" --body "from swaks"
check "the message is delivered" delivered 1
check "it has its text and our Received field" sh -c \
    "cat $work/mail/* | tr -d '\r' | grep -q 'from swaks' && grep -q 'by relay.interop.test with ESMTP id' $work/mail/*"
check "swaks pipelines" swaks --server "127.0.0.1:$port" --pipeline --from app@sender.test \
    --to a@dest.test,b@dest.test --body "pipelined"
check "it is delivered once for both recipients" delivered 2
check "Python's smtplib: recipients, dots, 8 bit, a megabyte" python3 "$here/smtplib_client.py" "$port"
check "all 5 messages are delivered" delivered 5
check "smtp-source: 500 messages over 10 connections" /usr/sbin/smtp-source -s 10 -m 500 -l 4096 \
    -f app@sender.test -t user@dest.test "127.0.0.1:$port"
check "all 505 messages are delivered" delivered 505
check "smtp-source: 500 more over kept connections, 100 KB each" /usr/sbin/smtp-source -s 10 -m 500 -d -l 102400 \
    -f app@sender.test -t user@dest.test "127.0.0.1:$port"
check "all 1005 messages are delivered" delivered 1005

kill -TERM "$relayd"
ends_well() { wait "$relayd"; }
check "SIGTERM ends relayd with exit code 0" ends_well
check "the log shows no fault in relayd" sh -c "! grep -e 'a fault in relayd' -e panicked $work/relayd.log"

check "Python's email and flufl.bounce read the reports" /usr/bin/python3 "$here/reports.py" "$bin"
check "dkimpy, Mail::DKIM and OpenDKIM verify the DKIM signatures" "$here/dkim/run.sh"

if command -v systemd-analyze >/dev/null; then
    exposure() {
        local unit=$here/../../deploy/relayd.service level
        sed "s,/usr/local/sbin/relayd,$bin/relayd," "$unit" >"$work/relayd.service"
        level=$(systemd-analyze security --offline=true "$work/relayd.service" |
            sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p')
        echo "exposure: $level"
        [ -n "$level" ] && awk "BEGIN { exit !($level < 2.0) }"
    }
    check "the unit's exposure is below 2.0" exposure
    sed -n '/exposure/p' "$work/out"
fi

summary
