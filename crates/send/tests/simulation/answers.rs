//! The outcomes of attempts.

use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

pub fn delivered() -> Outcome {
    said(
        Verdict::Delivered,
        Stage::Message,
        Reply::new(250, 0, 0, "ok"),
    )
}

/// A 4xx to RCPT, which defers this recipient.
pub fn deferred() -> Outcome {
    said(
        Verdict::Deferred,
        Stage::Rcpt,
        Reply::new(450, 2, 0, "come back later"),
    )
}

/// A 4xx to MAIL, which slows the destination down.
pub fn slowed() -> Outcome {
    said(
        Verdict::Deferred,
        Stage::Mail,
        Reply::new(451, 7, 1, "not you, not now"),
    )
}

pub fn failed() -> Outcome {
    said(
        Verdict::Failed,
        Stage::Rcpt,
        Reply::new(550, 1, 1, "no such user"),
    )
}

/// A refused connection.
pub fn unreachable() -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(4, 1),
        stage: Stage::Connect,
        peer: None,
        reply: None,
        detail: "connection refused".into(),
    }
}

fn said(verdict: Verdict, stage: Stage, reply: Reply) -> Outcome {
    Outcome {
        verdict,
        status: reply
            .status()
            .expect("these replies have an enhanced status"),
        stage,
        peer: Some(Peer {
            host: "mx.far.test".into(),
            address: ([192, 0, 2, 1], 25).into(),
            tls: None,
        }),
        reply: Some(reply),
        detail: String::new(),
    }
}
