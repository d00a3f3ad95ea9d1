"""Collects messages to sign: corpus.py OUT DOMAIN DIRECTORY...

Takes all *.eml and msg_*.txt below the folders that are messages at all, gives them line ends and a From
field of the domain, and adds a few of its own that are hard to canonicalise.
"""

import pathlib
import re
import sys

out, domain, folders = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
AUTHOR = b"From: app@" + domain.encode()
PLAIN = AUTHOR + b"\r\nTo: u@dest.test\r\nSubject: t\r\n"
OWN = [
    PLAIN + b"\r\n",
    PLAIN + b"\r\n\r\n\r\n",
    PLAIN + b"\r\n \r\n\t\r\n",
    PLAIN + b"\r\na\r\n \r\n\r\n \t \r\n",
    PLAIN + b"\r\n\r\n \r\n  a \t b  \r\n.\r\n..\r\n",
    PLAIN + b"X: " + b"x" * 900 + b"\r\n\r\n" + b"long " * 190 + b"\r\n",
    PLAIN + b"Cc: a\r\nCC:\r\n b\r\n\t \r\nDate:\r\n\r\n\xe4\xff\x80 8bit\r\n",
    AUTHOR + b"\r\nSubject: =?utf-8?q?=C3=A4?=\r\n =?utf-8?q?b?=  \r\nReferences: <a@b>\r\n\t<c@d>\r\n\r\nx\r\n",
    PLAIN + b"To: v@dest.test\r\nList-Unsubscribe: <https://a.test/>\r\n\r\n" + b"\r\n" * 5000 + b"x\r\n",
]


def fields(header):
    return re.split(rb"\r\n(?![ \t])", header)


def is_message(message):
    header = message.partition(b"\r\n\r\n")[0]
    return (
        all(re.match(rb"[!-9;-~]+:", field) for field in fields(header))
        and not re.search(rb"\r(?!\n)|\x00", message)
        and all(len(line) <= 998 for line in message.split(b"\r\n"))
    )


def from_domain(message):
    """The message with CR LF line ends and a single From field in the signing domain."""
    message = re.sub(rb"\r?\n", b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    header, empty, body = message.partition(b"\r\n\r\n")
    others = [field for field in fields(header) if not re.match(rb"(?i)from[ \t]*:", field)]
    return b"\r\n".join([*others, AUTHOR]) + (empty or b"\r\n") + body


files = sorted(
    file
    for folder in folders
    for pattern in ("*.eml", "msg_*.txt")
    for file in pathlib.Path(folder).rglob(pattern)
)
found = [message for message in (from_domain(file.read_bytes()) for file in files) if is_message(message)]
if len(found) < 50:
    sys.exit(f"only {len(found)} messages of {len(files)} files: a corpus is missing")
for number, message in enumerate(OWN + found):
    (out / f"{number:03}.eml").write_bytes(message)
print(f"{len(OWN)} messages of our own and {len(found)} of {len(files)} files")
