//! A cache of the TXT records of one message, so that no name is looked up twice.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mail_auth::{ResolverCache, Txt};

/// TXT records by name, in lower case and with a trailing dot. It lives as long as the check of its
/// message, so its size is limited by the number of lookups.
#[derive(Default)]
pub(crate) struct TxtCache(Mutex<HashMap<Box<str>, Txt>>);

impl TxtCache {
    fn texts(&self) -> MutexGuard<'_, HashMap<Box<str>, Txt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the record of a name, which is given without a trailing dot.
    pub(crate) fn set(&self, name: &str, text: Txt) {
        let name = format!("{}.", name.to_ascii_lowercase());
        self.texts().insert(name.into(), text);
    }
}

impl std::fmt::Debug for TxtCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TxtCache")
    }
}

impl ResolverCache<Box<str>, Txt> for TxtCache {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.texts().get(name).cloned()
    }

    fn remove<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.texts().remove(name)
    }

    fn insert(&self, name: Box<str>, text: Txt, _: std::time::Instant) {
        self.texts().insert(name, text);
    }
}
