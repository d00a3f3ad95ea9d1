//! Our reader of address lists finds what mail-parser finds in well-formed lists.

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;
use proptest::prelude::*;
use relay_smtp::address_list::{Element, elements};

fn ours(value: &str) -> Vec<String> {
    let text = |element| match element {
        Element::Address(address) => {
            let local_part = address.local_part_text(value.as_bytes()).expect("UTF-8");
            let domain = address.domain_text(value.as_bytes()).expect("a domain");
            format!("{local_part}@{domain}")
        }
        other => panic!("{other:?} in {value:?}"),
    };
    elements(value.as_bytes()).map(text).collect()
}

fn theirs(value: &str) -> Vec<String> {
    let value = format!("{value}\n");
    match MessageStream::new(value.as_bytes()).parse_address() {
        HeaderValue::Address(addresses) => addresses
            .iter()
            .filter_map(|address| Some(address.address()?.to_owned()))
            .collect(),
        _ => Vec::new(),
    }
}

/// An address in one of the forms that people write.
fn mailbox() -> impl Strategy<Value = String> {
    let address = "[a-z][a-z0-9+_-]{0,5}(\\.[a-z0-9]{1,4}){0,2}@[a-z]{1,5}(\\.[a-z]{2,4}){1,2}";
    let name = prop_oneof![
        Just(String::new()),
        "[A-Z][a-z]{0,5}( [A-Z][a-z]{0,5})? ",
        "\"[A-Za-z ,;:<>()]{0,8}\" ",
    ];
    (address, name, any::<bool>(), any::<bool>()).prop_map(|(address, name, folds, comment)| {
        let fold = if folds { "\r\n " } else { "" };
        let comment = if comment { " (c, d)" } else { "" };
        if name.is_empty() {
            format!("{fold}{address}{comment}")
        } else {
            format!("{name}{fold}<{address}>{comment}")
        }
    })
}

proptest! {
    #[test]
    fn both_readers_find_the_same_addresses(
        mailboxes in proptest::collection::vec(mailbox(), 1..5),
        is_group in any::<bool>(),
    ) {
        let list = mailboxes.join(", ");
        let value = if is_group { format!("team: {list};") } else { list };
        let found = ours(&value);
        prop_assert_eq!(found.len(), mailboxes.len());
        prop_assert_eq!(found, theirs(&value), "{:?}", value);
    }
}
