//! The cost of signing: a message of 4 KB with each algorithm, compared with the time of `openssl`
//! for a bare RSA signature on the same machine, and the cost of hashing a large body.
//!
//! Exits with 1 if RSA takes 1.2 times as long as `openssl` or more, or Ed25519 60 µs or more.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use relay_dkim::{
    Algorithm, BodyHash, Canonicalization, Decision, GeneratedKey, HeaderList, PrivateKey, Signer,
    SigningEntry,
};

const HEADER: &str = "From: App <app@sender.test>\r\nTo: user@dest.test\r\nSubject: A report\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\n";
const LINE: &str = "The quick brown fox jumps over the lazy dog, and does so once more.\r\n";
const MEASURED: Duration = Duration::from_secs(2);
const RSA_LIMIT: f64 = 1.2;
const ED25519_LIMIT: Duration = Duration::from_micros(60);

fn main() -> ExitCode {
    // Options of cargo for benchmarks, such as `--bench`, are ignored.
    let body = LINE.repeat((4096 - HEADER.len()) / LINE.len());
    let rsa = sign_time(Algorithm::Rsa, body.as_bytes());
    let ed25519 = sign_time(Algorithm::Ed25519, body.as_bytes());
    println!("4 KB, RSA-2048: {rsa:?}");
    println!("4 KB, Ed25519:  {ed25519:?}");
    body_speed();
    let mut is_good = ed25519 < ED25519_LIMIT;
    match openssl_rsa2048() {
        Some(openssl) => {
            let ratio = rsa.as_secs_f64() / openssl.as_secs_f64();
            println!("openssl speed rsa2048: {openssl:?}; ours is {ratio:.2} times that");
            is_good &= ratio < RSA_LIMIT;
        }
        None => println!("cannot run openssl speed; RSA was not compared"),
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        println!("too slow: RSA must be below {RSA_LIMIT} times, Ed25519 below {ED25519_LIMIT:?}");
        ExitCode::FAILURE
    }
}

fn sign_time(algorithm: Algorithm, body: &[u8]) -> Duration {
    let generated = GeneratedKey::generate(algorithm).expect("a key");
    let signer = Signer::new([SigningEntry {
        domain: "sender.test".parse().expect("a domain"),
        selector: "mail".parse().expect("a selector"),
        key: PrivateKey::from_pem(generated.pem().as_bytes()).expect("our own key"),
        subdomains: false,
        headers: HeaderList::default(),
        body: Canonicalization::Relaxed,
        expire: None,
    }])
    .expect("one entry");
    time(|| {
        let Decision::Sign(mut signing) = signer.decide(black_box(HEADER.as_bytes())) else {
            unreachable!("the domain is in the table");
        };
        signing.write(black_box(body));
        black_box(signing.finish(SystemTime::UNIX_EPOCH).expect("a signature"));
    })
}

fn body_speed() {
    let body = LINE.repeat(1024 * 1024 / LINE.len());
    for form in [Canonicalization::Relaxed, Canonicalization::Simple] {
        let took = time(|| {
            let mut hash = BodyHash::new(form);
            hash.write(black_box(body.as_bytes()));
            black_box(hash.finish());
        });
        println!(
            "hash of a body, {form}: {:.0} MiB/s",
            1.0 / took.as_secs_f64()
        );
    }
}

/// The mean time of as many runs as fit into the time, after a tenth of it to warm up. It counts
/// the processor time of this thread, as `openssl speed` does, so that other load does not matter.
fn time(mut run: impl FnMut()) -> Duration {
    repeat(MEASURED / 10, &mut run);
    repeat(MEASURED, &mut run)
}

fn repeat(long: Duration, run: &mut impl FnMut()) -> Duration {
    let start = processor_time();
    let mut runs = 0;
    loop {
        for _ in 0..10 {
            run();
        }
        runs += 10;
        let took = processor_time().saturating_sub(start);
        if took >= long {
            return took / runs;
        }
    }
}

fn processor_time() -> Duration {
    let statistics =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux with schedstat");
    let nanoseconds = statistics
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .expect("the time on a processor comes first");
    Duration::from_nanos(nanoseconds)
}

fn openssl_rsa2048() -> Option<Duration> {
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-seconds", "2", "rsa2048"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // +F2:index:bits:signatures per second:verifications per second
    let line = text.lines().find(|line| line.starts_with("+F2:"))?;
    let per_second: f64 = line.split(':').nth(3)?.parse().ok()?;
    Some(Duration::from_secs_f64(1.0 / per_second))
}
