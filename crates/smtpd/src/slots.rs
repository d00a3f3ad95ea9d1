//! Limits the number of open sessions, in total and per client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay_smtp::Reply;
use relay_smtp::server::replies;

use crate::client::ClientId;
use crate::config::Limits;

/// The sessions that are open now.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: HashMap<ClientId, usize>,
}

/// The slot of a session. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// The client that the session counts for. It is not known before the PROXY header has been read.
    client: Option<ClientId>,
}

impl Slots {
    /// Takes a slot, or returns why none is free. For a client behind a proxy, [`Slot::assign`]
    /// checks the limit per client.
    pub(crate) fn take(
        self: &Arc<Self>,
        client: Option<ClientId>,
        limits: &Limits,
    ) -> Result<Slot, Reply> {
        let client = client.map(ClientId::counted_as);
        let mut open = self.lock();
        if open.all >= limits.connections {
            return Err(replies::too_many_sessions());
        }
        if let Some(client) = client {
            open.count(client, limits)?;
        }
        open.all += 1;
        let slots = Arc::clone(self);
        Ok(Slot { slots, client })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, client: ClientId, limits: &Limits) -> Result<(), Reply> {
        let of_client = self.by_client.get(&client).copied().unwrap_or(0);
        if of_client >= limits.connections_per_client {
            return Err(replies::too_many_of_client());
        }
        self.by_client.insert(client, of_client + 1);
        Ok(())
    }
}

impl Slot {
    /// Counts the session for its client, which is now known.
    pub(crate) fn assign(&mut self, client: ClientId, limits: &Limits) -> Result<(), Reply> {
        let client = client.counted_as();
        self.slots.lock().count(client, limits)?;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.lock();
        open.all -= 1;
        let Some(client) = self.client else {
            return;
        };
        if let Entry::Occupied(mut of_client) = open.by_client.entry(client) {
            *of_client.get_mut() -= 1;
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_total_and_per_client_and_are_freed() {
        let slots = Arc::new(Slots::default());
        let limits = Limits {
            connections: 3,
            connections_per_client: 2,
            ..Limits::default()
        };
        let client = |last| ClientId::Address([127, 0, 0, last].into());
        let take = |last| slots.take(Some(client(last)), &limits);

        let first = take(1).expect("a free slot");
        let _second = take(1).expect("a free slot");
        assert_eq!(take(1).err(), Some(replies::too_many_of_client()));
        let other = take(2).expect("a free slot");
        assert_eq!(take(3).err(), Some(replies::too_many_sessions()));

        drop(other);
        drop(first);
        assert!(take(1).is_ok());
        assert_eq!(
            slots.lock().by_client.len(),
            1,
            "clients without sessions are forgotten"
        );
    }

    #[test]
    fn all_addresses_of_a_64_share_their_slots() {
        let slots = Arc::new(Slots::default());
        let limits = Limits {
            connections_per_client: 1,
            ..Limits::default()
        };
        let take = |client: &str| {
            slots.take(
                Some(ClientId::Address(client.parse().expect(client))),
                &limits,
            )
        };
        let first = take("2001:db8::1").expect("a free slot");
        let refused = take("2001:db8::2").err();
        assert_eq!(refused, Some(replies::too_many_of_client()));
        let _other = take("2001:db8:0:1::1").expect("another network");
        drop(first);
        let mut proxied = slots.take(None, &limits).expect("a free slot");
        let client = ClientId::Address("2001:db8::3".parse().expect("an address"));
        assert_eq!(proxied.assign(client, &limits), Ok(()));
        assert!(take("2001:db8::4").is_err());
    }

    #[test]
    fn a_client_behind_a_proxy_is_counted_once_it_is_known() {
        let slots = Arc::new(Slots::default());
        let limits = Limits {
            connections: 3,
            connections_per_client: 1,
            ..Limits::default()
        };
        let client = ClientId::Address([192, 0, 2, 1].into());
        let mut first = slots.take(None, &limits).expect("a free slot");
        let mut second = slots.take(None, &limits).expect("a free slot");
        assert_eq!(first.assign(client, &limits), Ok(()));
        assert_eq!(
            second.assign(client, &limits),
            Err(replies::too_many_of_client())
        );
        drop(second);
        assert_eq!(slots.lock().by_client.get(&client), Some(&1));
        drop(first);
        let open = slots.lock();
        assert!(open.all == 0 && open.by_client.is_empty());
    }
}
