#!/usr/bin/env bash
# Makes an authority, and an ECDSA and an RSA certificate signed by it. usage: certificates.sh DIRECTORY NAME
set -euo pipefail
cd "$1"
name=$2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Interop authority" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.pem
# A scanner expects a source of revocations. None is ever used.
cat >extensions <<TXT
subjectAltName = DNS:$name, DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityInfoAccess = OCSP;URI:http://ocsp.interop.test/
TXT
sign() { # KIND KEY-OPTIONS...
    local kind=$1
    shift
    openssl req -new "$@" -nodes -subj "/CN=$name" -keyout "$kind.key" -out "$kind.csr"
    openssl x509 -req -in "$kind.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 89 \
        -extfile extensions -out "$kind.own.pem"
    cat "$kind.own.pem" >"$kind.pem"
}
sign ecdsa -newkey ec -pkeyopt ec_paramgen_curve:P-256
sign rsa -newkey rsa:2048
