# Shared by run.sh and tls.sh, which source it: counts checks and ends processes.
work=$(mktemp -d)
pids=()
passed=0
failed=0

finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok: $name"
        passed=$((passed + 1))
    else
        echo "FAILED: $name"
        sed 's/^/    /' "$work/out"
        tail -n 20 "$work/relayd.log" | sed 's/^/    log: /'
        failed=$((failed + 1))
    fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

listens() { python3 -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)"; }

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
