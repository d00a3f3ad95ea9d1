"""Logs in and submits a message with Python's smtplib. usage: smtplib_login.py PORT starttls|implicit"""

import os
import smtplib
import ssl
import sys

port, how = int(sys.argv[1]), sys.argv[2]
tls = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
if how == "implicit":
    relay = smtplib.SMTP_SSL("localhost", port, "client.interop.test", timeout=30, context=tls)
else:
    relay = smtplib.SMTP("localhost", port, "client.interop.test", timeout=30)
    assert not relay.has_extn("auth")
    relay.ehlo()
    assert not relay.has_extn("auth"), "a login is offered in clear"
    relay.starttls(context=tls)
with relay:
    relay.login(os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"])
    message = "Subject: smtplib\r\n\r\nhello\r\n"
    assert relay.sendmail("app@sender.test", ["user@dest.test"], message) == {}
