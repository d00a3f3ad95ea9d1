"""Verifies every signature of every message with dkimpy: verify_dkimpy.py RECORDS FILE..."""

import json
import pathlib
import sys

import dkim

records = {record["name"]: record["value"].encode() for record in json.loads(pathlib.Path(sys.argv[1]).read_text())}


def lookup(name, timeout=5):
    return records.get((name.decode() if isinstance(name, bytes) else name).rstrip("."))


failed = []
for file in sys.argv[2:]:
    message = pathlib.Path(file).read_bytes()
    for number in range(len(records)):
        try:
            verified = dkim.DKIM(message).verify(number, dnsfunc=lookup)
        except dkim.DKIMException as error:
            verified = False
            print(f"{file}: {error}")
        if not verified:
            failed.append(f"{file}: signature {number} does not verify")
print("\n".join(failed) or f"{len(records)} signatures of {len(sys.argv) - 2} messages verify")
sys.exit(bool(failed))
