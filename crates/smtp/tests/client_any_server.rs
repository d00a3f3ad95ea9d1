//! The session ends in a defined result for any octets of a server and any break of the connection.

use proptest::prelude::*;
use relay_smtp::client::{
    Answer, ClientSession, Credentials, Envelope, Event, Plan, Proof, TlsUse,
};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::sasl::Secret;
use relay_smtp::sasl::scram::Nonce;
use relay_smtp::{ForwardPath, Recipient, ReversePath};

const SERVER: &str = "220 mx.test\r\n250-mx.test\r\n250 PIPELINING\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n";

/// Plays one transaction with two recipients against these octets, then breaks the connection.
fn play(plan: Plan, server: &[u8]) -> Vec<Option<Answer>> {
    let recipients: Vec<Recipient> = ["no@dest.test", "u@dest.test"]
        .map(|r| Recipient::from(r.parse::<ForwardPath>().expect("a path")))
        .into();
    let in_clear = plan.credentials.as_ref().is_some_and(|c| c.in_clear);
    let mut may_log_in = plan.tls == TlsUse::Active || in_clear;
    let mut session = ClientSession::new("relay.test", plan);
    let mut input = server;
    while let Some(event) = session.receive(&mut input) {
        let said = std::mem::take(session.output());
        assert!(may_log_in || !said.windows(5).any(|w| w == b"AUTH "));
        may_log_in |= event == Event::StartTls;
        match event {
            Event::Ready => {
                session.begin(&Envelope {
                    sender: &ReversePath::Null,
                    recipients: &recipients.iter().collect::<Vec<_>>(),
                    size: 10,
                    eight_bit: false,
                    utf8: false,
                    dsn: &DsnRequest::default(),
                });
            }
            Event::Content => session.content_sent(),
            Event::Finished(answers) => return answers.into_iter().map(Some).collect(),
            Event::StartTls => session.tls_started(),
            Event::Broken(_) => break,
        }
    }
    session.abandon()
}

#[test]
fn a_broken_connection_counts_no_recipient_as_taken() {
    let whole = play(Plan::CLEAR, SERVER.as_bytes());
    assert!(matches!(
        whole[..],
        [Some(Answer::Refused(..)), Some(Answer::Taken(_))]
    ));
    for end in 0..SERVER.len() {
        let answers = play(Plan::CLEAR, &SERVER.as_bytes()[..end]);
        assert!(
            !answers.iter().any(|a| matches!(a, Some(Answer::Taken(_)))),
            "cut at {end}"
        );
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    use TlsUse::{Active, IfOffered, Never, Required};
    let secret = prop::sample::select(vec!["short".to_owned(), "long".repeat(150)]);
    let secret = secret.prop_map(|text| Secret::new(text).expect("plain text"));
    let proof = prop_oneof![
        secret.clone().prop_map(Proof::Password),
        secret.prop_map(Proof::Token),
    ];
    let credentials = (proof, any::<bool>()).prop_map(|(proof, in_clear)| Credentials {
        user: "tim".parse().expect("a name"),
        proof,
        in_clear,
        nonce: Nonce::from_random([0; Nonce::RANDOM]),
    });
    let tls = prop::sample::select(vec![Never, IfOffered, Required, Active]);
    (tls, prop::option::of(credentials)).prop_map(|(tls, credentials)| Plan { tls, credentials })
}

proptest! {
    #[test]
    fn any_replies_lead_to_a_defined_result(
        server in proptest::collection::vec(
            prop_oneof![
                4 => Just(b"250 ok\r\n".to_vec()), 1 => Just(b"220 x\r\n".to_vec()),
                1 => Just(b"354 go\r\n".to_vec()), 1 => Just(b"250-PIPELINING\r\n".to_vec()),
                1 => Just(b"250 PIPELINING\r\n".to_vec()), 1 => Just(b"421 bye\r\n".to_vec()),
                1 => Just(b"550 no\r\n".to_vec()), 1 => Just(b"450 later\n".to_vec()),
                1 => proptest::collection::vec(any::<u8>(), 0..10),
            ],
            0..20,
        ),
    ) {
        let answers = play(Plan::CLEAR, &server.concat());
        prop_assert!(answers.is_empty() || answers.len() == 2);
    }

    #[test]
    fn any_login_dialogue_leads_to_a_defined_result(
        plan in plan(),
        server in proptest::collection::vec(
            prop_oneof![
                3 => Just(b"250-mx\r\n250-STARTTLS\r\n250 AUTH LOGIN PLAIN XOAUTH2\r\n".to_vec()),
                1 => Just(b"250-mx\r\n250 AUTH SCRAM-SHA-256 OAUTHBEARER\r\n".to_vec()),
                3 => Just(b"220 go\r\n".to_vec()), 3 => Just(b"334 \r\n".to_vec()),
                1 => Just(b"334 cj1BQUFB\r\n".to_vec()), 1 => Just(b"334 !\r\n".to_vec()),
                3 => Just(b"235 in\r\n".to_vec()), 2 => Just(b"250 ok\r\n".to_vec()),
                1 => Just(b"354 go\r\n".to_vec()), 1 => Just(b"535 no\r\n".to_vec()),
                1 => Just(b"454 later\r\n".to_vec()), 1 => Just(b"421 bye\r\n".to_vec()),
            ],
            0..20,
        ),
    ) {
        let greeted = [b"220 mx\r\n".to_vec(), server.concat()].concat();
        let answers = play(plan, &greeted);
        prop_assert!(answers.is_empty() || answers.len() == 2);
    }
}
