//! Read buffers that a session holds only while they contain data.

use std::sync::{Mutex, PoisonError};

/// The size of a buffer in octets, which is the most that one system call reads.
const SIZE: usize = 32 * 1024;
/// The most free buffers that are kept for reuse.
const KEPT: usize = 32;

/// A pool of buffers. Sessions take buffers from it only while they need them, so ten thousand idle
/// sessions hold none.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Box<[u8]>>>,
}

impl BufferPool {
    pub(crate) fn take(&self) -> Box<[u8]> {
        let free = self.lock().pop();
        free.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
    }

    pub(crate) fn give_back(&self, buffer: Box<[u8]>) {
        let mut free = self.lock();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Input that has been read but not consumed. It holds no buffer when it is empty.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Unread {
    /// Takes the first `length` octets of a buffer from the pool.
    pub(crate) fn new(buffer: Box<[u8]>, length: usize) -> Self {
        Self {
            buffer: Some(buffer),
            start: 0,
            end: length,
        }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start..self.end],
            None => &[],
        }
    }

    /// Drops octets from the front. The buffer returns to the pool when all of it is consumed.
    pub(crate) fn advance(&mut self, octets: usize, pool: &BufferPool) {
        self.start = self.end.min(self.start + octets);
        if self.start == self.end
            && let Some(buffer) = self.buffer.take()
        {
            pool.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumed_buffer_returns_to_the_pool() {
        let pool = BufferPool::default();
        let mut buffer = pool.take();
        buffer[..4].copy_from_slice(b"NOOP");
        let mut unread = Unread::new(buffer, 4);
        unread.advance(1, &pool);
        assert_eq!((unread.octets(), pool.lock().len()), (&b"OOP"[..], 0));
        unread.advance(3, &pool);
        assert_eq!((unread.octets(), pool.lock().len()), (&b""[..], 1));
        unread.advance(0, &pool);
        assert_eq!(pool.lock().len(), 1);
    }

    #[test]
    fn the_pool_keeps_a_limited_number_of_free_buffers() {
        let pool = BufferPool::default();
        let rush: Vec<_> = (0..10 * KEPT).map(|_| pool.take()).collect();
        for buffer in rush {
            pool.give_back(buffer);
        }
        assert_eq!(pool.lock().len(), KEPT);
    }
}
