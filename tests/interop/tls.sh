#!/usr/bin/env bash
# Tests TLS and logins with independent programs: five clients on both submission ports, two scanners on
# all three ports. usage: tls.sh [DIRECTORY OF THE BUILT PROGRAMS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-$here/../../target/release}" && pwd)
. "$here/harness.sh"

name=relay.interop.test
mx=$(free_port)
submission=$(free_port)
submissions=$(free_port)
sink=$(free_port)
mkdir "$work/mail"
"$here/certificates.sh" "$work" "$name" >"$work/certificates.log" 2>&1 ||
    { cat "$work/certificates.log"; exit 1; }
cat >"$work/relayd.toml" <<TOML
hostname = "$name"
state_dir = "$work/state"
[[listener]]
address = "127.0.0.1:$mx"
role = "mx"
[[listener]]
address = "127.0.0.1:$submission"
role = "submission"
[[listener]]
address = "127.0.0.1:$submissions"
role = "submissions"
[tls]
certificate = "$work/ecdsa.pem"
key = "$work/ecdsa.key"
[[tls.extra]]
certificate = "$work/rsa.pem"
key = "$work/rsa.key"
[auth]
users = "$work/users"
[relay]
networks = []
[limits]
connections_per_client = 500
[[route]]
domain = "*"
host = ["127.0.0.1"]
port = $sink
tls = "none"
[control]
socket = "$work/control.sock"
TOML
printf 's3cret & more\n' | "$bin/relayctl" --config "$work/relayd.toml" user add app --password-stdin

(cd "$work" && exec /usr/sbin/smtp-sink -u root -d "mail/m." "127.0.0.1:$sink" 64) >"$work/sink.log" 2>&1 &
pids+=($!)
"$bin/relayd" --config "$work/relayd.toml" >"$work/relayd.log" 2>&1 &
pids+=($!)
for port in "$mx" "$submission" "$submissions" "$sink"; do
    wait_for 15 listens "$port" || { cat "$work/relayd.log"; echo "relayd does not listen on $port"; exit 1; }
done

expected=0
submits() { # CLIENT AND PORT, COMMAND...: the message comes out at the other end, as a user's
    local what=$1
    shift
    expected=$((expected + 1))
    check "$what submits" "$@"
    check "the message is delivered, sent by a user under TLS" came_out
}
came_out() {
    wait_for 20 at_least "$expected" && [ "$(grep -lr 'with ESMTPSA id' "$work/mail" | wc -l)" -eq "$expected" ]
}
at_least() { [ "$(find "$work/mail" -type f | wc -l)" -ge "$1" ]; }

export RELAY_CA=$work/ca.pem RELAY_USER=app RELAY_PASSWORD='s3cret & more'
envelope=(--from app@sender.test --to user@dest.test)
login=(--auth-user "$RELAY_USER" --auth-password "$RELAY_PASSWORD")
printf 'Subject: interop\r\n\r\nhello\r\n' >"$work/message"

for mechanism in PLAIN LOGIN; do
    submits "swaks, 587, $mechanism" swaks --server localhost --port "$submission" --tls --tls-verify \
        --tls-ca-path "$RELAY_CA" --auth "$mechanism" "${login[@]}" "${envelope[@]}"
    submits "swaks, 465, $mechanism" swaks --server localhost --port "$submissions" --tls-on-connect --tls-verify \
        --tls-ca-path "$RELAY_CA" --auth "$mechanism" "${login[@]}" "${envelope[@]}"
done
for url in "smtp://localhost:$submission" "smtps://localhost:$submissions"; do
    submits "curl, ${url%%:*}" curl --silent --show-error --ssl-reqd --cacert "$RELAY_CA" --url "$url" \
        --user "$RELAY_USER:$RELAY_PASSWORD" --mail-from app@sender.test --mail-rcpt user@dest.test \
        --upload-file "$work/message"
done
for mechanism in plain scram-sha-256; do
    for starttls in on off; do
        if [ "$starttls" = on ]; then port=$submission; else port=$submissions; fi
        submits "msmtp, $mechanism, STARTTLS $starttls" sh -c "msmtp --host localhost --port $port --tls=on \
            --tls-starttls=$starttls --tls-trust-file $RELAY_CA --auth=$mechanism --user app \
            --passwordeval 'echo \"\$RELAY_PASSWORD\"' --from app@sender.test user@dest.test <$work/message"
    done
done
for how in starttls implicit; do
    if [ "$how" = starttls ]; then port=$submission; else port=$submissions; fi
    submits "Python's smtplib, $how" python3 "$here/smtplib_login.py" "$port" "$how"
    submits "nodemailer, $how" node "$here/nodemailer_login.cjs" "$port" "$how"
done

check "a wrong password is refused" sh -c "! swaks --server localhost --port $submission --tls \
    --auth-user app --auth-password wrong ${envelope[*]}"
check "no password is in the log" sh -c "! grep -e s3cret -e wrong $work/relayd.log"

scans() { # NAME PORT [STARTTLS]
    check "testssl finds nothing of medium severity or worse on $1" python3 "$here/scan.py" testssl "$2" "$name" "$RELAY_CA" "${3-}"
    check "sslscan finds nothing weak on $1" python3 "$here/scan.py" sslscan "$2" "$name" "$RELAY_CA" "${3-}"
}
scans 25 "$mx" starttls
scans 587 "$submission" starttls
scans 465 "$submissions"
check "the log shows no fault in relayd" sh -c "! grep -e 'a fault in relayd' -e panicked $work/relayd.log"

summary
