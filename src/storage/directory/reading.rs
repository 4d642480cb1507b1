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
use crate::resident;
use crate::storage::{GetOptions, ObjectInfo, StoreError};

type Body = BoxStream<'static, Result<Bytes, StoreError>>;

/// Large enough to hide what a change of thread costs.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What is no longer is read together with the opening of its file: to change
/// the thread once more would cost several times what reading does.
const SMALL_BYTES: u64 = resident::MAX_BYTES;

/// Bytes of a file that are still to be read. The open file keeps them, even
/// when the object is removed or replaced meanwhile.
pub(super) struct Remaining {
    file: File,
    /// The offset of the next byte.
    next: u64,
    /// The offset behind the last byte wanted.
    end: u64,
    /// For whole objects: the digest of what was read, and what it must be.
    check: Option<(Hasher, Digest)>,
}

impl Remaining {
    /// What `options` want of an object, and where that lies in it.
    pub(super) fn of(
        file: File,
        info: &ObjectInfo,
        options: &GetOptions,
    ) -> Result<(Option<(u64, u64)>, Self), StoreError> {
        let changed = |etag: &String| *etag != info.etag;
        if options.if_match.as_ref().is_some_and(changed) {
            return Err(StoreError::PreconditionFailed);
        }
        let size_bytes = info.size_bytes;
        let out_of_range = StoreError::RangeNotSatisfiable { size_bytes };
        let range = match options.range {
            None => None,
            Some(range) => Some(range.resolve(size_bytes).ok_or(out_of_range)?),
        };
        let (next, end) = range.map_or((0, size_bytes), |(first, last)| (first, last + 1));
        let whole = (next, end) == (0, size_bytes);
        let check = |digest: Digest| (Hasher::default(), digest);
        let remaining = Self {
            file,
            next,
            end,
            check: info.digest.filter(|_| whole).map(check),
        };
        Ok((range, remaining))
    }

    /// The body, without blocking: a small one if it is in memory, and right.
    pub(super) fn at_once(mut self) -> Option<Body> {
        if !self.is_small() {
            return Some(self.in_chunks());
        }
        let chunk = resident::read(&self.file, self.next, self.end - self.next)?;
        self.pass(&chunk).ok()?;
        let bytes = (!chunk.is_empty()).then(|| Ok(chunk.into()));
        Some(Box::pin(stream::iter(bytes)))
    }

    /// To be called where a thread may block.
    pub(super) fn into_body(self) -> Body {
        if !self.is_small() {
            return self.in_chunks();
        }
        let all = self.read().map(|read| read.map(|(bytes, _)| bytes));
        Box::pin(stream::iter(all.transpose()))
    }

    fn is_small(&self) -> bool {
        self.end - self.next <= SMALL_BYTES
    }

    fn in_chunks(self) -> Body {
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
        self.pass(&chunk)?;
        Ok(Some((chunk.into(), self)))
    }

    /// Takes note of the bytes that come next.
    fn pass(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.next += chunk.len() as u64;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(chunk);
        }
        if self.next == self.end
            && let Some((hasher, digest)) = self.check.take()
            && hasher.finish() != digest
        {
            return Err(StoreError::Corrupt);
        }
        Ok(())
    }
}
