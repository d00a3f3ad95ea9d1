//! The replies of the peer, and the outcome for each recipient.

mod world;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relay_message::Body;
use relay_smtp::{Stage, Verdict};
use relay_testkit::{DEADLINE, FakeMx, ScriptStep};
use world::{World, job, job_with, verdict, wire};

#[tokio::test]
async fn a_reply_to_rcpt_concerns_only_that_recipient() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    mx.on("rcpt late@dest.test", "450 4.2.0 later");
    mx.on("rcpt gone@dest.test", "550 5.1.1 no such user here");
    let recipients = ["late@dest.test", "now@dest.test", "gone@dest.test"];
    let outcomes = world.deliver(job(&recipients)).await;
    let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
    assert_eq!(
        verdicts,
        ["deferred 4.2.0", "delivered 2.0.0", "failed 5.1.1"]
    );
    assert!(
        outcomes[2]
            .text()
            .contains("550 5.1.1 no such user here (in reply to RCPT TO)")
    );
    assert_eq!(mx.messages()[0].recipients, ["<now@dest.test>"]);
}

#[tokio::test]
async fn a_refusal_fails_with_the_peers_status_and_text() {
    for (stage, expected) in [
        ("mail", Stage::Mail),
        ("rcpt", Stage::Rcpt),
        ("data", Stage::Data),
        ("dot", Stage::Message),
    ] {
        for (reply, verdict_expected) in [
            ("554 5.6.1 no", "failed 5.6.1"),
            ("451 4.6.1 later", "deferred 4.6.1"),
        ] {
            let mx = FakeMx::start().await;
            let world = World::with_mx(&mx).await;
            mx.on(stage, reply);
            let outcome = world.outcome().await;
            assert_eq!(verdict(&outcome), verdict_expected, "{stage}");
            assert_eq!(
                (outcome.stage, mx.messages().len()),
                (expected, 0),
                "{stage}"
            );
            assert_eq!(outcome.reply.map(|r| r.to_string()).as_deref(), Some(reply));
        }
    }
}

#[tokio::test]
async fn the_result_is_the_same_without_pipelining() {
    let mx = FakeMx::start().await;
    mx.offer(&[]);
    mx.on("rcpt gone@dest.test", "550 5.1.1 no");
    let world = World::with_mx(&mx).await;
    let verdicts = world.send(&["gone@dest.test", "u@dest.test"]).await;
    assert_eq!(verdicts, ["failed 5.1.1", "delivered 2.0.0"]);
    assert_eq!(mx.messages()[0].data, wire());
    assert_eq!(mx.messages()[0].mail, "<a@sender.test>");
}

#[tokio::test]
async fn a_peer_without_ehlo_gets_helo() {
    let mx = FakeMx::start().await;
    mx.on("ehlo", "502 5.5.1 what");
    let world = World::with_mx(&mx).await;
    assert_eq!(world.send(&["u@dest.test"]).await, ["delivered 2.0.0"]);
    assert_eq!(mx.commands()[..2], ["EHLO relay.test", "HELO relay.test"]);
}

#[tokio::test]
async fn a_message_that_the_peer_cannot_accept_fails_without_being_sent() {
    let mx = FakeMx::start().await;
    mx.offer(&["PIPELINING", "SIZE 20"]);
    let world = World::with_mx(&mx).await;
    assert_eq!(world.send(&["u@dest.test"]).await, ["failed 5.3.4"]);
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let verdicts = world.send(&["ü@dest.test", "u@dest.test"]).await;
    assert_eq!(verdicts, ["failed 5.6.7", "delivered 2.0.0"]);
    mx.wait_for_messages(1).await;
    assert!(!mx.commands().iter().any(|c| c.contains('ü')));
}

#[tokio::test]
async fn a_large_file_is_streamed_and_arrives_whole() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let body = b".0123456789 a line of a large message\r\n".repeat(50_000);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&body).expect("written");
    let length = body.len();
    let stored = Body::File {
        file: Arc::new(file),
        length: length as u64,
    };
    let outcomes = world
        .deliver(job_with(&["u@dest.test"], stored, length))
        .await;
    assert_eq!(verdict(&outcomes[0]), "delivered 2.0.0");
    assert!(mx.messages()[0].data.ends_with(&body));
    assert_eq!(
        mx.messages()[0].mail,
        format!("<a@sender.test> SIZE={}", mx.messages()[0].data.len())
    );
}

#[tokio::test]
async fn an_unreadable_body_defers_and_is_never_sent_as_complete() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"too short\r\n").expect("written");
    let stored = Body::File {
        file: Arc::new(file),
        length: 1000,
    };
    let outcomes = world
        .deliver(job_with(&["u@dest.test"], stored, 1000))
        .await;
    assert_eq!(verdict(&outcomes[0]), "deferred 4.3.0");
    mx.wait("end of the connection", |mx| mx.open_connections() == 0)
        .await;
    assert!(mx.messages().is_empty());
}

#[tokio::test]
async fn a_refusal_while_the_message_is_sent_counts() {
    for length in [100, 20_000_000] {
        let mx = FakeMx::start().await;
        mx.on(
            "data",
            ScriptStep::SayAndDrop("354 go\n552 5.3.4 too much".to_owned()),
        );
        let world = World::with_mx(&mx).await;
        let body = Body::Inline(Bytes::from(vec![b'x'; length]));
        let outcomes = world
            .deliver(job_with(&["u@dest.test"], body, length))
            .await;
        assert_eq!(verdict(&outcomes[0]), "failed 5.3.4", "{length} octets");
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_may_mean_a_duplicate_and_no_other_host_is_tried() {
    let [first, second] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(world::ip)).await;
    first.on("dot", ScriptStep::Drop);
    let world = World::new(first.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["10 m1.test", "20 m2.test"]);
    world.dns.set("m1.test", "A", &["127.0.0.2"]);
    world.dns.set("m2.test", "A", &["127.0.0.3"]);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.4.2");
    assert_eq!(outcome.stage, Stage::Message);
    assert!(
        outcome.detail.contains("duplicate is possible"),
        "{}",
        outcome.detail
    );
    assert_eq!(second.connections(), 0);
}

#[tokio::test]
async fn silence_ends_after_the_command_timeout_and_after_twice_that_for_the_dot() {
    for (stage, least) in [("connect", 200), ("rcpt", 200), ("dot", 400)] {
        let mx = FakeMx::start().await;
        mx.on(stage, ScriptStep::Silence);
        let mut world = World::with_mx(&mx).await;
        world.reconfigure(|c| c.command_timeout = Duration::from_millis(200));
        let begun = tokio::time::Instant::now();
        assert_eq!(verdict(&world.outcome().await), "deferred 4.4.2", "{stage}");
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(least) && took < DEADLINE,
            "{stage} took {took:?}"
        );
    }
}

#[tokio::test]
async fn a_reply_that_comes_octet_by_octet_has_no_more_time_than_others() {
    for (stage, stage_expected) in [
        ("connect", Stage::Greeting),
        ("mail", Stage::Mail),
        ("dot", Stage::Message),
    ] {
        let mx = FakeMx::start().await;
        let drops = b"250-and another line\r\n".to_vec();
        mx.on(stage, ScriptStep::Drip(drops, Duration::from_millis(50)));
        let mut world = World::with_mx(&mx).await;
        world.reconfigure(|c| c.command_timeout = Duration::from_millis(300));
        let outcome = tokio::time::timeout(DEADLINE, world.outcome()).await;
        let outcome = outcome.expect("an end to the reply");
        assert_eq!(verdict(&outcome), "deferred 4.4.2", "{stage}");
        assert_eq!(outcome.stage, stage_expected);
    }
}

#[tokio::test]
async fn every_reply_to_a_group_of_commands_has_its_own_time_limit() {
    let mx = FakeMx::start().await;
    mx.delay("rcpt", Duration::from_millis(200));
    let mut world = World::with_mx(&mx).await;
    world.reconfigure(|c| c.command_timeout = Duration::from_millis(700));
    let recipients = ["a", "b", "c", "d", "e", "f"].map(|u| format!("{u}@dest.test"));
    let recipients = recipients.each_ref().map(String::as_str);
    assert_eq!(world.send(&recipients).await, ["delivered 2.0.0"; 6]);
}

#[tokio::test]
async fn very_long_limits_do_not_overflow() {
    let mx = FakeMx::start().await;
    let mut world = World::with_mx(&mx).await;
    world.reconfigure(|c| {
        c.command_timeout = Duration::MAX;
        c.connect_timeout = Duration::MAX;
    });
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
}

#[tokio::test]
async fn hostile_replies_are_harmless_text_in_the_outcome() {
    let mx = FakeMx::start().await;
    mx.on(
        "rcpt",
        ScriptStep::Raw(b"550-5.1.1 \x1b[31mno\0\xff\r\n550 5.1.1 second\r\n".to_vec()),
    );
    let world = World::with_mx(&mx).await;
    let outcome = world.outcome().await;
    assert_eq!(
        (outcome.verdict, outcome.status.to_string().as_str()),
        (Verdict::Failed, "5.1.1")
    );
    let text = outcome.text();
    assert!(
        !text.contains(char::is_control) && text.contains("second"),
        "{text:?}"
    );
    let mx = FakeMx::start().await;
    let endless = [b"250 ".to_vec(), vec![b'x'; 100_000]].concat();
    mx.on("mail", ScriptStep::Raw(endless));
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "deferred 4.5.0");
}
