#!/usr/bin/env bash
# Signs the messages of Python's email tests, of the mail-parser crate and of this project, and verifies
# every signature with dkimpy, Mail::DKIM and OpenDKIM. usage: run.sh [PROGRAM: sign_corpus, built]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
sign_corpus=${1:-}
python=/usr/bin/python3
domain=sender.test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok: $name: $(tail -n 1 "$work/out")"
    else
        echo "FAILED: $name"
        tail -n 20 "$work/out" | sed 's/^/    /'
        failed=1
    fi
}

mail_parser() { # Where cargo keeps the crate's source, which has messages in it.
    (cd "$root" && cargo metadata --format-version 1 --locked) | "$python" -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "mail-parser"))'
}

# Expects dkim=pass for both keys. Other signatures of a message cannot be looked up.
opendkim_verifies() { # FILE...
    local file passes count=0 bad=0
    for file in "$@"; do
        passes=$(opendkim -vv -x "$work/opendkim.conf" -t "$file" 2>/dev/null |
            grep -c "dkim=pass .*header\.d=$domain " || true)
        if [ "$passes" -eq 2 ]; then
            count=$((count + 1))
        else
            echo "$file: $passes of 2 signatures verify"
            bad=1
        fi
    done
    echo "2 signatures of $count messages verify"
    [ "$bad" -eq 0 ]
}

if [ -z "$sign_corpus" ]; then
    (cd "$root" && cargo build --quiet --locked -p relay-dkim --example sign_corpus)
    sign_corpus=${CARGO_TARGET_DIR:-$root/target}/debug/examples/sign_corpus
fi

mkdir "$work/mail"
records=$work/mail/records.json
"$python" "$here/corpus.py" "$work/mail" "$domain" \
    "$("$python" -c 'import os; print(os.path.dirname(os.__file__))')/test/test_email/data" \
    "$(mail_parser)/resources/eml"
"$sign_corpus" "$work/mail" "$domain"
"$python" -c '
import json, sys
for record in json.load(open(sys.argv[1])):
    print(record["name"], record["value"])' "$records" >"$work/opendkim.keys"
cat >"$work/opendkim.conf" <<CONF
Mode v
TestPublicKeys $work/opendkim.keys
Syslog no
AlwaysAddARHeader yes
AuthservID verifier.test
CONF

for form in relaxed simple; do
    check "dkimpy, relaxed/$form" "$python" "$here/verify_dkimpy.py" "$records" "$work/mail/$form"/*.eml
    check "Mail::DKIM, relaxed/$form" perl "$here/verify_mail_dkim.pl" "$records" "$work/mail/$form"/*.eml
    check "OpenDKIM, relaxed/$form" opendkim_verifies "$work/mail/$form"/*.eml
done

# Checks the verifiers: each must reject a message that was changed.
changed=$work/mail/changed.eml
sed 's/^Subject: t\r$/Subject: u\r/' "$work/mail/relaxed/000.eml" >"$changed"
not() { ! "$@"; }
check "dkimpy refuses a changed message" not "$python" "$here/verify_dkimpy.py" "$records" "$changed"
check "Mail::DKIM refuses a changed message" not perl "$here/verify_mail_dkim.pl" "$records" "$changed"
check "OpenDKIM refuses a changed message" not opendkim_verifies "$changed"
exit "$failed"
