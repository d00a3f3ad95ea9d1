//! An independent verifier of DKIM signatures: mail-auth.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

/// A verifier that knows only the keys published to it and makes no DNS lookups.
#[derive(Default)]
pub struct DkimVerifier(HashMap<Box<str>, Txt>);

impl DkimVerifier {
    /// Publishes a record: its name without a trailing dot, and its text.
    pub fn publish(&mut self, name: &str, record: &str) {
        let key = DomainKey::parse(record.as_bytes()).expect("a record");
        let name = format!("{name}.").into_boxed_str();
        self.0.insert(name, Txt::DomainKey(Arc::new(key)));
    }

    /// Whether each of the message's signatures verifies, from the first one down.
    pub async fn verify(&self, message: &[u8]) -> Vec<bool> {
        let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let verifier =
            MessageAuthenticator::new(config, ResolverOpts::default()).expect("a resolver");
        let parsed = AuthenticatedMessage::parse(message).expect("a header section");
        let parameters = Parameters::new(&parsed).with_txt_cache(self);
        let outputs = verifier.verify_dkim(parameters).await;
        let passes = outputs
            .iter()
            .map(|output| *output.result() == DkimResult::Pass);
        passes.collect()
    }
}

impl ResolverCache<Box<str>, Txt> for DkimVerifier {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
