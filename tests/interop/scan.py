"""Scans a port, and fails if the scanner finds a problem.

usage: scan.py testssl|sslscan PORT NAME AUTHORITY [starttls]
"""

import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

BAD = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}


def testssl(port, name, authority, starttls, result):
    """Findings that testssl rates as medium or worse. It must see both certificates and finish."""
    protocol = ["--starttls", "smtp"] if starttls else []
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"]
    command += ["--add-ca", authority, "--jsonfile", result, *protocol, f"{name}:{port}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    with open(result, encoding="utf-8") as file:
        findings = json.load(file)
    looked_at = {finding["id"] for finding in findings}
    assert {"TLS1_3", "cert_chain_of_trust <cert#2>", "ROBOT", "LUCKY13", "RC4"} <= looked_at, "it has not looked"
    return [finding for finding in findings if finding["severity"] in BAD]


def sslscan(port, name, _authority, starttls, result):
    """Protocols older than TLS 1.2, weak ciphers, and vulnerabilities that sslscan checks."""
    protocol = ["--starttls-smtp"] if starttls else []
    command = ["sslscan", f"--xml={result}", f"--sni-name={name}", *protocol, f"127.0.0.1:{port}"]
    subprocess.run(command, check=True)
    test = ElementTree.parse(result).getroot().find("ssltest")
    enabled = {(p.get("type"), p.get("version")) for p in test.findall("protocol") if p.get("enabled") == "1"}
    assert enabled, "it has not looked"
    found = [f"protocol {p}" for p in sorted(enabled - {("tls", "1.2"), ("tls", "1.3")})]
    for cipher in test.findall("cipher"):
        if cipher.get("strength") not in ("strong", "acceptable") or int(cipher.get("bits")) < 128:
            found.append(f"cipher {cipher.attrib}")
    for fault, bad in [
        ("compression", {"supported": "1"}),
        ("heartbleed", {"vulnerable": "1"}),
        ("renegotiation", {"supported": "1", "secure": "0"}),
    ]:
        found += [f"{fault} {e.attrib}" for e in test.findall(fault) if bad.items() <= e.attrib.items()]
    return found


def main():
    scanner, port, name, authority, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        scan = {"testssl": testssl, "sslscan": sslscan}[scanner]
        found = scan(port, name, authority, any(rest), f"{folder}/result")
    for finding in found:
        print("found:", finding)
    sys.exit(bool(found))


main()
