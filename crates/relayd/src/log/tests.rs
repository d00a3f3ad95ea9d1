use std::io::{self, Write};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{debug, error, info};

use super::*;

/// Memory that a log is written to and read back from.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, level: Level, say: impl FnOnce()) -> String {
    let memory = Memory::default();
    let (log, lines) = Log::detached(format, level, memory.clone()).expect("a thread");
    tracing::subscriber::with_default(lines, say);
    drop(log);
    let bytes = memory.0.lock().expect("no writer panics").clone();
    String::from_utf8(bytes).expect("a log is text")
}

#[test]
fn a_line_is_time_level_message_and_fields() {
    let text = logged(LogFormat::Text, Level::Info, || {
        info!(target: "relayd", event = "new msg", id = %"06Q", bytes = 7, "new msg {}", "06Q");
    });
    let (time, rest) = text.split_once(' ').expect("a time");
    assert!(
        time.parse::<humantime::Timestamp>().is_ok() && time.len() == 24,
        "{time}"
    );
    assert_eq!(rest, "info new msg 06Q event=\"new msg\" id=06Q bytes=7\n");
}

#[test]
fn json_carries_the_same_fields() {
    let text = logged(LogFormat::Json, Level::Info, || {
        info!(target: "relayd", event = "new msg", id = %"06Q", bytes = 7, ok = true, "new msg");
    });
    let line: Value = serde_json::from_str(&text).expect("one object on the line");
    assert_eq!(line["level"], "info");
    assert_eq!(line["message"], "new msg");
    assert_eq!(
        (&line["event"], &line["id"]),
        (&"new msg".into(), &"06Q".into())
    );
    assert_eq!((&line["bytes"], &line["ok"]), (&7.into(), &true.into()));
    assert!(line["time"].as_str().is_some_and(|t| t.ends_with('Z')));
}

#[test]
fn text_from_the_network_cannot_start_a_line_or_forge_a_field() {
    let hostile = "a\r\n2026-11-21 error id=1 \u{1b}[2J\u{85}\u{2028}\u{202e}\"\\\0";
    let say =
        || info!(target: "relayd", reply = hostile, shown = ?hostile, empty = "", "said {hostile}");
    let text = logged(LogFormat::Text, Level::Info, say);
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(
        text.contains(
            r#" reply="a\r\n2026-11-21 error id=1 \u{1b}[2J\u{85}\u{2028}\u{202e}\"\\\u{0}""#
        ),
        "{text}"
    );
    assert!(text.ends_with(" empty=\"\"\n"));
    let json = logged(LogFormat::Json, Level::Info, say);
    let line: Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(line["reply"], hostile);
    assert_eq!(json.matches('\n').count(), 1);
}

#[test]
fn a_long_value_is_cut() {
    let text = logged(LogFormat::Text, Level::Info, || {
        info!(target: "relayd", reply = "é".repeat(100_000), "m");
    });
    assert!(text.len() < 5000 && text.contains("éé"));
}

#[test]
fn the_level_and_the_target_decide() {
    let say = || {
        error!(target: "relayd", "one");
        info!(target: "relayd", "two");
        debug!(target: "relay_remote", "three");
        error!(target: "hickory", "four");
    };
    let words = |level| {
        let text = logged(LogFormat::Text, level, say);
        text.lines()
            .filter_map(|l| l.split(' ').nth(2).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(words(Level::Error), ["one"]);
    assert_eq!(words(Level::Info), ["one", "two"]);
    assert_eq!(words(Level::Debug), ["one", "two", "three", "four"]);
}

/// A reader that takes nothing until it is released.
struct Stuck(mpsc::Receiver<()>, Memory);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // When the sender is dropped, everything is taken at once.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_unread_log_blocks_nothing_and_reports_what_is_missing() {
    let (go, stuck) = mpsc::channel();
    let memory = Memory::default();
    let out = Stuck(stuck, memory.clone());
    let (log, lines) = Log::detached(LogFormat::Text, Level::Info, out).expect("a thread");
    let filler = "x".repeat(4000);
    let said = 4000;
    tracing::subscriber::with_default(lines, || {
        for n in 0..said {
            info!(target: "relayd", n, "{filler}");
        }
    });
    drop(go);
    log.flush();
    drop(log);
    let text = String::from_utf8(memory.0.lock().expect("no writer panics").clone()).expect("text");
    let missing: usize = text
        .lines()
        .filter_map(|l| {
            let (_, lines) = l.split_once(" event=log lines=")?;
            lines.parse::<usize>().ok()
        })
        .sum();
    let written = text.lines().filter(|l| l.contains("xxxx")).count();
    assert!(missing > 0 && written > 0);
    assert_eq!(written + missing, said, "every line is written or counted");
}

/// Counts the writes.
struct Counting(Arc<AtomicUsize>);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the writer rests in real time")]
fn lines_that_come_together_are_written_together() {
    let writes = Arc::new(AtomicUsize::new(0));
    let out = Counting(Arc::clone(&writes));
    let (log, lines) = Log::detached(LogFormat::Text, Level::Info, out).expect("a thread");
    let begun = Instant::now();
    tracing::subscriber::with_default(lines, || {
        for n in 0..10_000 {
            info!(target: "relayd", n, "starting delivery");
        }
    });
    drop(log);
    let most = begun.elapsed().as_millis() / 5 + 3;
    let writes = writes.load(Ordering::Relaxed);
    assert!(writes > 0 && writes as u128 <= most, "{writes} writes");
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let slow = {
        let (go, stuck) = mpsc::channel();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(go);
        });
        let memory = Memory::default();
        let out = Stuck(stuck, memory.clone());
        let (log, lines) = Log::detached(LogFormat::Text, Level::Info, out).expect("a thread");
        tracing::subscriber::with_default(lines, || info!(target: "relayd", "last words"));
        drop(log);
        memory
    };
    let bytes = slow.0.lock().expect("no writer panics").clone();
    assert!(String::from_utf8_lossy(&bytes).contains("last words"));
}

#[tokio::test]
async fn a_follower_sees_every_event_at_any_log_level_and_nothing_else() {
    let memory = Memory::default();
    let (log, lines) =
        Log::detached(LogFormat::Text, Level::Error, memory.clone()).expect("a thread");
    let say = |n: u64| info!(target: "relayd", event = "new msg", n, "new msg {n}");
    let mut follower = {
        let _scope = tracing::subscriber::set_default(lines);
        say(1);
        let follower = log.event_stream().follow();
        say(2);
        info!(target: "hyper", "of a library");
        debug!(target: "relayd", "a detail");
        follower
    };
    drop(log);
    let Some(StreamItem::Event(line)) = follower.next().await else {
        panic!("no event");
    };
    let event: Value = serde_json::from_slice(&line).expect("one object");
    assert_eq!(
        (&event["n"], &event["message"]),
        (&2.into(), &"new msg 2".into())
    );
    assert_eq!(follower.next().await, None);
    assert!(memory.0.lock().expect("no writer panics").is_empty());
}

#[tokio::test]
async fn a_slow_follower_receives_the_number_of_missed_events_and_blocks_nothing() {
    let (log, lines) =
        Log::detached(LogFormat::Text, Level::Error, Memory::default()).expect("a thread");
    let mut follower = log.event_stream().follow();
    tracing::subscriber::with_default(lines, || {
        for n in 0..5000u64 {
            info!(target: "relayd", event = "new msg", n, "new msg {n}");
        }
    });
    let Some(StreamItem::Missed(missed)) = follower.next().await else {
        panic!("it missed nothing");
    };
    let Some(StreamItem::Event(line)) = follower.next().await else {
        panic!("no event");
    };
    let event: Value = serde_json::from_slice(&line).expect("one object");
    assert_eq!(event["n"], missed);
}
