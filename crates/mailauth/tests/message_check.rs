//! Messages from external clients, checked against a fake DNS.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_dkim::{
    Algorithm, Canonicalization, Decision, GeneratedKey, HeaderList, PrivateKey, Record, Signer,
    SigningEntry,
};
use relay_mailauth::{MailAuth, Policy, Settings};
use relay_remote::dns::Dns;
use relay_smtp::command::ClientName;
use relay_smtpd::inbound_check::{CheckResult, InboundCheck as _, MessageSource, QueueId, Refusal};
use relay_testkit::{FakeDns, Trouble};

const NOW: SystemTime = UNIX_EPOCH;

/// A domain, a.test, whose mail comes from 192.0.2.7 and is signed.
struct World {
    fake: FakeDns,
    dns: Arc<Dns>,
    signer: Signer,
    policy: Policy,
    timeout: Duration,
}

impl World {
    async fn with_policy(dmarc: &str) -> Self {
        let fake = FakeDns::start().await;
        fake.set("a.test", "TXT", &["v=spf1 ip4:192.0.2.7 -all"]);
        fake.set("_dmarc.a.test", "TXT", &[dmarc]);
        let generated = GeneratedKey::generate(Algorithm::Ed25519).expect("a key");
        let domain = "a.test".parse().expect("a domain");
        let selector = "s".parse().expect("a selector");
        let record = Record::new(generated.public(), &domain, &selector);
        fake.set(&record.name, "TXT", &[&record.value]);
        let entry = SigningEntry {
            domain,
            selector,
            key: PrivateKey::from_pem(generated.pem().as_bytes()).expect("our own key"),
            subdomains: true,
            headers: HeaderList::default(),
            body: Canonicalization::Relaxed,
            expire: None,
        };
        Self {
            dns: Dns::new(&[fake.address()]),
            fake,
            signer: Signer::new([entry]).expect("a table"),
            policy: Policy::Enforce,
            timeout: Duration::from_secs(5),
        }
    }

    fn sign(&self, message: &str) -> String {
        let (header, body) = message.split_once("\r\n\r\n").expect("a body");
        let header = format!("{header}\r\n");
        let Decision::Sign(mut signing) = self.signer.decide(header.as_bytes()) else {
            panic!("not signed: {header}");
        };
        signing.write(body.as_bytes());
        let signature = signing.finish(NOW).expect("a signature");
        String::from_utf8(signature).expect("text") + message
    }

    async fn check(&self, client: &str, sender: &str, message: &str) -> CheckResult {
        let settings = Settings {
            hostname: "our.test".into(),
            policy: Some(self.policy),
            dnsbl: Vec::new(),
            timeout: self.timeout,
        };
        let dns = Arc::clone(&self.dns);
        let mailauth = MailAuth::new(settings, move || Arc::clone(&dns));
        let source = MessageSource {
            id: QueueId::from_bits(1),
            client: client.parse().ok(),
            hello: ClientName::parse("mx.a.test"),
            sender: sender.parse().expect("a reverse-path"),
            begun: NOW,
        };
        let (header, body) = message.split_once("\r\n\r\n").expect("a body");
        let header = format!("{header}\r\n");
        let check = mailauth.check_message(source, header.as_bytes());
        let mut check = check.expect("a policy");
        for piece in body.as_bytes().chunks(3) {
            check.pass(piece);
        }
        check.finish().await
    }
}

const MESSAGE: &str = "From: u@a.test\r\nSubject: t\r\n\r\nhello\r\n";
const OURS: &str = "192.0.2.7";
const OTHER: &str = "198.51.100.1";

fn refused(spf: &'static str, dkim: &'static str) -> Refusal {
    let domain = "a.test".to_owned();
    Refusal::DmarcReject { domain, spf, dkim }
}

#[tokio::test]
async fn the_results_are_written_into_one_field() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    let findings = world.check(OURS, "u@a.test", &world.sign(MESSAGE)).await;
    assert_eq!(
        findings.field,
        "Authentication-Results: our.test;\r\n\tspf=pass smtp.mailfrom=u@a.test;\r\n\
         \tdkim=pass header.d=a.test header.s=s;\r\n\
         \tdmarc=pass (p=reject dis=none) header.from=a.test\r\n"
    );
    assert_eq!(findings.refusal, None);
    let forged = world.check(OTHER, "u@a.test", MESSAGE).await;
    assert_eq!(
        forged.field,
        "Authentication-Results: our.test;\r\n\tspf=fail smtp.mailfrom=u@a.test;\r\n\
         \tdkim=none;\r\n\tdmarc=fail (p=reject dis=reject) header.from=a.test\r\n"
    );
    assert_eq!(forged.refusal, Some(refused("fail", "none")));
}

#[tokio::test]
async fn spf_or_dkim_is_enough_if_it_aligns_with_the_author() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    world
        .fake
        .set("b.test", "TXT", &["v=spf1 ip4:192.0.2.7 -all"]);
    let signed = world.sign(MESSAGE);
    let changed = signed.replace("hello", "hallo");
    let other = MESSAGE.replace("u@a.test", "u@sub.a.test");
    for (client, sender, message, result, refusal) in [
        (OTHER, "u@a.test", &signed, "pass", None),
        (OURS, "u@a.test", &MESSAGE.to_owned(), "pass", None),
        (OURS, "u@a.test", &changed, "pass", None),
        (OURS, "u@a.test", &other, "pass", None),
        (OURS, "u@b.test", &signed, "pass", None),
        (
            OURS,
            "u@b.test",
            &changed,
            "fail",
            Some(refused("pass", "fail")),
        ),
        (
            OURS,
            "",
            &MESSAGE.to_owned(),
            "fail",
            Some(refused("none", "none")),
        ),
    ] {
        let findings = world.check(client, sender, message).await;
        assert!(
            findings.field.contains(&format!("dmarc={result} ")),
            "{}",
            findings.field
        );
        assert_eq!(findings.refusal, refusal, "{}", findings.field);
    }
}

#[tokio::test]
async fn the_policy_of_the_domain_decides_what_is_done() {
    for (record, done, is_refused) in [
        ("v=DMARC1; p=reject", "(p=reject dis=reject)", true),
        (
            "v=DMARC1; p=quarantine",
            "(p=quarantine dis=quarantine)",
            false,
        ),
        ("v=DMARC1; p=none", "(p=none dis=none)", false),
        (
            "v=DMARC1; p=reject; t=y",
            "(p=quarantine dis=quarantine)",
            false,
        ),
        (
            "v=DMARC1; p=reject; pct=20",
            "(p=quarantine dis=quarantine)",
            false,
        ),
        ("v=DMARC1; p=reject; pct=100", "(p=reject dis=reject)", true),
        ("unrelated", "dmarc=none header.from=a.test", false),
    ] {
        let mut world = World::with_policy(record).await;
        let findings = world.check(OTHER, "u@a.test", MESSAGE).await;
        assert!(
            findings.field.contains(done),
            "{record}: {}",
            findings.field
        );
        assert_eq!(findings.refusal.is_some(), is_refused, "{record}");
        world.policy = Policy::Report;
        let told = world.check(OTHER, "u@a.test", MESSAGE).await;
        assert_eq!(told.refusal, None);
        assert!(!told.field.contains("dis=reject"), "{}", told.field);
    }
}

#[tokio::test]
async fn none_of_several_policy_records_counts() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    let records = ["v=DMARC1; p=reject", "v=DMARC1; p=none"];
    world.fake.set("_dmarc.a.test", "TXT", &records);
    let findings = world.check(OTHER, "u@a.test", MESSAGE).await;
    assert!(findings.field.contains("dmarc=none "), "{}", findings.field);
    assert_eq!(findings.refusal, None);
}

#[tokio::test]
async fn the_strictest_policy_of_several_authors_decides() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    world
        .fake
        .set("_dmarc.c.test", "TXT", &["v=DMARC1; p=none"]);
    for from in ["u@c.test, u@a.test", "u@a.test, u@c.test"] {
        let message = format!("From: {from}\r\n\r\nhello\r\n");
        let findings = world.check(OTHER, "u@c.test", &message).await;
        assert_eq!(findings.refusal, Some(refused("none", "none")), "{from}");
    }
    for from in [
        "From: u@b.test, u@a.test\r\n",
        "From: u@b.test\r\nFROM : u@a.test\r\n",
    ] {
        let message = format!("{from}\r\nhello\r\n");
        let findings = world.check(OTHER, "u@b.test", &message).await;
        assert!(
            findings.field.contains("dmarc=none header.from=b.test;"),
            "{}",
            findings.field
        );
        assert_eq!(
            findings.refusal,
            Some(refused("none", "none")),
            "{}",
            findings.field
        );
    }
    let crowd: Vec<_> = (0..8).map(|n| format!("u@d{n}.test")).collect();
    for from in [
        format!("From: {}\r\nFrom: u@a.test\r\n", crowd.join(", ")),
        format!("From: u@a.test, {}\r\n", crowd.join(", ")),
    ] {
        let message = format!("{from}\r\nhello\r\n");
        let findings = world.check(OTHER, "u@b.test", &message).await;
        assert_eq!(findings.refusal, Some(Refusal::TooManyAuthors), "{from}");
    }
    for from in [
        "u@b.test, A <a@sign.test",
        "A <a@sign.test",
        "<a@sign.test>x",
        "CEO <<ceo@sign.test>>",
        "CEO <ce o@sign.test>",
        "a@b@sign.test",
        "@sign.test",
    ] {
        let message = format!("From: {from}\r\n\r\nhello\r\n");
        let findings = world.check(OTHER, "u@none.test", &message).await;
        let refusal = findings.refusal;
        let is_refused = matches!(
            refusal,
            Some(Refusal::UnreadableAuthor | Refusal::DmarcReject { .. })
        );
        assert!(is_refused, "{from}: {refusal:?}");
    }
    let anonymous = world
        .check(OTHER, "u@a.test", "Subject: x\r\n\r\nhello\r\n")
        .await;
    let told = "dmarc=permerror reason=\"it has no From field\"\r\n";
    assert!(anonymous.field.ends_with(told), "{}", anonymous.field);
}

#[tokio::test]
async fn a_failed_lookup_refuses_no_message() {
    for trouble in [Trouble::ServFail, Trouble::Silence] {
        for name in ["a.test", "_dmarc.a.test", "s._domainkey.a.test"] {
            let mut world = World::with_policy("v=DMARC1; p=reject").await;
            world.timeout = Duration::from_millis(300);
            world.fake.fail(name, trouble);
            let changed = world.sign(MESSAGE);
            let findings = world.check(OTHER, "u@a.test", &changed).await;
            let is_deaf = name != "s._domainkey.a.test" && name != "_dmarc.a.test";
            assert_eq!(
                findings.refusal, None,
                "{name} {trouble:?}: {}",
                findings.field
            );
            // A signature that passes is enough, whatever the result of SPF.
            let expected = if is_deaf {
                "dmarc=pass"
            } else {
                "dmarc=temperror"
            };
            assert!(
                findings.field.contains(expected),
                "{name} {trouble:?}: {}",
                findings.field
            );
            assert!(findings.field.contains("=temperror"), "{}", findings.field);
        }
    }
}

#[tokio::test]
async fn a_silent_dns_delays_no_message_beyond_the_limit() {
    let mut world = World::with_policy("v=DMARC1; p=reject").await;
    world.timeout = Duration::from_millis(200);
    for name in [
        "a.test",
        "_dmarc.a.test",
        "_dmarc.test",
        "s._domainkey.a.test",
    ] {
        world.fake.fail(name, Trouble::Silence);
    }
    let began = tokio::time::Instant::now();
    let findings = world.check(OTHER, "u@a.test", &world.sign(MESSAGE)).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for result in ["spf=temperror", "dkim=temperror", "dmarc=temperror"] {
        assert!(findings.field.contains(result), "{}", findings.field);
    }
    assert_eq!(findings.refusal, None);
}

#[tokio::test]
async fn hostile_signatures_are_reported_and_cost_little() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    let hostile = "DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s\r\n\
        DKIM-Signature: v=1; a=rsa-sha1; d=x.test; s=s; h=from; bh=YQ==; b=YQ==\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; d=(x;s=\"y\";h=from;bh=YQ==;b=YQ==\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; d=none.test; s=s; h=from; bh=YQ==; b=YQ==\r\n";
    let message = format!("{hostile}{MESSAGE}");
    let findings = world.check(OURS, "u@a.test", &message).await;
    for line in [
        "dkim=neutral reason=\"the signature cannot be read\" header.d=x.test header.s=s;",
        "dkim=policy reason=\"rsa-sha1 is not trusted\" header.d=x.test header.s=s;",
        "dkim=neutral reason=\"the signature cannot be read\";",
        "dkim=permerror reason=\"there is no such key\" header.d=none.test header.s=s;",
    ] {
        assert!(findings.field.contains(line), "{line}\n{}", findings.field);
    }
    let many = "DKIM-Signature: v=1; a=rsa-sha256; d=N.test; s=s; h=from; bh=YQ==; b=YQ==\r\n";
    let many: String = (0..100)
        .map(|n| many.replace('N', &format!("n{n}")))
        .collect();
    let before = world.fake.asked().len();
    let findings = world
        .check(OURS, "u@a.test", &format!("{many}{MESSAGE}"))
        .await;
    assert_eq!(findings.field.matches("dkim=").count(), 8);
    let asked = world.fake.asked().len() - before;
    assert!(asked <= 8 + 4, "{:?}", world.fake.asked());
}

#[tokio::test]
async fn no_message_causes_more_lookups_than_the_limit() {
    let world = World::with_policy("v=DMARC1; p=reject").await;
    let deep = |n: usize| format!("a.b.c.d.e.f.x{n}.a.test");
    let signature = |n| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d={}; s=s; h=from; bh=YQ==; b=YQ==\r\n",
            deep(n)
        )
    };
    let signatures: String = (0..20).map(signature).collect();
    let authors: Vec<String> = (0..4).map(|n| format!("u@{}", deep(n + 50))).collect();
    let message = format!("{signatures}From: {}\r\n\r\nhello\r\n", authors.join(", "));
    let findings = world.check(OTHER, "u@a.test", &message).await;
    assert_eq!(
        findings.field.matches("dmarc=").count(),
        4,
        "{}",
        findings.field
    );
    // The addresses of the four authors' domains are queried too, to find out whether the domains
    // exist.
    let asked = world.fake.asked().len();
    assert!(asked <= 1 + 8 + 48 + 4, "{asked}");
}
