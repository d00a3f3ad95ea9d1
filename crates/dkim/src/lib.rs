//! DKIM (RFC 6376, RFC 8463): keys, DNS records, and signatures over messages that pass by: ours made,
//! others' verified.
//!
//! A [`Signer`] holds the operator's signing table. It looks at a message's header section and says
//! whether the message is to be signed; the [`Signing`] that comes of it is fed the body in chunks
//! and gives back the signature fields to put in front. It promises that
//!
//! * a message is signed only if its one From field names one domain and that domain is in the table;
//! * every field that is signed is *oversigned*: no verifier takes a message to which another field of
//!   that name has been added;
//! * the memory it takes depends on the header section, never on the body.
//!
//! It signs what it is shown: the header section and the body must be those that go out on the wire,
//! lines ended by CR LF. Nothing here is mutable and shared, reads a clock or waits for anything but a
//! key file; [`Signing::finish`] computes for as long as an RSA signature takes.
//!
//! What others have signed is verified the same way: [`claims`] looks at the header section, [`Bodies`] is
//! fed the body, and whoever can ask the DNS hands the records of the keys to
//! [`Signature::check_header`].
//!
//! | module | what |
//! |---|---|
//! | `name` | domains and selectors |
//! | `key`, `keygen` | private keys, read and made |
//! | `record` | the DNS record of a key |
//! | `compare` | what a record looked up says about a key |
//! | `field`, `header_list` | the fields of a header section, and which of them are signed |
//! | `author` | the domain that a message is from |
//! | `body` | the body's hash |
//! | `signature_field` | the text of a signature |
//! | `table` | the entries of the signing table, and which of them sign for a domain |
//! | `signer` | whether a message is signed, and with which entries |
//! | `signing` | the signing of one message |
//! | `tags` | the lists of tags that records and signatures are |
//! | `signature`, `verification`, `signature_error` | others' signatures, and what is wrong with them |

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

pub use author::{AuthorError, author_domains};
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
