// Logs in and submits a message with nodemailer. usage: nodemailer_login.cjs PORT starttls|implicit
const fs = require("node:fs");
const nodemailer = require("nodemailer");

const [port, how] = process.argv.slice(2);
const relay = nodemailer.createTransport({
  host: "localhost",
  port: Number(port),
  secure: how === "implicit",
  requireTLS: true,
  tls: { ca: fs.readFileSync(process.env.RELAY_CA) },
  auth: { user: process.env.RELAY_USER, pass: process.env.RELAY_PASSWORD },
});
relay
  .sendMail({ from: "app@sender.test", to: "user@dest.test", subject: "nodemailer", text: "grüße" })
  .then((sent) => console.log(sent.response))
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
