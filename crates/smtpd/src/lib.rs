//! The SMTP server (qmail-smtpd, tcpserver): listeners, relay rules, intake.
//!
//! It drives [`relay_smtp::server::ServerSession`], which knows the protocol, answers its questions
//! from the operator's [`ServerConfig`], and hands messages to the queue. A client is told `250` only
//! once [`relay_message::QueueStore::commit`] says that its message would survive power loss.
//!
//! It never delivers, never looks anything up in the DNS, and never holds a message in memory
//! beyond its header section and one read.
//!
//! | module | its idea |
//! |---|---|
//! | `config` | what the operator decides |
//! | `relay` | who may send what to whom |
//! | `listener`, `unix`, `server` | sockets, sessions, shutdown |
//! | `door` | a way in without a listener |
//! | `slots`, `client` | how many sessions are open, and whose they are |
//! | `proxy`, `preface` | what a proxy says before its client speaks |
//! | `tls`, `stream` | certificates, handshakes, octets in clear or not |
//! | `auth` | users, passwords, what guessing costs |
//! | `inbound`, `strangers` | what is found out about strangers, and what comes of it |
//! | `connection` | one client: its session, its login, what it may send |
//! | `intake`, `pace` | a message's way into the queue, and how long it may take |
//! | `trace`, `submitted`, `section` | the fields that we add, and those that are there |
//! | `own_mail`, `signatory` | what mail of our own clients gets: fields that it lacks, signatures |
//! | `rewrite` | the addresses in it that do not go out as they came |
//! | `buffers` | memory only for those who need it |
//! | `events` | the log |

mod address;
pub mod auth;
mod buffers;
mod client;
mod clock;
pub mod config;
mod connection;
mod events;
mod external;
pub mod inbound_check;
mod intake;
mod listener;
mod local_session;
mod min_rate;
mod missing_headers;
mod proxy;
mod proxy_header;
mod received;
pub mod relay;
pub mod rewrite;
mod server;
mod signing_pool;
mod slots;
mod spawner;
mod stream;
mod submission;
pub mod tls;
mod unix;

pub use address::Address;
pub use auth::{
    AuthLimits, NoTemporaryRelay, PasswordHash, PasswordHashError, TemporaryRelay, User, Users,
};
pub use config::{Limits, ListenerConfig, Role, ServerConfig};
pub use listener::BindError;
pub use local_session::LocalSessions;
pub use relay::RelayRules;
pub use rewrite::{Replacement, Rewriting};
pub use server::{DRAIN, Server};
pub use tls::{CertificateInfo, CertificatePair, TlsError, TlsServer, TlsSettings};
pub use unix::{SocketError, SocketFile, bind_unix};
