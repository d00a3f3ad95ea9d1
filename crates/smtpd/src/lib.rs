//! The SMTP server (qmail-smtpd, tcpserver): listeners, relay rules, intake.
//!
//! It drives [`relay_smtp::server::ServerSession`], which knows the protocol, answers its questions
//! from the operator's [`Config`], and hands messages to the queue. A client is told `250` only
//! once [`relay_queue::QueueStore::commit`] says that its message would survive power loss.
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

pub mod auth;
mod buffers;
mod client;
mod clock;
pub mod config;
mod connection;
mod door;
mod events;
pub mod inbound;
mod intake;
mod listener;
mod own_mail;
mod pace;
mod preface;
mod proxy;
pub mod relay;
pub mod rewrite;
mod server;
mod signatory;
mod slots;
mod strangers;
mod stream;
mod submitted;
pub mod tls;
mod trace;
mod unix;

pub use auth::{AuthLimits, Grants, NoGrants, PasswordHash, PasswordHashError, User, Users};
pub use config::{Config, Limits, ListenerConfig, Role};
pub use door::Door;
pub use listener::{Address, BindError};
pub use relay::{DomainPattern, PatternError, RelayRules, SenderPattern};
pub use rewrite::{AddressPattern, AddressPatternError, Replacement, Rewriting};
pub use server::{DRAIN, Server};
pub use tls::{CertificateInfo, CertificatePair, TlsError, TlsServer, TlsSettings};
pub use unix::{SocketError, SocketFile, bind_unix};
