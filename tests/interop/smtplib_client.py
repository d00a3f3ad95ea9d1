"""Submits three messages with Python's smtplib. usage: smtplib_client.py PORT"""

import smtplib
import sys

with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "client.interop.test", timeout=30) as relay:
    relay.ehlo()
    for extension in ("pipelining", "8bitmime", "size", "smtputf8", "enhancedstatuscodes"):
        assert extension in relay.esmtp_features, extension
    dots = "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nend\r\n"
    assert relay.sendmail("app@sender.test", ["a@dest.test", "b@dest.test"], dots) == {}
    eight_bit = "Subject: 8 bit\r\n\r\ngrüße\r\n".encode()
    assert relay.sendmail("app@sender.test", "u@dest.test", eight_bit, ["BODY=8BITMIME"]) == {}
    big = b"Subject: big\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 14_500
    assert relay.sendmail("app@sender.test", "u@dest.test", big) == {}
