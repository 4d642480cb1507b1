//! A ZIP archive that is written while it is sent.
//!
//! A [`Plan`] knows the exact length of the archive before any of its bytes
//! are there, so that a client can tell a broken download from a whole one.
//! [`stream()`] keeps to the plan or ends with an error, and holds one chunk of
//! one entry at a time.
//!
//! Nothing is compressed: attachments mostly are already, and the length
//! could not be known. The CRC-32 of an entry is computed as its bytes pass and
//! follows them in a data descriptor.

mod format;
mod names;

use std::mem;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use thiserror::Error;

use self::format::{Directory, Entry};
pub use self::names::unique_names;

/// The central directory is sent in pieces of about this size: that of a
/// hundred thousand entries has some ten MiB.
const DIRECTORY_CHUNK_BYTES: usize = 64 * 1024;

/// One file to be put into an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEntry {
    /// The wanted name; see [`unique_names`] for the one it gets.
    pub name: String,
    /// Exactly how many bytes it will have.
    pub size_bytes: u64,
    /// When it was last modified.
    pub modified: SystemTime,
}

/// An archive to be: every byte of it has its place, but for the contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    entries: Vec<Entry>,
    directory: Directory,
    total_bytes: u64,
}

impl Plan {
    /// Lays out an archive of these entries, in this order.
    #[must_use]
    pub fn new(entries: Vec<PlanEntry>) -> Self {
        let (wanted, sizes): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .map(|entry| (entry.name, (entry.size_bytes, entry.modified)))
            .unzip();
        let mut offset = 0_u64;
        let entries: Vec<_> = unique_names(wanted)
            .into_iter()
            .zip(sizes)
            .map(|(name, (size_bytes, modified))| {
                let entry = Entry {
                    name,
                    size_bytes,
                    modified,
                    offset,
                };
                offset = add(offset, entry_bytes(&entry));
                entry
            })
            .collect();
        let directory = Directory {
            entries: entries.len() as u64,
            offset,
            size_bytes: entries
                .iter()
                .map(|entry| length_of(|out| entry.put_central_header(0, out)))
                .sum(),
        };
        let end_bytes = length_of(|out| directory.put_end(out));
        Self {
            entries,
            directory,
            total_bytes: add(offset, directory.size_bytes + end_bytes),
        }
    }

    /// The length of the whole archive.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// A piece of the central directory from the entry `first` on, and the
    /// entry that the next piece begins with. The last has the end record.
    fn directory_chunk(&self, first: usize, checksums: &[u32]) -> (Bytes, Option<usize>) {
        let mut out = BytesMut::with_capacity(DIRECTORY_CHUNK_BYTES);
        let lines = self.entries.iter().zip(checksums).enumerate();
        for (index, (entry, &crc32)) in lines.skip(first) {
            if out.len() >= DIRECTORY_CHUNK_BYTES {
                return (out.freeze(), Some(index));
            }
            entry.put_central_header(crc32, &mut out);
        }
        self.directory.put_end(&mut out);
        (out.freeze(), None)
    }
}

/// The bytes of an entry with what stands before and behind them.
fn entry_bytes(entry: &Entry) -> u64 {
    let framing = length_of(|out| {
        entry.put_local_header(out);
        entry.put_descriptor(0, out);
    });
    add(framing, entry.size_bytes)
}

/// Measuring the very records that are sent leaves no second truth that could
/// differ from them.
fn length_of(put: impl FnOnce(&mut BytesMut)) -> u64 {
    record(put).len() as u64
}

fn record(put: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    put(&mut out);
    out.freeze()
}

/// No store holds 16 EiB; sizes that claim so must not wrap around.
fn add(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

/// Why an archive could not be completed. The client must not take what it
/// has for one.
#[derive(Debug, Error)]
pub enum ArchiveError<E> {
    /// An entry could not be opened or read to its end.
    #[error("entry {index} of the archive could not be read: {reason}")]
    Unread {
        /// Its place in the plan.
        index: usize,
        /// Why.
        reason: E,
    },
    /// An entry has not the size that was planned.
    #[error("entry {index} of the archive has not the size that was announced")]
    WrongSize {
        /// Its place in the plan.
        index: usize,
    },
}

/// The bytes of a planned archive. `open` is called with the place of each
/// entry in turn, when what comes before it has been taken.
///
/// The stream has exactly [`Plan::total_bytes`] bytes, or an error as its last
/// item.
pub fn stream<F, Fut, E>(plan: Plan, open: F) -> impl Stream<Item = Result<Bytes, ArchiveError<E>>>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<BoxStream<'static, Result<Bytes, E>>, E>>,
{
    let writer = Writer {
        checksums: Vec::with_capacity(plan.entries.len()),
        plan,
        open,
        step: Step::Header,
    };
    stream::try_unfold(writer, |mut writer| async move {
        let chunk = writer.next_chunk().await?;
        Ok(chunk.map(|chunk| (chunk, writer)))
    })
}

struct Writer<F, E> {
    plan: Plan,
    open: F,
    /// Those of the entries that are done.
    checksums: Vec<u32>,
    step: Step<E>,
}

/// What is to be written next.
enum Step<E> {
    /// The header of the entry behind those that are done.
    Header,
    /// What is left of that entry.
    Body(Body<E>),
    /// The directory's lines from this entry on.
    Directory(usize),
    /// Nothing.
    End,
}

/// An entry whose bytes are passing.
struct Body<E> {
    stream: BoxStream<'static, Result<Bytes, E>>,
    crc32: crc32fast::Hasher,
    remaining_bytes: u64,
}

impl<F, Fut, E> Writer<F, E>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<BoxStream<'static, Result<Bytes, E>>, E>>,
{
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ArchiveError<E>> {
        let index = self.checksums.len();
        match mem::replace(&mut self.step, Step::End) {
            Step::Header if index == self.plan.entries.len() => Ok(Some(self.write_directory(0))),
            Step::Header => self.open_entry(index).await.map(Some),
            Step::Body(mut body) => match body.next_chunk(index).await? {
                Some(chunk) => {
                    self.step = Step::Body(body);
                    Ok(Some(chunk))
                }
                None => Ok(Some(self.close_entry(index, body.crc32.finalize()))),
            },
            Step::Directory(first) => Ok(Some(self.write_directory(first))),
            Step::End => Ok(None),
        }
    }

    async fn open_entry(&mut self, index: usize) -> Result<Bytes, ArchiveError<E>> {
        let stream = (self.open)(index)
            .await
            .map_err(|reason| ArchiveError::Unread { index, reason })?;
        let entry = &self.plan.entries[index];
        self.step = Step::Body(Body {
            stream,
            crc32: crc32fast::Hasher::new(),
            remaining_bytes: entry.size_bytes,
        });
        Ok(record(|out| entry.put_local_header(out)))
    }

    fn close_entry(&mut self, index: usize, crc32: u32) -> Bytes {
        self.checksums.push(crc32);
        self.step = Step::Header;
        record(|out| self.plan.entries[index].put_descriptor(crc32, out))
    }

    fn write_directory(&mut self, first: usize) -> Bytes {
        let (chunk, next) = self.plan.directory_chunk(first, &self.checksums);
        self.step = next.map_or(Step::End, Step::Directory);
        chunk
    }
}

impl<E> Body<E> {
    /// The next bytes, `None` behind the last. Bytes beyond the announced size
    /// are not let through.
    async fn next_chunk(&mut self, index: usize) -> Result<Option<Bytes>, ArchiveError<E>> {
        let Some(chunk) = self.stream.next().await else {
            let complete = self.remaining_bytes == 0;
            return complete
                .then_some(None)
                .ok_or(ArchiveError::WrongSize { index });
        };
        let chunk = chunk.map_err(|reason| ArchiveError::Unread { index, reason })?;
        self.remaining_bytes = self
            .remaining_bytes
            .checked_sub(chunk.len() as u64)
            .ok_or(ArchiveError::WrongSize { index })?;
        self.crc32.update(&chunk);
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests;
