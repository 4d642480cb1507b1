//! The body of an object: its file's bytes, in chunks, as they are asked for.
//!
//! A body ends with an error rather than short. Where all of an object of
//! known digest is read, its last chunk is given out only after the digest of
//! the whole has proved right.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};

use super::{blocking, errors};
use crate::digest::{Digest, Hasher};
use crate::storage::StoreError;

/// Large enough to hide what a change of thread costs.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What is no longer is read together with the opening of its file: to change
/// the thread once more would cost several times what reading does.
const SMALL_BYTES: u64 = 64 * 1024;

/// Bytes of a file that are still to be read. The open file keeps them, even
/// when the object is removed or replaced meanwhile.
pub(super) struct Remaining {
    pub(super) file: File,
    /// The offset of the next byte.
    pub(super) next: u64,
    /// The offset behind the last byte wanted.
    pub(super) end: u64,
    /// For whole objects: the digest of what was read, and what it must be.
    pub(super) check: Option<(Hasher, Digest)>,
}

impl Remaining {
    /// To be called where a thread may block.
    pub(super) fn into_body(self) -> BoxStream<'static, Result<Bytes, StoreError>> {
        if self.end - self.next <= SMALL_BYTES {
            let all = self.read().map(|read| read.map(|(bytes, _)| bytes));
            return Box::pin(stream::iter(all.transpose()));
        }
        Box::pin(stream::try_unfold(self, |remaining| {
            blocking(move || remaining.read())
        }))
    }

    fn read(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let size = CHUNK_BYTES.min(self.end - self.next);
        if size == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; usize::try_from(size).unwrap_or_default()];
        match self.file.read_exact_at(&mut chunk, self.next) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::Corrupt);
            }
            read => read.map_err(|error| errors::write_error(&error))?,
        }
        self.next += size;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&chunk);
        }
        if self.next == self.end
            && let Some((hasher, digest)) = self.check.take()
            && hasher.finish() != digest
        {
            return Err(StoreError::Corrupt);
        }
        Ok(Some((chunk.into(), self)))
    }
}
