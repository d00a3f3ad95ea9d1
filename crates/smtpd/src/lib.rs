//! The SMTP server (qmail-smtpd, tcpserver): listeners, relay rules, intake.
//!
//! It drives [`relay_smtp::server::ServerSession`], which knows the protocol. It answers the
//! questions of the session from the operator's [`ServerConfig`] and hands messages to the queue. A
//! client gets `250` only after [`relay_message::QueueStore::commit`] has returned, when the
//! message would survive a power loss.
//!
//! It never delivers mail, never makes DNS lookups, and never holds more of a message in memory
//! than its header section and one read.
//!
//! | module | what it does |
//! |---|---|
//! | `config`, `address` | the configuration; addresses of listeners |
//! | `relay` | who may send what to whom |
//! | `listener`, `unix`, `server`, `spawner` | sockets, accepting, starting sessions, shutdown |
//! | `local_session` | sessions without a listener, for the maildrop |
//! | `slots`, `client` | limits for open sessions, in all and per client |
//! | `proxy_header` | the PROXY protocol |
//! | `tls`, `stream` | certificates, handshakes, connections in clear or under TLS |
//! | `auth` | users, passwords, penalties for failed logins |
//! | `inbound_check`, `external` | checks of external clients and their mail |
//! | `connection` | one client: its session, its login, its permissions |
//! | `intake`, `min_rate` | how a message enters the queue, and how long it may take |
//! | `received`, `missing_headers` | the Received field, and other fields that are added |
//! | `submission`, `signing_pool` | mail of clients that may relay: missing fields, signatures |
//! | `rewrite` | addresses of submitted mail that are completed or replaced |
//! | `buffers` | a pool of read buffers |
//! | `events` | log events |

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

pub use address::ListenerAddress;
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
