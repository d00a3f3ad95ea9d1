"""Reports of relayd, read by Python's email and by flufl.bounce, which mailing lists use.

usage: reports.py FOLDER_OF_THE_BUILT_BINARIES
"""

import email
import email.policy
import pathlib
import queue
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from aiosmtpd.controller import Controller
from flufl.bounce import all_failures, scan_message

PATIENCE = 30  # seconds


class World:
    """The host for all mail: some mailboxes refuse it, the others accept it."""

    REPLIES = {
        "gone": "550 5.1.1 no such user",
        "full": "552 5.2.2 mailbox full",
        "later": "450 4.2.1 try again later",
    }

    def __init__(self):
        self.mail = queue.Queue()

    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = self.REPLIES.get(address.partition("@")[0])
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        self.mail.put((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Reports(unittest.TestCase):
    """One relay and one host for all tests. Each report goes to a different sender."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        peer = Controller(cls.world, "127.0.0.1", free_port(), enable_SMTPUTF8=True)
        peer.start()
        cls.addClassCleanup(peer.stop)
        cls.port = free_port()
        folder = pathlib.Path(cls.folder.name)
        config = folder / "relayd.toml"
        config.write_text(f"""
            hostname = "relay.interop.test"
            state_dir = "{folder}/state"
            [[listener]]
            address = "127.0.0.1:{cls.port}"
            role = "mx"
            [queue]
            lifetime = "4s"
            retry_unit = "1s"
            delay_notice = "1s"
            [[route]]
            domain = "*"
            host = ["127.0.0.1"]
            port = {peer.port}
            tls = "none"
            [delivery]
            refuse_addresses = []
            [control]
            socket = "{folder}/control.sock"
        """)
        log = open(folder / "log", "wb")
        cls.addClassCleanup(log.close)
        program = pathlib.Path(sys.argv[1]) / "relayd"
        relayd = subprocess.Popen([program, "--config", config], stderr=log)
        cls.addClassCleanup(relayd.wait, PATIENCE)
        cls.addClassCleanup(relayd.terminate)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", cls.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def send(self, sender, recipients, rcpt_options=(), mail_options=()):
        with smtplib.SMTP("127.0.0.1", self.port, "client.interop.test", timeout=PATIENCE) as relay:
            text = f"From: {sender}\r\nSubject: for {sender}\r\n\r\nbody\r\n".encode()
            refused = relay.sendmail(sender, recipients, text, mail_options, rcpt_options)
            self.assertEqual(refused, {})

    def report(self, sender):
        """The next report to this sender, and its fields for the message and for the recipients."""
        end = time.monotonic() + PATIENCE
        while True:
            mail_from, recipients, content = self.world.mail.get(timeout=end - time.monotonic())
            if recipients == [sender]:
                break
        self.assertEqual(mail_from.strip("<>"), "")
        report = email.message_from_bytes(content, policy=email.policy.default)
        self.assertEqual(report.defects, [])
        self.assertEqual(report.get_content_type(), "multipart/report")
        self.assertEqual(report.get_param("report-type"), "delivery-status")
        text, status, original = report.iter_parts()
        self.assertEqual(text.get_content_type(), "text/plain")
        fields = status.get_payload()
        if status.get_content_type() == "message/global-delivery-status":  # RFC 6533 section 3
            # Python knows only the older name, and does not separate the recipients.
            (message,) = fields
            groups = message.get_payload(decode=True).decode().replace("\r\n", "\n").split("\n\n")
            fields = [message, *map(email.message_from_string, groups)]
        self.assertIn(f"for {sender}", str(original))
        return content, fields[0], [field for field in fields[1:] if field.keys()]

    def bounces(self, content):
        """The recipients that failed and those that are delayed, according to flufl.bounce."""
        report = email.message_from_bytes(content)
        temporary, permanent = all_failures(report)
        self.assertEqual(set(scan_message(report)), set(permanent))
        return set(permanent), set(temporary)

    def test_all_failures_of_a_message(self):
        self.send("app@one.test", ["gone@a.test", "fine@b.test", "full@a.test"])
        content, message, recipients = self.report("app@one.test")
        self.assertEqual(self.bounces(content), ({b"gone@a.test", b"full@a.test"}, set()))
        self.assertEqual(message["Reporting-MTA"], "dns; relay.interop.test")
        found = {(r["Final-Recipient"], r["Action"], r["Status"]) for r in recipients}
        failed = {("rfc822; gone@a.test", "failed", "5.1.1"), ("rfc822; full@a.test", "failed", "5.2.2")}
        self.assertEqual(found, failed)

    def test_a_delay_and_then_the_end_of_it(self):
        self.send("app@two.test", ["later@a.test"])
        content, _, (recipient,) = self.report("app@two.test")
        self.assertEqual(self.bounces(content), (set(), {b"later@a.test"}))
        self.assertEqual((recipient["Action"], recipient["Status"]), ("delayed", "4.2.1"))
        content, _, (recipient,) = self.report("app@two.test")
        self.assertEqual(self.bounces(content), ({b"later@a.test"}, set()))
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "4.4.7"))
        self.assertIn("450 4.2.1 try again later", recipient["Diagnostic-Code"])

    def test_success_is_no_failure(self):
        self.send("app@three.test", ["fine@a.test"], ["NOTIFY=SUCCESS"])
        content, _, (recipient,) = self.report("app@three.test")
        self.assertEqual(self.bounces(content), (set(), set()))
        # The host does not support DSN, so the report says only "relayed" (RFC 3461 section 5.2.2).
        self.assertEqual(recipient["Action"], "relayed")

    def test_an_address_beyond_ascii(self):
        self.send("app@four.test", ["gone@grün.test"], (), ["SMTPUTF8"])
        _, _, (recipient,) = self.report("app@four.test")
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.1.1"))
        self.assertEqual(recipient["Final-Recipient"], "utf-8; gone@grün.test")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
