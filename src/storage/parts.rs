//! Cuts a payload into parts: each in one buffer, with its checksum, while the
//! digest of the whole is computed as the bytes pass.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::buffer::Buffer;
use super::{Payload, PayloadError, StoreError};
use crate::budget::Share;
use crate::digest::{Digest, Hasher};

/// One part of a payload.
#[derive(Debug)]
pub struct Part {
    /// Its bytes. The memory is given back when the last copy is dropped.
    pub bytes: Bytes,
    /// Its CRC-64/NVME.
    pub crc64: u64,
}

/// What is known when the whole payload has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many bytes there were.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub digest: Digest,
    /// Their CRC-64/NVME.
    pub crc64: u64,
}

/// Reads a payload part by part.
pub struct PartReader {
    payload: Payload,
    abandoned: CancellationToken,
    share: Share,
    part_bytes: usize,
    pending: Bytes,
    ended: bool,
    hasher: Hasher,
    size_bytes: u64,
    crc64: u64,
}

impl PartReader {
    /// Reads `payload` in parts of `part_bytes` (the last may be shorter),
    /// until its sender has been `abandoned` by whoever waits for it.
    #[must_use]
    pub fn new(
        payload: Payload,
        share: Share,
        part_bytes: usize,
        abandoned: CancellationToken,
    ) -> Self {
        Self {
            payload,
            abandoned,
            share,
            part_bytes,
            pending: Bytes::new(),
            ended: false,
            hasher: Hasher::default(),
            size_bytes: 0,
            crc64: 0,
        }
    }

    /// The next part; the first may be empty, later ones never are.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when there was no memory in time, and what the
    /// payload ended with.
    pub async fn next(&mut self) -> Result<Part, StoreError> {
        // Who has sent nothing yet holds no memory that others wait for.
        self.fetch().await?;
        let mut buffer = Buffer::acquire(&self.share, self.wanted_bytes())
            .await
            .map_err(|_| StoreError::Busy)?;
        let mut crc64 = crc_fast::Digest::new(Crc64Nvme);
        while !buffer.is_full() && self.fetch().await? {
            let taken = self.pending.split_to(buffer.fill(&self.pending));
            self.hasher.update(&taken);
            crc64.update(&taken);
            self.size_bytes += taken.len() as u64;
        }
        let bytes = buffer.freeze();
        let crc64 = crc64.finalize();
        let len = bytes.len() as u64;
        // To combine takes as long as to make the checksum of a hundred times
        // what most uploads have in all.
        self.crc64 = if self.size_bytes == len {
            crc64
        } else {
            crc_fast::checksum_combine(Crc64Nvme, self.crc64, crc64, len)
        };
        Ok(Part { bytes, crc64 })
    }

    /// True when there are no more bytes.
    ///
    /// # Errors
    /// What the payload ended with.
    pub async fn is_at_end(&mut self) -> Result<bool, StoreError> {
        Ok(!self.fetch().await?)
    }

    /// What passed; to be asked only at the end.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            size_bytes: self.size_bytes,
            digest: self.hasher.clone().finish(),
            crc64: self.crc64,
        }
    }

    /// Cancelled when nobody waits for the payload to be stored any more.
    #[must_use]
    pub fn abandoned(&self) -> CancellationToken {
        self.abandoned.clone()
    }

    fn wanted_bytes(&self) -> usize {
        let left = self
            .payload
            .length
            .map(|n| n.saturating_sub(self.size_bytes));
        left.and_then(|left| usize::try_from(left).ok())
            .map_or(self.part_bytes, |left| left.clamp(1, self.part_bytes))
    }

    /// Makes sure that some bytes are pending; false at the end.
    async fn fetch(&mut self) -> Result<bool, StoreError> {
        while self.pending.is_empty() && !self.ended {
            let next = tokio::select! {
                biased;
                () = self.abandoned.cancelled() => Some(Err(PayloadError::Interrupted)),
                next = self.payload.stream.next() => next,
            };
            match next.transpose()? {
                Some(bytes) => self.pending = bytes,
                None => self.ended = true,
            }
            self.check_length()?;
        }
        Ok(!self.pending.is_empty())
    }

    fn check_length(&self) -> Result<(), PayloadError> {
        let seen = self.size_bytes + self.pending.len() as u64;
        match self.payload.length {
            Some(length) if seen > length => Err(PayloadError::WrongLength),
            Some(length) if self.ended && seen < length => Err(PayloadError::WrongLength),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::Budget;

    fn reader(chunks: &[&'static [u8]], length: Option<u64>) -> PartReader {
        let chunks: Vec<_> = chunks.iter().map(|c| Ok(Bytes::from_static(c))).collect();
        let payload = Payload {
            stream: Box::pin(futures_util::stream::iter(chunks)),
            length,
        };
        let share = Budget::new(100, 100, Duration::ZERO).share();
        PartReader::new(payload, share, 4, CancellationToken::new())
    }

    #[tokio::test]
    async fn parts_are_cut_wherever_the_chunks_end() {
        let mut reader = reader(&[b"abc", b"", b"defgh", b"ij"], None);
        let mut parts = Vec::new();
        while !reader.is_at_end().await.unwrap() {
            parts.push(reader.next().await.unwrap().bytes);
        }
        assert_eq!(parts, ["abcd", "efgh", "ij"]);
        let expected = Summary {
            size_bytes: 10,
            digest: Digest::of(b"abcdefghij"),
            crc64: crc_fast::checksum(Crc64Nvme, b"abcdefghij"),
        };
        assert_eq!(reader.summary(), expected);
    }

    #[tokio::test]
    async fn a_payload_of_another_length_is_an_error() {
        for length in [2, 4] {
            let mut reader = reader(&[b"abc"], Some(length));
            let error = async {
                while !reader.is_at_end().await? {
                    reader.next().await?;
                }
                Ok::<(), StoreError>(())
            };
            assert!(matches!(
                error.await,
                Err(StoreError::Payload(PayloadError::WrongLength))
            ));
        }
    }
}
