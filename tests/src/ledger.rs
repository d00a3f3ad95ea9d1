//! Records the replies to clients, and checks that the relay keeps its promises.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use relay_testkit::ReceivedMail;

/// What happens to a recipient's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is accepted at once.
    Now,
    /// It is accepted when the host is back.
    Later,
    /// It is rejected for good, and the sender gets a report.
    Gone,
    /// It is rejected for good in a transaction in which other recipients are accepted.
    Refused,
    /// It is accepted at once, as the last recipient of its transaction.
    Twin,
}

impl Fate {
    const ALL: [Self; 5] = [
        Self::Now,
        Self::Later,
        Self::Gone,
        Self::Refused,
        Self::Twin,
    ];

    pub(crate) fn domain(self) -> &'static str {
        match self {
            Self::Now | Self::Refused | Self::Twin => "now.test",
            Self::Later => "later.test",
            Self::Gone => "gone.test",
        }
    }

    /// The first part of its addresses.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Now | Self::Later | Self::Gone => "",
            Self::Refused => "refused-",
            Self::Twin => "twin-",
        }
    }

    fn is_failure(self) -> bool {
        matches!(self, Self::Gone | Self::Refused)
    }
}

/// A message of a load. Its sender and number determine its whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    client: u32,
    number: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}-{}", self.client, self.number)
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (client, number) = text.strip_prefix('k')?.split_once('-')?;
        Some(Self {
            client: client.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    pub(crate) fn sender(self) -> String {
        format!("{self}@sender.test")
    }

    fn recipient(self, fate: Fate) -> String {
        format!("{}{self}@{}", fate.tag(), fate.domain())
    }

    fn fates(self) -> impl Iterator<Item = Fate> {
        let chosen = self.number % 31 + 1;
        (0..).zip(Fate::ALL).filter_map(move |(bit, fate)| {
            let is_chosen = chosen & (1 << bit) != 0;
            is_chosen.then_some(fate)
        })
    }

    /// Returns the fates of these addresses, if each is a recipient whose fate passes `may`.
    fn fates_of(self, addresses: &[&str], may: impl Fn(Fate) -> bool) -> Option<Vec<Fate>> {
        let fate = |address: &&str| {
            let mut fates = self.fates().filter(|fate| may(*fate));
            fates.find(|fate| self.recipient(*fate) == *address)
        };
        let fates: Vec<Fate> = addresses.iter().map(fate).collect::<Option<_>>()?;
        (!fates.is_empty()).then_some(fates)
    }

    pub(crate) fn recipients(self) -> Vec<String> {
        self.fates().map(|fate| self.recipient(fate)).collect()
    }

    /// Returns the content. Every fourth client's messages are stored as files, the others in the
    /// journal.
    pub(crate) fn content(self) -> Vec<u8> {
        let lines = if self.client.is_multiple_of(4) {
            4000 + self.number % 3000
        } else {
            5 + self.number % 50
        };
        let header = format!("From: {}\r\nSubject: {self}\r\n\r\n", self.sender());
        let lines = (0..lines).map(|line| format!("{self} has the line {line:04} here\r\n"));
        (header + &lines.collect::<String>()).into_bytes()
    }
}

/// The replies to clients: every message that got a 250, and every refusal.
#[derive(Debug, Default)]
pub struct Ledger {
    next: AtomicU32,
    accepted: Mutex<BTreeSet<Key>>,
    refusals: Mutex<Vec<String>>,
}

impl Ledger {
    pub(crate) fn next_key(&self, client: u32) -> Key {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Key { client, number }
    }

    pub(crate) fn accepted(&self, key: Key) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(key);
    }

    /// Records a reply other than 250; empty if the relay was gone.
    pub(crate) fn refused(&self, reply: String) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.push(reply);
    }

    /// Returns the number of acknowledged messages.
    pub fn count(&self) -> usize {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.len()
    }

    /// Takes the replies other than 250 of a relay that was running.
    pub fn take_refusals(&self) -> Vec<String> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *refusals);
        taken.retain(|reply| !reply.is_empty());
        taken
    }

    /// Compares arrivals with acknowledged messages, and starts again with an empty ledger.
    pub(crate) fn close(&self, arrivals: &Arrivals) -> Verdict {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = std::mem::take(&mut *accepted);
        let due = accepted
            .iter()
            .flat_map(|key| key.fates().map(|f| (*key, f)));
        let lost = due.filter(|due| !arrivals.seen.contains(due));
        Verdict {
            acknowledged: accepted.len(),
            lost: lost.map(|(key, fate)| key.recipient(fate)).collect(),
            wrong: arrivals.wrong.clone(),
            twice: arrivals.twice,
        }
    }
}

/// The messages and reports that left the relay.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    seen: HashSet<(Key, Fate)>,
    wrong: Vec<String>,
    twice: usize,
}

impl Arrivals {
    /// Records a message that arrived at the host of this domain.
    pub(crate) fn deliver(&mut self, domain: &str, message: &ReceivedMail) {
        let key = path(&message.mail).and_then(|sender| of(sender, "sender.test"));
        let to: Vec<_> = message.recipients.iter().filter_map(|r| path(r)).collect();
        let found = key.and_then(|key| {
            let fates = key.fates_of(&to, |fate| fate.domain() == domain && !fate.is_failure())?;
            Some((key, fates))
        });
        match found {
            Some((key, fates)) if is_whole(&message.data, &key.content()) => self.note(key, &fates),
            _ => self.object(domain, message),
        }
    }

    /// Records a report that arrived at the senders' host. It must come from the right address.
    pub(crate) fn report(&mut self, message: &ReceivedMail) {
        let to = message.recipients.first().and_then(|to| path(to));
        let text = String::from_utf8_lossy(&message.data);
        let told: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "))
            .collect();
        let key = to.and_then(|to| of(to, "sender.test"));
        let found = key.and_then(|key| Some((key, key.fates_of(&told, Fate::is_failure)?)));
        match found {
            Some((key, fates))
                if message.mail.starts_with("<>")
                    && text.contains(&format!("Subject: {key}\r\n")) =>
            {
                self.note(key, &fates);
            }
            _ => self.object("sender.test", message),
        }
    }

    fn note(&mut self, key: Key, fates: &[Fate]) {
        for fate in fates {
            self.twice += usize::from(!self.seen.insert((key, *fate)));
        }
    }

    fn object(&mut self, place: &str, message: &ReceivedMail) {
        let (mail, to, length) = (&message.mail, &message.recipients, message.data.len());
        self.wrong
            .push(format!("at {place} from {mail} to {to:?}: {length} octets"));
    }
}

/// Whether a message is as the client sent it, after one added header field.
fn is_whole(data: &[u8], content: &[u8]) -> bool {
    data.strip_suffix(content)
        .and_then(|head| std::str::from_utf8(head).ok())
        .is_some_and(|head| head.starts_with("Received: ") && head.ends_with("\r\n"))
}

/// Returns the address in the argument of MAIL FROM or RCPT TO.
fn path(argument: &str) -> Option<&str> {
    argument.strip_prefix('<')?.split('>').next()
}

/// Returns the message of an address in this domain.
fn of(address: &str, domain: &str) -> Option<Key> {
    let (local, found) = address.split_once('@')?;
    (found == domain).then(|| Key::parse(local)).flatten()
}

/// The result of a comparison.
#[derive(Debug)]
pub struct Verdict {
    /// The number of messages with a 250.
    pub acknowledged: usize,
    /// Recipients of these that got nothing, without a report to the sender.
    pub lost: Vec<String>,
    /// Messages that arrived but are incomplete or went to the wrong recipient.
    pub wrong: Vec<String>,
    /// The number of duplicates.
    pub twice: usize,
}

impl Verdict {
    /// Whether nothing was lost or mixed up.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.wrong.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(key: Key, fate: Fate, data: Vec<u8>) -> ReceivedMail {
        ReceivedMail {
            mail: format!("<{}> SIZE=1", key.sender()),
            recipients: vec![format!("<{}>", key.recipient(fate))],
            raw: Vec::new(),
            data,
            connection: 1,
            tls: false,
            server_name: None,
            mechanism: None,
        }
    }

    fn whole(key: Key) -> Vec<u8> {
        [b"Received: here\r\n", &key.content()[..]].concat()
    }

    /// A message to both hosts that accept mail.
    fn both(ledger: &Ledger) -> Key {
        let key = ledger.next_key(1);
        let key = Key { number: 2, ..key };
        assert_eq!(key.fates().collect::<Vec<_>>(), [Fate::Now, Fate::Later]);
        ledger.accepted(key);
        key
    }

    #[test]
    fn a_missing_message_is_lost_and_a_duplicate_is_counted() {
        let ledger = Ledger::default();
        let key = both(&ledger);
        let mut arrivals = Arrivals::default();
        for _ in 0..2 {
            arrivals.deliver("now.test", &received(key, Fate::Now, whole(key)));
        }
        let verdict = ledger.close(&arrivals);
        assert_eq!(verdict.lost, [key.recipient(Fate::Later)]);
        assert_eq!((verdict.acknowledged, verdict.twice), (1, 1));
        assert!(verdict.wrong.is_empty() && !verdict.is_good());
        assert!(ledger.close(&Arrivals::default()).is_good(), "a new ledger");
    }

    #[test]
    fn an_incomplete_or_misdirected_message_is_not_a_delivery() {
        let ledger = Ledger::default();
        let key = both(&ledger);
        let mut cut = whole(key);
        cut.truncate(cut.len() - 2);
        let other = Key { number: 3, ..key };
        let mut arrivals = Arrivals::default();
        arrivals.deliver("now.test", &received(key, Fate::Now, cut));
        arrivals.deliver("later.test", &received(key, Fate::Now, whole(key)));
        arrivals.deliver("now.test", &received(key, Fate::Now, whole(other)));
        arrivals.report(&received(key, Fate::Gone, whole(key)));
        let verdict = ledger.close(&arrivals);
        assert_eq!((verdict.wrong.len(), verdict.lost.len()), (4, 2));
    }

    #[test]
    fn a_recipient_swapped_with_another_of_its_transaction_is_noticed() {
        let ledger = Ledger::default();
        let key = Key {
            number: 24,
            ..ledger.next_key(1)
        };
        let fates: Vec<_> = key.fates().collect();
        assert_eq!(fates, [Fate::Now, Fate::Refused, Fate::Twin]);
        ledger.accepted(key);
        let mut swapped = received(key, Fate::Now, whole(key));
        swapped
            .recipients
            .push(format!("<{}>", key.recipient(Fate::Refused)));
        let mut arrivals = Arrivals::default();
        arrivals.deliver("now.test", &swapped);
        let verdict = ledger.close(&arrivals);
        assert_eq!((verdict.wrong.len(), verdict.lost.len()), (1, 3));
    }
}
