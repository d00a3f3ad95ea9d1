#!/usr/bin/env bash
# Fuzzes one target, starting with the string literals of its unit tests and with the transcripts:
#
#   fuzz/run.sh TARGET [SECONDS]
#
# Needs a nightly toolchain and `cargo install cargo-fuzz`. Inputs that fail are written to
# fuzz/artifacts/TARGET; `cargo +nightly fuzz run TARGET FILE` runs one of them again.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?"name a target: $(cd fuzz/targets && echo *.rs)"}
seconds=${2:-300}

seeds=fuzz/target/seeds/$target
corpus=fuzz/corpus/$target
rm -rf "$seeds"
mkdir -p "$seeds" "$corpus"

count=0
# Each argument becomes a seed; escapes such as \r become octets.
seed() {
    local text
    for text; do
        count=$((count + 1))
        printf '%b' "$text" >"$seeds/$count"
    done
}

# Prints the string literals of a file, one per line. The file is in the crate $2, or in smtp.
literals() { grep -oP '(?<=")([^"\\]|\\.)*(?=")' "crates/${2:-smtp}/src/$1"; }
# Prints the lines of the peer in the transcripts of one kind of session, one per line.
said() { sed -n "s/^$2[:.]\\? //p" "tests/transcripts/$1"/*.smtp; }

case $target in
addresses)
    mapfile -t texts < <(literals address_list/tests.rs)
    seed "${texts[@]//\\\"/\"}" ;;
command)
    mapfile -t texts < <(literals command.rs; said server C)
    seed "${texts[@]}" ;;
header)
    # The first octet is the size of the pieces.
    mapfile -t texts < <(literals header.rs; literals header/scan.rs)
    seed "${texts[@]/#/7}" ;;
pattern)
    # The first line is the pattern, the rest is a sender.
    mapfile -t texts < <(literals pattern.rs)
    texts=("${texts[@]//\\\"/\"}")
    seed "${texts[@]/%/\\nuser@example.org}" ;;
path)
    mapfile -t texts < <(literals address.rs; said server C | grep -oP '(?<=<).*(?=>)')
    seed "${texts[@]}" ;;
reply)
    # The first octet is the size of the pieces.
    mapfile -t texts < <(literals reply_parser.rs)
    seed "${texts[@]/#/7}"
    for file in tests/transcripts/client/*.smtp; do
        seed "7$(sed -n 's/^S \(.*\)/\1\\r\\n/p' "$file" | tr -d '\n')"
    done ;;
body)
    # The first octet chooses how bare newlines are treated, the second is the size of the pieces.
    mapfile -t texts < <(literals body.rs)
    for policy in a b; do
        seed "${texts[@]/#/${policy}7}"
        for file in tests/transcripts/server/*.smtp; do
            seed "${policy}7$(sed -n 's/^C: \?\(.*\)/\1\\r\\n/p; s/^C\. //p' "$file" | tr -d '\n')"
        done
    done ;;
sasl)
    # The content of the braces in an exchange, one message per line.
    for file in tests/transcripts/*/auth*.smtp; do
        grep -oP '(?<=\{)[^}]*(?=\})' "$file" >"$seeds/$(basename "$file")" || rm "$seeds/$(basename "$file")"
    done ;;
record)
    # The records of the unit tests. The target computes the version from the parity of the first octet.
    for version in 1 2; do
        golden=$(sed -n "/^const GOLDEN_$version/,/\";\$/p" crates/queue/src/record/tests.rs | tr -d '\n')
        golden="\\x0$((version - 1))${golden#*\\x0$version}"
        golden=${golden%\";}
        # A backslash at the end of a line joins it to the next.
        seed "$(sed 's/\\\\x/\\x/g' <<<"${golden//\\\\/\\}")"
    done ;;
authserv)
    mapfile -t texts < <(literals authserv.rs mailauth)
    seed "${texts[@]//mx.our.test/our.test}" ;;
signature)
    # Header section, body and the record of a key.
    mapfile -t texts < <(literals signature.rs dkim)
    seed "${texts[@]/%/\\r\\nFrom: a@a.test\\r\\n\\x00body\\x00v=DKIM1; p=YQ==}"
    for file in crates/dkim/tests/vectors/*.eml; do
        key=$(cat crates/dkim/tests/vectors/rsa1024.public.txt)
        message=$(sed 's/$/\\r/' "$file" | sed -z 's/\n/\\n/g; s/\\r\\n\\r\\n/\\r\\n\\x00/')
        seed "$message\\x00v=DKIM1; k=rsa; p=$key" "$message\\x00v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    done ;;
server_session) cp tests/transcripts/server/*.smtp "$seeds" ;;
journal | state_dir)
    # Changes of six octets: the file, the place, and what happens there.
    seed '0' '\x01\x00\x00\x20\x00\x00\x01' '\x00\x01\x40\x30\x00\x00\x80' ;;
client_session) cp tests/transcripts/client/*.smtp "$seeds" ;;
*) echo "no seeds for $target" >&2; exit 2 ;;
esac

exec cargo +nightly fuzz run "$target" "$corpus" "$seeds" -- \
    -dict=fuzz/smtp.dict -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1
