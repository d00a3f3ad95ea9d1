//! Tests which values each parameter accepts, and that it accepts nothing that could forge a report
//! or a log line.

use proptest::prelude::*;
use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};

use super::*;

#[test]
fn ret_is_full_or_hdrs() {
    for (text, ret) in [("FULL", Ret::Full), ("hdrs", Ret::Headers)] {
        assert_eq!(text.parse(), Ok(ret));
        assert_eq!(ret.to_string(), text.to_ascii_uppercase());
    }
    for text in ["", "FULL,HDRS", "HEADERS", "FULL "] {
        assert_eq!(text.parse::<Ret>(), Err(DsnError::Ret), "{text:?}");
    }
}

#[test]
fn notify_lists_the_events_to_report() {
    for (text, [success, failure, delay]) in [
        ("NEVER", [false; 3]),
        ("SUCCESS", [true, false, false]),
        ("FAILURE", [false, true, false]),
        ("DELAY", [false, false, true]),
        ("SUCCESS,DELAY", [true, false, true]),
        ("SUCCESS,FAILURE,DELAY", [true; 3]),
    ] {
        let notify: Notify = text.to_ascii_lowercase().parse().expect(text);
        let found = [
            notify.on_success(),
            notify.on_failure(),
            notify.on_delay(!delay),
        ];
        assert_eq!(found, [success, failure, delay], "{text}");
        assert_eq!(notify.to_string(), text);
    }
    let twice: Notify = "DELAY,delay".parse().expect("a list");
    assert_eq!(twice.to_string(), "DELAY");
}

#[test]
fn without_notify_failures_are_reported_and_delays_by_default() {
    let notify = Notify::default();
    assert!(notify.on_failure() && !notify.on_success());
    assert!(notify.on_delay(true) && !notify.on_delay(false));
    assert_eq!(notify.to_string(), "");
}

#[test]
fn other_notify_values_are_refused() {
    for text in [
        "",
        ",",
        "NEVER,SUCCESS",
        "SUCCESS,NEVER",
        "SUCCESS,",
        ",DELAY",
        "SUCCESS FAILURE",
        "ALWAYS",
    ] {
        assert_eq!(text.parse::<Notify>(), Err(DsnError::Notify), "{text:?}");
    }
    assert_eq!(Occasions::new(false, false, false), None);
}

#[test]
fn an_envelope_id_keeps_its_text_and_can_be_decoded() {
    for (text, decoded) in [
        ("QQ314159", "QQ314159"),
        ("a+2Bb+3Dc+20d", "a+b=c d"),
        ("+41", "A"),
    ] {
        let envid: EnvelopeId = text.parse().expect(text);
        assert_eq!((envid.as_str(), &*envid.decoded()), (text, decoded));
    }
}

#[test]
fn an_envelope_id_is_xtext_of_printable_ascii() {
    for text in [
        "", "a=b", "a b", "+", "+4", "+4g", "+2b", "+0D+0A", "+00", "+7F", "+C3+A9", "é", "+é",
        "a\r\nb", "\u{7f}", "+ 1", "++1",
    ] {
        assert_eq!(
            text.parse::<EnvelopeId>(),
            Err(DsnError::EnvelopeId),
            "{text:?}"
        );
    }
}

#[test]
fn an_original_recipient_has_a_type_and_an_address() {
    for (text, address_type, address) in [
        ("rfc822;u@a.test", "rfc822", "u@a.test"),
        ("RFC822;a+2Bb@a.test", "RFC822", "a+b@a.test"),
        ("x400;/S+3Dsmith/", "x400", "/S=smith/"),
        ("rfc822;a;b@a.test", "rfc822", "a;b@a.test"),
        ("utf-8;u\\x{E9}@a.test", "utf-8", "ué@a.test"),
        ("UTF-8;ué\\x{10FFFD}@a.test", "UTF-8", "ué\u{10fffd}@a.test"),
        ("utf-8;a\\x{2B}b\\x{5C}c@a.test", "utf-8", "a+b\\c@a.test"),
    ] {
        let orcpt: Orcpt = text.parse().expect(text);
        assert_eq!(orcpt.as_str(), text);
        assert_eq!(orcpt.address_type(), address_type);
        assert_eq!(orcpt.address(), address);
    }
}

#[test]
fn other_original_recipients_are_refused() {
    for text in [
        "",
        ";",
        "rfc822",
        "rfc822;",
        ";u@a.test",
        "rfc 822;u@a.test",
        "rfc@822;u@a.test",
        "é;u@a.test",
        "rfc822;u@a.test b",
        "rfc822;é@a.test",
        "rfc822;u+0D+0AX:+20y",
        "rfc822;u\r\n@a.test",
        "rfc822;a=b",
        "rfc822;+",
        "utf-8;",
        "utf-8;a+2B",
        "utf-8;a=b",
        "utf-8;a b",
        "utf-8;\\",
        "utf-8;\\x{}",
        "utf-8;\\x{A}",
        "utf-8;\\x{0D}\\x{0A}",
        "utf-8;\\x{85}",
        "utf-8;\\x{202E}",
        "utf-8;\\x{2028}",
        "utf-8;\\x{D800}",
        "utf-8;\\x{110000}",
        "utf-8;\\x{00000E9}",
        "utf-8;\\x{e9}",
        "utf-8;\\x{E9",
        "utf-8;\\y{E9}",
        "utf-8;a\u{85}b",
        "utf-8;a\u{202e}b",
        "utf-8;a\u{3000}b",
    ] {
        assert_eq!(text.parse::<Orcpt>(), Err(DsnError::Orcpt), "{text:?}");
    }
}

#[test]
fn an_address_beyond_ascii_has_an_ascii_form() {
    let orcpt: Orcpt = "utf-8;ué\\x{2B}@bücher.test".parse().expect("an address");
    assert!(orcpt.needs_utf8());
    let ascii: Orcpt = orcpt.to_ascii().parse().expect("an address");
    assert_eq!(ascii.as_str(), "utf-8;u\\x{E9}\\x{2B}@b\\x{FC}cher.test");
    assert!(!ascii.needs_utf8());
    assert_eq!(ascii.address(), orcpt.address());
}

#[test]
fn lengths_are_bounded() {
    let envid = |length: usize| "a".repeat(length).parse::<EnvelopeId>();
    assert!(envid(100).is_ok());
    assert_eq!(envid(101), Err(DsnError::TooLong));
    let orcpt = |length: usize| format!("rfc822;{}", "a".repeat(length - 7)).parse::<Orcpt>();
    assert!(orcpt(500).is_ok());
    assert_eq!(orcpt(501), Err(DsnError::TooLong));
}

#[test]
fn stored_values_are_checked_when_they_are_loaded() {
    let envid = |text: &str| EnvelopeId::deserialize(stored(text));
    assert!(envid("a+0Ab").is_err() && envid("ab").is_ok());
    let orcpt = |text: &str| Orcpt::deserialize(stored(text));
    assert!(orcpt("rfc822;a\nb").is_err());
    let address = orcpt("rfc822;u@a.test").map(|orcpt| orcpt.address());
    assert_eq!(address, Ok("u@a.test".into()));
    assert!(Occasions::try_from((false, false, false)).is_err());
}

fn stored(text: &str) -> StrDeserializer<'_, value::Error> {
    text.into_deserializer()
}

fn is_harmless(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_printable)
}

proptest! {
    #[test]
    fn accepted_values_keep_their_text_and_decode_to_printable_text(
        text in "(rfc822|utf-8|x);([a-z@]|[+][0-9A-F]{2}|\\\\x[{][0-9A-F]{2,5}[}]|[+;=\\\\{} ]|\\PC|\\pC){1,6}",
    ) {
        if let Ok(orcpt) = text.parse::<Orcpt>() {
            prop_assert_eq!(orcpt.as_str(), &text);
            prop_assert!(is_harmless(&orcpt.address()));
            let ascii: Orcpt = orcpt.to_ascii().parse().expect("shorter than the bound");
            prop_assert!(!ascii.needs_utf8());
            prop_assert_eq!(ascii.address(), orcpt.address());
        }
        let (_, id) = text.split_once(';').expect("a semicolon");
        if let Ok(envid) = id.parse::<EnvelopeId>() {
            prop_assert_eq!(envid.as_str(), id);
            prop_assert!(is_harmless(&envid.decoded()) && envid.decoded().is_ascii());
        }
    }
}
