//! DKIM (RFC 6376, RFC 8463): keys, DNS records, and making and verifying signatures.
//!
//! A [`Signer`] holds the operator's signing table. It reads a message's header section and decides
//! whether to sign the message. If so, it returns a [`Signing`], which takes the body in chunks and
//! returns the signature fields to prepend. The crate promises:
//!
//! * A message is signed only if its one From field names one domain and that domain is in the
//!   table.
//! * Every signed field is *oversigned*: a verifier rejects a message to which another field of
//!   that name was added.
//! * The memory in use depends on the header section, never on the body.
//!
//! The header section and the body must be given as they go out on the wire, with CR LF line ends.
//! Nothing here shares mutable state, reads a clock, or blocks on anything but a key file.
//! [`Signing::finish`] computes for about as long as an RSA signature takes.
//!
//! To verify signatures, [`claims`] reads the header section, [`Bodies`] takes the body, and
//! [`Signature::check_header`] takes the DNS records of the key, which the caller looks up.
//!
//! | module | content |
//! |---|---|
//! | `name` | domains and selectors |
//! | `key`, `keygen` | reading and making private keys |
//! | `record` | the DNS record of a key |
//! | `compare` | comparing a key with its DNS record |
//! | `field`, `header_list` | the fields of a header section, and which of them are signed |
//! | `author` | the domain of the From field |
//! | `body` | the hash of the body |
//! | `signature_field` | the text of a signature |
//! | `table` | the entries of the signing table, and which of them sign for a domain |
//! | `signer` | the decision whether to sign a message |
//! | `signing` | signing one message |
//! | `tags` | tag lists, the syntax of key records and signatures |
//! | `signature`, `verification`, `signature_error` | verifying signatures of others |

mod author;
mod body;
mod compare;
mod header_list;
mod key;
mod keygen;
mod record;
mod relaxed;
mod signature;
mod signature_error;
mod signature_field;
mod signer;
mod signing;
mod table;
mod tags;
mod verification;

pub use author::{AuthorError, Authors, author_domains};
pub use body::{BodyHash, Canonicalization};
pub use compare::{Mismatch, Verdict, compare, is_key_record, is_revoked};
pub use header_list::{HeaderList, HeaderListError};
pub use key::{Algorithm, KeyError, PemError, PrivateKey, PublicKey};
pub use keygen::{GenerateError, GeneratedKey};
pub use record::Record;
pub use relay_smtp::dns_name::{Domain, NameError, Selector};
pub use signature::Signature;
pub use signature_error::SignatureError;
pub use signer::{Decision, Signer, TableError};
pub use signing::{SignError, Signing};
pub use table::{SigningEntry, signing_entries};
pub use verification::{Bodies, BodyHashes, Claim, MAX_SIGNATURES, claims};
