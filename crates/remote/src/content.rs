//! A message's bytes on their way to a peer, in bounded memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use relay_message::{Body, Content};
use relay_smtp::client::ContentEncoder;

/// Octets of a body file that are read at one time.
const PIECE: usize = 64 * 1024;

/// Hands out a message in chunks, encoded for the wire. The last chunk ends with the final dot.
#[derive(Debug)]
pub(crate) struct ContentChunks<'a> {
    content: &'a Content,
    encoder: Option<ContentEncoder>,
    /// Octets of the body that were handed out so far.
    at: u64,
    raw: Vec<u8>,
}

impl<'a> ContentChunks<'a> {
    pub(crate) fn new(content: &'a Content) -> Self {
        Self {
            content,
            encoder: Some(ContentEncoder::default()),
            at: 0,
            raw: Vec::new(),
        }
    }

    /// Puts the next chunk into `out`. Returns false if there was none.
    pub(crate) async fn next(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        let Some(mut encoder) = self.encoder.take() else {
            return Ok(false);
        };
        if self.at == 0 {
            encoder.encode(&self.content.head, out);
        }
        let more = match &self.content.body {
            Body::Inline(bytes) => {
                encoder.encode(bytes, out);
                false
            }
            Body::File { file, length } => {
                let left = usize::try_from(length - self.at).unwrap_or(PIECE);
                self.raw.resize(left.min(PIECE), 0);
                let raw = std::mem::take(&mut self.raw);
                self.raw = read_at(Arc::clone(file), raw, self.at).await?;
                encoder.encode(&self.raw, out);
                self.at += self.raw.len() as u64;
                self.at < *length
            }
        };
        if more {
            self.encoder = Some(encoder);
        } else {
            encoder.finish(out);
        }
        Ok(true)
    }
}

/// Fills `buffer` from the file. It runs on a thread that may block on the disk.
async fn read_at(file: Arc<File>, mut buffer: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || {
        file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    });
    read.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;

    use super::*;

    async fn wire(content: &Content) -> io::Result<(Vec<u8>, usize)> {
        let (mut pieces, mut out, mut all, mut largest) =
            (ContentChunks::new(content), Vec::new(), Vec::new(), 0);
        while pieces.next(&mut out).await? {
            largest = largest.max(out.len());
            all.extend_from_slice(&out);
        }
        Ok((all, largest))
    }

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        Arc::new(file)
    }

    #[tokio::test]
    async fn a_file_and_a_buffer_give_the_same_bytes() {
        let line = b".line of the body\r\n";
        for lines in [0, 1, 3000, 12_000] {
            let body = line.repeat(lines);
            let head = Bytes::from_static(b"Received: here\r\n");
            let length = body.len() as u64;
            let mut stored = body.clone();
            stored.extend_from_slice(b"not the body");
            let inline = Content {
                head: head.clone(),
                body: Body::Inline(body.into()),
            };
            let stored = Content {
                head,
                body: Body::File {
                    file: file(&stored),
                    length,
                },
            };
            let (a, _) = wire(&inline).await.expect("bytes");
            let (b, largest) = wire(&stored).await.expect("bytes");
            assert!(a == b && a.ends_with(b"\r\n.\r\n"), "{lines} lines");
            assert!(largest < 3 * PIECE, "a piece of {largest}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error_before_the_final_dot() {
        let content = Content {
            head: Bytes::new(),
            body: Body::File {
                file: file(b"short"),
                length: 100,
            },
        };
        assert!(wire(&content).await.is_err());
    }
}
