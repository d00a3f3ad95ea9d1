//! The bytes of a message.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// The bytes of a message. On the wire the head comes first, then the body. Lines end with CRLF;
/// there is no dot-stuffing.
#[derive(Debug, Clone)]
pub struct Content {
    /// The header section as it is sent, or the part of it that the relay writes before the body.
    pub head: Bytes,
    /// The rest of the message.
    pub body: Body,
}

/// The body of a message: a small one is in memory, a large one is a file.
#[derive(Debug, Clone)]
pub enum Body {
    /// The bytes themselves.
    Inline(Bytes),
    /// The first `length` octets of a file. It must be read by position, so that several readers
    /// can share the handle.
    File {
        /// The file, open for reading.
        file: Arc<File>,
        /// Octets of the body; the file may hold more behind them.
        length: u64,
    },
}
