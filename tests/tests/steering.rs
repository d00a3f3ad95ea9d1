//! The operator's commands for the queue, and their effects.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use relay_testkit::{FakeMx, Terminal};
use relay_tests::Relay;
use serde_json::Value;

const MESSAGE: &[u8] = b"Subject: t\r\n\r\nhello\r\n";

fn smarthost(mx: &FakeMx) -> String {
    format!(
        "[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {}\ntls = \"none\"\n",
        mx.address().port()
    )
}

/// A relay that tries each message once, and a smarthost that defers every recipient.
async fn world() -> (FakeMx, Relay) {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.2.0 later");
    let mut relay = Relay::prepare(&smarthost(&mx));
    let quick = fs::read_to_string(relay.path("relayd.toml")).expect("a file");
    let patient = quick
        .replace("\"1s\"", "\"600s\"")
        .replace("\"2s\"", "\"1h\"");
    relay.write("relayd.toml", &patient);
    relay.restart();
    (mx, relay)
}

fn list(relay: &Relay, filter: &[&str]) -> Vec<Value> {
    let listed = relay.ctl(&[&["--json", "queue", "list"], filter].concat());
    let messages: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("an array");
    let is_all = matches!(filter, [] | ["--all"]);
    let code = i32::from(messages.is_empty() && !is_all);
    assert_eq!(listed.status.code(), Some(code), "{filter:?}");
    messages
}

fn ids(relay: &Relay, filter: &[&str]) -> Vec<String> {
    let id = |message: Value| message["id"].as_str().expect("an id").to_owned();
    list(relay, filter).into_iter().map(id).collect()
}

/// Waits until every recipient has been tried once.
async fn wait_until_deferred(relay: &Relay) {
    let states = || {
        let messages = list(relay, &[]).into_iter();
        let rows = messages.flat_map(|m| m["recipients"].as_array().cloned().unwrap_or_default());
        rows.map(|row| row["state"].clone()).collect::<Vec<_>>()
    };
    let is_so = || states().iter().all(|state| state == "deferred");
    relay.wait_until("first attempt", is_so).await;
}

#[tokio::test]
async fn waiting_mail_uses_the_routes_of_a_new_configuration() {
    let free = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&free));
    // Whether the queue is read with the old routes depends on timing. A few rounds show it.
    for round in 1..=8 {
        // Each round uses a new destination that has no history.
        let busy = FakeMx::start().await;
        busy.on("connect", "421 4.3.2 no");
        relay.configure(&smarthost(&busy));
        relay.done(&["reload"]);
        relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
        wait_until_deferred(&relay).await;
        relay.configure(&smarthost(&free));
        relay.done(&["reload"]);
        free.wait_for_messages(round).await;
    }
}

#[tokio::test]
async fn a_verb_applies_to_messages_that_match_all_conditions() {
    let (mx, relay) = world().await;
    let send = async |from, to: &[&str]| relay.send(from, to, MESSAGE).await;
    let one = send("a@sender.test", &["u@one.test"]).await;
    let both = send("b@sender.test", &["u@one.test", "v@two.test"]).await;
    let null = send("", &["v@two.test"]).await;
    wait_until_deferred(&relay).await;
    relay.done(&["queue", "hold", &null]);
    for (filter, expected) in [
        (&[][..], &[&one, &both, &null][..]),
        (&["--all"], &[&one, &both, &null]),
        (&[&both, &one, &both], &[&one, &both]),
        (&["--domain", "ONE.test"], &[&one, &both]),
        (&["--domain", "ne.test"], &[]),
        (&["--sender", "B@sender.test"], &[&both]),
        (&["--sender", "<>"], &[&null]),
        (&["--recipient", "v@two.test"], &[&both, &null]),
        (&["--recipient", "u@one.test", "--domain", "two.test"], &[]),
        (&["--domain", "two.test", "--sender", ""], &[&null]),
        (&["--state", "deferred"], &[&one, &both, &null]),
        (&["--state", "queued"], &[]),
        (&["--state", "held"], &[&null]),
        (&["--state", "held", "--domain", "one.test"], &[]),
        (&["--older-than", "1h"], &[]),
        (&[&one, "--domain", "two.test"], &[]),
        (&["NOSUCHID"], &[]),
    ] {
        assert_eq!(
            ids(&relay, filter).iter().collect::<Vec<_>>(),
            expected,
            "{filter:?}"
        );
    }
    mx.behave();
    relay.done(&["queue", "retry", "--domain", "two.test"]);
    let arrived = mx.wait_for_messages(1).await;
    assert_eq!(
        arrived[0].recipients,
        ["<u@one.test>", "<v@two.test>"],
        "all of it"
    );
    relay.wait_until("two left", || relay.queued() == 2).await;
    assert_eq!(ids(&relay, &[]), [one, null]);
}

#[tokio::test]
async fn delivered_recipients_do_not_match_their_domain() {
    let (mx, relay) = world().await;
    mx.on("rcpt u@one.test", "250 2.1.5 ok");
    let id = relay
        .send("a@sender.test", &["u@one.test", "v@two.test"], MESSAGE)
        .await;
    mx.wait_for_messages(1).await;
    relay
        .wait_until("two.test alone", || {
            ids(&relay, &["--domain", "one.test"]).is_empty()
        })
        .await;
    let deleted = relay.ctl(&["queue", "delete", "--domain", "one.test"]);
    assert_eq!(deleted.status.code(), Some(1));
    assert_eq!(
        ids(&relay, &["--domain", "one.test", "--state", "done"]),
        [&*id]
    );
    assert_eq!(ids(&relay, &["--domain", "two.test"]), [id]);
}

#[tokio::test]
async fn a_verb_without_conditions_or_without_matches_changes_nothing() {
    let (_mx, relay) = world().await;
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    wait_until_deferred(&relay).await;
    for (verb, rest, code) in [
        ("delete", &[][..], 2),
        ("bounce", &["--yes"], 2),
        ("delete", &["--all", "--domain", "dest.test"], 2),
        ("delete", &["NOSUCHID"], 1),
        ("delete", &["--domain", "other.test"], 1),
        ("release", &[&id], 1),
    ] {
        let ended = relay.ctl(&[&["queue", verb], rest].concat());
        assert_eq!(ended.status.code(), Some(code), "{verb} {rest:?}");
        assert!(!ended.stderr.is_empty(), "{verb} {rest:?}");
    }
    let partly = relay.ctl(&["queue", "hold", "06Q3ZV9WQ0K4D", &id, "TYPO", "--json"]);
    assert_eq!(partly.status.code(), Some(1));
    let steered: Value = serde_json::from_slice(&partly.stdout).expect("JSON");
    assert_eq!(steered["changed"], 1);
    assert_eq!(
        steered["unknown"],
        serde_json::json!(["TYPO", "06Q3ZV9WQ0K4D"])
    );
    for verb in ["hold", "retry"] {
        let again = relay.ctl(&["queue", verb, "--all", "--json"]);
        assert_eq!(again.status.code(), Some(1), "{verb}");
        let steered: Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!(
            (&steered["matched"], &steered["changed"]),
            (&1.into(), &0.into())
        );
    }
    assert_eq!(ids(&relay, &["--state", "held"]), [id]);
}

/// Has this many messages that were tried once.
async fn world_of(messages: usize) -> (FakeMx, Relay) {
    let (mx, relay) = world().await;
    let mut client = relay.connect().await;
    for _ in 0..messages {
        let sent = client
            .send("a@sender.test", &["u@dest.test"], MESSAGE)
            .await;
        sent.expect("a 250");
    }
    wait_until_deferred(&relay).await;
    (mx, relay)
}

#[tokio::test]
async fn more_than_ten_messages_are_deleted_only_after_confirmation() {
    let (mx, relay) = world_of(11).await;
    for verb in ["delete", "bounce"] {
        let unasked = relay.ctl_with(&["queue", verb, "--all"], "y\n");
        let said = String::from_utf8_lossy(&unasked.stderr).into_owned();
        assert_eq!(unasked.status.code(), Some(2), "{said}");
        assert!(
            said.contains("11 messages") && said.contains("--yes"),
            "{said}"
        );
        assert_eq!(relay.queued(), 11);
    }
    let one = ids(&relay, &[]).remove(0);
    let said = relay.done(&["queue", "delete", &one, "--json"]);
    assert_eq!(
        said,
        "{\"matched\":1,\"changed\":1,\"pending\":0,\"untold\":0,\"held\":0,\"unknown\":[],\"problems\":[]}\n"
    );
    assert_eq!(
        relay.done(&["queue", "delete", "--all"]),
        "messages deleted: 10 of 10\n"
    );
    relay.wait_until_empty().await;
    relay.done(&["audit"]);
    assert!(mx.messages().is_empty());
}

/// Answers the operator's prompt, or ends the input. Returns the exit code.
fn asked(relay: &Relay, verb: &str, said: &str) -> Option<i32> {
    let terminal = Terminal::open();
    let mut command = relay.ctl_command(&["queue", verb, "--all"]);
    let mut relayctl = terminal.run(&mut command, |_| {});
    terminal.wait_for(&format!("{verb} 11 messages? [y/N] "));
    terminal.press(said);
    relayctl.wait().expect("an end").code()
}

#[tokio::test]
async fn on_a_terminal_the_operator_is_asked_and_only_yes_confirms() {
    let (_mx, relay) = world_of(11).await;
    let end_of_input = "\x04";
    for verb in ["delete", "bounce"] {
        for said in ["\n", "n\n", "yesno\n", end_of_input] {
            assert_eq!(asked(&relay, verb, said), Some(1), "{said:?}");
            assert_eq!(relay.queued(), 11);
        }
    }
    assert_eq!(asked(&relay, "delete", "Yes\n"), Some(0));
    relay.wait_until_empty().await;
}

#[tokio::test]
async fn the_question_counts_the_other_recipients_that_would_be_deleted() {
    let (_mx, relay) = world().await;
    let mut client = relay.connect().await;
    let (both, one) = (["u@dest.test", "v@other.test"], ["u@dest.test"]);
    for to in [&both[..]; 7].into_iter().chain([&one[..]; 4]) {
        let sent = client.send("a@sender.test", to, MESSAGE).await;
        sent.expect("a 250");
    }
    for (filter, said) in [
        (
            ["--domain", "dest.test"],
            "11 messages, including 7 recipients that",
        ),
        (["--sender", "a@sender.test"], "11 messages; use --yes"),
    ] {
        let unasked = relay.ctl(&[&["queue", "delete"], &filter[..]].concat());
        let error = String::from_utf8_lossy(&unasked.stderr);
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn no_question_is_asked_if_nobody_can_see_it() {
    let (_mx, relay) = world_of(11).await;
    let terminal = Terminal::open();
    let mut command = relay.ctl_command(&["queue", "delete", "--all"]);
    let relayctl = terminal.run(&mut command, |command| {
        command.stderr(Stdio::piped());
    });
    terminal.press("n\n");
    let output = relayctl.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--yes"), "{said}");
    assert_eq!((output.status.code(), relay.queued()), (Some(2), 11));
}

#[tokio::test]
async fn a_message_deleted_during_an_attempt_is_not_tried_again() {
    let mx = FakeMx::start().await;
    mx.delay("dot", Duration::from_millis(500));
    mx.on("dot", "450 4.2.0 later");
    let relay = Relay::start(&smarthost(&mx));
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    mx.wait_for_command("DATA").await;
    assert_eq!(ids(&relay, &["--state", "in-flight"]), [&*id]);
    relay.done(&["queue", "delete", &id]);
    assert_eq!(relay.queued(), 0);
    relay.wait_for_log("claim lost").await;
    relay.done(&["audit"]);
    let retried = relay.ctl(&["queue", "retry", "--all"]);
    assert_eq!(retried.status.code(), Some(1));
    assert_eq!(mx.commands().iter().filter(|c| *c == "DATA").count(), 1);
}

#[tokio::test]
async fn each_attempt_is_shown_with_its_whole_reply() {
    let (mx, relay) = world().await;
    mx.on("rcpt", "450-4.2.0 not now\n450 4.2.0 come back");
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    wait_until_deferred(&relay).await;
    mx.on("rcpt", "451 4.3.0 still not");
    relay.done(&["queue", "retry", &id]);
    let attempts = || list(&relay, &[])[0]["recipients"][0]["attempts"] == 2;
    relay.wait_until("second attempt", attempts).await;
    let shown: Value =
        serde_json::from_str(&relay.done(&["--json", "queue", "show", &id])).expect("JSON");
    let history = &shown["recipients"][0]["history"];
    let port = mx.address().port();
    for (made, reply) in [
        (0, "450 4.2.0 not now come back"),
        (1, "451 4.3.0 still not"),
    ] {
        assert_eq!(history[made]["reply"], reply);
        assert_eq!(history[made]["stage"], "RCPT TO");
        assert_eq!(history[made]["address"], format!("127.0.0.1:{port}"));
        assert_eq!(history[made]["tls"], Value::Null);
    }
    assert!(history[0]["at"].as_u64() <= history[1]["at"].as_u64());
    let text = relay.done(&["queue", "show", &id]);
    assert!(
        text.contains("450 4.2.0 not now come back") && text.contains("RCPT TO"),
        "{text}"
    );
}

#[tokio::test]
async fn waiting_mail_shows_its_reason_and_no_time_that_will_not_come() {
    let (mx, relay) = world().await;
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    wait_until_deferred(&relay).await;
    let name = format!("127.0.0.1:{}", mx.address().port());
    let shown = |waits_for: &str, has_time: bool, said: &str| {
        let row = list(&relay, &[])[0]["recipients"][0].clone();
        assert_eq!(row["waits_for"], waits_for, "{row}");
        assert_eq!(!row["next_attempt"].is_null(), has_time, "{row}");
        let text = relay.done(&["queue", "show", &id]);
        assert!(text.contains(&format!("  waits for    {said}\n")), "{text}");
    };
    shown("time", true, "its time");
    relay.done(&["suspend", &name]);
    shown("resume", false, "its destination, which is suspended");
    relay.done(&["queue", "hold", &id]);
    shown("release", false, "its release: it is held");
}

#[tokio::test]
async fn mail_for_a_host_that_is_down_waits_for_the_destination() {
    let (mx, relay) = world().await;
    mx.on("connect", "421 4.3.2 no");
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    let row = || list(&relay, &[])[0]["recipients"][0].clone();
    let is_left_alone = || row()["waits_for"] == "destination";
    relay
        .wait_until("destination left alone", is_left_alone)
        .await;
    assert!(row()["next_attempt"].is_u64());
}

#[tokio::test]
async fn a_suspended_destination_gets_no_mail_until_it_is_resumed() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::start(&smarthost(&mx));
    let name = format!("127.0.0.1:{}", mx.address().port());
    // Mail for the domain waits for the smarthost, so suspending the domain would do nothing.
    let refused = relay.ctl(&["suspend", "dest.test"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&name));
    assert_eq!(
        relay.done(&["suspend", &name]),
        format!("suspended: {name}\n")
    );
    assert_eq!(
        relay.ctl(&["suspend", &name]).status.code(),
        Some(1),
        "already"
    );
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    assert_eq!(
        relay.ctl(&["queue", "retry", "--all"]).status.code(),
        Some(1)
    );
    relay.kill();
    relay.restart();
    assert!(
        relay
            .done(&["qstat"])
            .contains(&format!("suspended: {name}\n"))
    );
    relay.send("a@sender.test", &["v@dest.test"], MESSAGE).await;
    assert_eq!((relay.queued(), mx.connections()), (2, 0));
    assert_eq!(relay.done(&["resume", &name]), "");
    mx.wait_for_messages(2).await;
    relay.wait_until_empty().await;
    assert_eq!(relay.ctl(&["resume", &name]).status.code(), Some(1));
}

#[tokio::test]
async fn a_smarthost_is_suspended_regardless_of_case_in_its_user_name() {
    let mx = FakeMx::start().await;
    let login = "username = \"AKIAexample\"\npassword_file = \"DIR/password\"\n";
    let mut relay = Relay::prepare(&format!("{}{login}", smarthost(&mx)));
    relay.write("password", "hunter2\n");
    relay.restart();
    let name = format!("AKIAexample@127.0.0.1:{}", mx.address().port());
    for given in [name.clone(), name.to_lowercase()] {
        assert_eq!(
            relay.done(&["suspend", &given]),
            format!("suspended: {name}\n")
        );
        relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
        assert_eq!(
            relay.ctl(&["queue", "retry", "--all"]).status.code(),
            Some(1)
        );
        relay.done(&["queue", "delete", "--all"]);
        assert_eq!(relay.done(&["resume", &given]), "");
    }
}

#[tokio::test]
async fn a_destination_that_no_mail_can_have_cannot_be_suspended() {
    let relay = Relay::start("");
    for (name, code) in [
        ("user@smart.test:587", 1),
        ("127.0.0.1:25", 1),
        ("", 1),
        ("[192.0.2.1]", 0),
        ("[2001:db8::1]", 0),
        ("[IPv6:2001:DB8::2]", 0),
        ("Dest.Test", 0),
    ] {
        let ended = relay.ctl(&["suspend", name]);
        assert_eq!(ended.status.code(), Some(code), "{name}");
    }
    assert_eq!(
        relay.done(&["orders"]),
        "suspended: [192.0.2.1]\nsuspended: [2001:db8::1]\nsuspended: [2001:db8::2]\n\
         suspended: dest.test\n"
    );
}

#[tokio::test]
async fn mail_held_by_a_rule_stays_held_over_a_restart() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::start(&smarthost(&mx));
    let hold = ["queue", "hold", "--incoming", "--domain", "dest.test"];
    assert!(
        relay
            .done(&hold)
            .starts_with("held on arrival: mail to dest.test since ")
    );
    assert_eq!(relay.ctl(&hold).status.code(), Some(1), "already");
    let first = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    relay.kill();
    relay.restart();
    let second = relay.send("a@sender.test", &["u@DEST.test"], MESSAGE).await;
    relay
        .send("a@sender.test", &["u@other.test"], MESSAGE)
        .await;
    mx.wait_for_messages(1).await;
    let both = || ids(&relay, &["--state", "held"]) == [&*first, &*second];
    relay.wait_until("two held", both).await;
    for (rest, code) in [
        (&["--domain", "other.test"][..], 1),
        (&["--domain", "dest.test", "--sender", "a@sender.test"], 1),
        (&["--recipient", "u@dest.test"], 2),
        (&[], 2),
        (&["--domain", "dest.test"], 0),
    ] {
        let ended = relay.ctl(&[&["queue", "release", "--incoming"], rest].concat());
        assert_eq!(ended.status.code(), Some(code), "{rest:?}");
    }
    assert_eq!(relay.done(&["orders"]), "");
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    mx.wait_for_messages(2).await;
    // Held messages stay held.
    relay
        .wait_until("the last one gone", || relay.queued() == 2)
        .await;
    assert!(both());
    relay.done(&["queue", "release", "--domain", "dest.test"]);
    mx.wait_for_messages(4).await;
    relay.wait_until_empty().await;
}
