//! The steps of a probe at one server.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::rand;
use relay_remote::Inspector;
use relay_smtp::client::{ClientSession, ContentEncoder, Credentials, Event, Plan, Proof, TlsUse};
use relay_smtp::sasl::scram::Nonce;
use relay_smtp::sasl::{Secret, UserName};
use relay_smtp::{ForwardPath, Reply, ReversePath};

use super::certificate::Handshake;
use super::dialogue::{ConnectError, Dialogue, End};
use super::result::{Observed, Outcome, StepResult};
use super::target::Endpoint;
use super::transcript::Transcript;
use super::{ProbeArgs, ProbeTls, message};
use crate::clock::now;

/// The port with TLS from the first byte (RFC 8314 §7.3).
const SUBMISSIONS: u16 = 465;

/// The user who logs in.
pub(super) struct ProbeLogin {
    pub(super) user: UserName,
    pub(super) secret: Secret,
    pub(super) is_token: bool,
}

/// Probes servers with the given settings.
pub(super) struct Prober<'a> {
    pub(super) args: &'a ProbeArgs,
    pub(super) login: Option<ProbeLogin>,
    pub(super) hostname: &'a str,
    pub(super) inspector: &'a Inspector,
}

impl Prober<'_> {
    pub(super) async fn call(
        &self,
        endpoint: &Endpoint,
        observed: &mut Observed,
        script: &mut Transcript<'_>,
    ) -> StepResult {
        observed.host = Some(endpoint.host.clone());
        observed.address = Some(endpoint.address.to_string());
        observed.tls = None;
        if let Some(login) = &self.login {
            script.hide(&login.secret);
        }
        let heard = script.lines_heard();
        let result = self
            .attempt(endpoint, self.tls(endpoint), observed, script)
            .await;
        match result {
            Err(End::Broken(why)) if script.lines_heard() == heard => {
                StepResult::new(Outcome::NotReached, false, why)
            }
            Err(End::Tls(why)) if self.falls_back(endpoint) => {
                script.note("continuing without TLS on a new connection, as a sender would");
                let result = self
                    .attempt(endpoint, TlsUse::Never, observed, script)
                    .await;
                result.unwrap_or_else(|_| StepResult::new(Outcome::Refused, false, why))
            }
            Err(end) => StepResult::new(Outcome::Refused, false, end.to_string()),
            Ok(result) => result,
        }
    }

    fn tls(&self, endpoint: &Endpoint) -> TlsUse {
        match self.args.tls {
            ProbeTls::Auto if endpoint.address.port() == SUBMISSIONS => TlsUse::Active,
            ProbeTls::Auto => TlsUse::IfOffered,
            ProbeTls::Require => TlsUse::Required,
            ProbeTls::Implicit => TlsUse::Active,
            ProbeTls::None => TlsUse::Never,
        }
    }

    fn falls_back(&self, endpoint: &Endpoint) -> bool {
        self.login.is_none() && self.tls(endpoint) == TlsUse::IfOffered
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        tls: TlsUse,
        observed: &mut Observed,
        script: &mut Transcript<'_>,
    ) -> Result<StepResult, End> {
        let connected = Dialogue::connect(endpoint, script, self.args.timeout).await;
        let mut dialogue = match connected {
            Ok(dialogue) => dialogue,
            Err(error) => {
                let detail = error.to_string();
                return Ok(StepResult::new(Outcome::NotReached, false, detail));
            }
        };
        let session = self.open(&mut dialogue, endpoint, tls, observed).await?;
        if self.args.open_relay {
            let result = self
                .try_relaying(&mut dialogue, endpoint, tls, observed)
                .await;
            dialogue.quit().await;
            return Ok(result);
        }
        let result = match &self.args.to {
            Some(to) => self.send(&mut dialogue, &session, to).await,
            None => Ok(StepResult::new(
                Outcome::Accepted,
                true,
                "a session is open",
            )),
        };
        let result = match result {
            Ok(result) => result,
            Err(end) => StepResult::new(Outcome::Refused, true, end.to_string()),
        };
        dialogue.quit().await;
        Ok(result)
    }

    /// Opens a session, from the greeting until a transaction may begin.
    pub(super) async fn open(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        endpoint: &Endpoint,
        tls: TlsUse,
        observed: &mut Observed,
    ) -> Result<ClientSession, End> {
        let plan = Plan {
            tls,
            credentials: self.credentials(endpoint)?,
        };
        let mut session = ClientSession::new(self.hostname, plan);
        let opening = Opening {
            tls,
            name: &endpoint.host,
            inspector: self.inspector,
            needs_verified: self.login.is_some() && !self.args.insecure && !is_here(endpoint),
        };
        opening
            .through(dialogue, &mut session, &mut observed.tls)
            .await?;
        Ok(session)
    }

    fn credentials(&self, endpoint: &Endpoint) -> Result<Option<Credentials>, End> {
        let Some(login) = &self.login else {
            return Ok(None);
        };
        let mut random = [0; Nonce::RANDOM];
        rand::fill(&mut random)
            .map_err(|_| End::Broken("the system has no random numbers".to_owned()))?;
        let secret = login.secret.clone();
        Ok(Some(Credentials {
            user: login.user.clone(),
            proof: if login.is_token {
                Proof::Token(secret)
            } else {
                Proof::Password(secret)
            },
            in_clear: is_here(endpoint),
            nonce: Nonce::from_random(random),
        }))
    }

    pub(super) fn sender(&self) -> ReversePath {
        let ours = || format!("postmaster@{}", self.hostname).parse();
        match &self.args.from {
            Some(from) => from.clone(),
            None => ours().unwrap_or(ReversePath::Null),
        }
    }

    /// Sends MAIL and RCPT, and the message unless the probe ends there.
    async fn send(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        session: &ClientSession,
        to: &ForwardPath,
    ) -> Result<StepResult, End> {
        let from = self.sender();
        let beyond_ascii = !from.as_str().is_ascii() || !to.as_str().is_ascii();
        let utf8 = match (beyond_ascii, session.extensions().utf8) {
            (true, true) => " SMTPUTF8",
            (false, _) => "",
            (true, false) => {
                return Err(End::Refused(
                    "the server does not accept non-ASCII addresses (no SMTPUTF8)".to_owned(),
                ));
            }
        };
        let mail = format!("MAIL FROM:<{}>{utf8}", from.as_str());
        positive(dialogue.exchange(&mail).await?)?;
        let rcpt = format!("RCPT TO:<{}>", to.as_str());
        let reply = positive(dialogue.exchange(&rcpt).await?)?;
        if self.args.dry {
            // The recipient was accepted, so the reply to this does not matter.
            let _ = dialogue.exchange("RSET").await;
            let detail = format!("{reply} (nothing was sent)");
            return Ok(StepResult::new(Outcome::Accepted, true, detail));
        }
        let reply = dialogue.exchange("DATA").await?;
        if !reply.is_intermediate() {
            return Err(End::Refused(reply.to_string()));
        }
        let text = message::text(&from, to, self.hostname, now());
        let (mut encoder, mut octets) = (ContentEncoder::default(), Vec::new());
        encoder.encode(text.as_bytes(), &mut octets);
        encoder.finish(&mut octets);
        let reply = positive(dialogue.content(&octets).await?)?;
        Ok(StepResult::new(Outcome::Accepted, true, reply.to_string()))
    }
}

/// How a session is opened.
struct Opening<'a> {
    tls: TlsUse,
    /// The name of the host.
    name: &'a str,
    inspector: &'a Inspector,
    /// Whether the session ends if the certificate cannot be verified.
    needs_verified: bool,
}

impl Opening<'_> {
    /// Runs the dialogue until a transaction may begin. The result of a TLS handshake is stored in
    /// `handshake`.
    async fn through(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        session: &mut ClientSession,
        handshake: &mut Option<Handshake>,
    ) -> Result<(), End> {
        if self.tls == TlsUse::Active {
            self.secure(dialogue, handshake).await?;
        }
        loop {
            match dialogue.event(session).await? {
                Event::Ready => return Ok(()),
                Event::StartTls => {
                    self.secure(dialogue, handshake).await?;
                    session.tls_started();
                }
                Event::Broken(trouble) => return Err(trouble.into()),
                Event::Content | Event::Finished(_) => {
                    return Err(End::Broken("an unexpected reply".to_owned()));
                }
            }
        }
    }

    async fn secure(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        handshake: &mut Option<Handshake>,
    ) -> Result<(), End> {
        let seen = dialogue.secure(self.inspector, self.name, now()).await?;
        let seen = handshake.insert(seen);
        match seen.flaws.first() {
            Some(flaw) if self.needs_verified => Err(End::Refused(format!(
                "no login, because the certificate is not verified: {flaw} (--insecure logs in \
                 anyway)"
            ))),
            _ => Ok(()),
        }
    }
}

/// Inspects the TLS of a server without showing the dialogue.
pub(crate) struct TlsInspection<'a> {
    pub(crate) inspector: &'a Inspector,
    pub(crate) hostname: &'a str,
    /// The time limit for each step.
    pub(crate) limit: Duration,
}

impl TlsInspection<'_> {
    /// Returns the result of the TLS handshake with the server at this address, under this name.
    /// Returns `None` if it does not use TLS.
    pub(crate) async fn at(
        &self,
        address: SocketAddr,
        name: &str,
        tls: TlsUse,
    ) -> Result<Option<Handshake>, InspectionError> {
        let mut script = Transcript::new(None);
        let endpoint = Endpoint {
            host: name.to_owned(),
            address,
        };
        let mut dialogue = Dialogue::connect(&endpoint, &mut script, self.limit).await?;
        let plan = Plan {
            tls,
            credentials: None,
        };
        let mut session = ClientSession::new(self.hostname, plan);
        let mut handshake = None;
        let opening = Opening {
            tls,
            name,
            inspector: self.inspector,
            needs_verified: false,
        };
        let opened = opening.through(&mut dialogue, &mut session, &mut handshake);
        match opened.await {
            Ok(()) => {
                dialogue.quit().await;
                Ok(handshake)
            }
            Err(end) => Err(InspectionError::Ended { endpoint, end }),
        }
    }
}

/// Why the TLS of a server could not be inspected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The dialogue ended before the session was open.
    #[error("{} ({}): {end}", endpoint.host, endpoint.address)]
    Ended {
        /// The server.
        endpoint: Endpoint,
        /// Why the dialogue ended.
        end: End,
    },
}

/// Returns whether the endpoint is this machine, where nobody can intercept the connection.
fn is_here(endpoint: &Endpoint) -> bool {
    endpoint.address.ip().to_canonical().is_loopback()
}

fn positive(reply: Reply) -> Result<Reply, End> {
    if reply.is_positive() {
        Ok(reply)
    } else {
        Err(End::Refused(reply.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::{Certificate, FakeMx};

    #[tokio::test]
    async fn no_password_is_sent_to_a_host_that_is_not_verified() {
        let inspector = Inspector::new(None).expect("authorities");
        let credentials = || Credentials {
            user: "app".parse().expect("a name"),
            proof: Proof::Password(Secret::new("secret").expect("a secret")),
            in_clear: false,
            nonce: Nonce::from_random([0; Nonce::RANDOM]),
        };
        for (tls, needs_verified, logs_in) in [
            (TlsUse::Required, true, false),
            (TlsUse::Active, true, false),
            (TlsUse::Required, false, true),
        ] {
            let mx = FakeMx::start().await;
            mx.offer(&["AUTH PLAIN"]);
            let certificate = Certificate::for_names(&["mx.test"]);
            if tls == TlsUse::Active {
                mx.begin_with_tls(&certificate);
            } else {
                mx.offer_tls(&certificate);
            }
            let endpoint = Endpoint {
                host: "mx.test".to_owned(),
                address: mx.address(),
            };
            let mut script = Transcript::new(None);
            let limit = relay_testkit::DEADLINE;
            let mut dialogue = Dialogue::connect(&endpoint, &mut script, limit)
                .await
                .expect("a connection");
            let plan = Plan {
                tls,
                credentials: Some(credentials()),
            };
            let opening = Opening {
                tls,
                name: &endpoint.host,
                inspector: &inspector,
                needs_verified,
            };
            let mut session = ClientSession::new("relay.test", plan);
            let mut handshake = None;
            let opened = opening.through(&mut dialogue, &mut session, &mut handshake);
            assert_eq!(opened.await.is_ok(), logs_in);
            let was_sent = mx.commands().iter().any(|line| line.starts_with("AUTH"));
            assert_eq!(was_sent, logs_in, "{tls:?}");
        }
    }
}
