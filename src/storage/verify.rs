//! Makes sure that the bytes read are the bytes stored, holding the last of
//! them back until that is known.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use tokio_util::task::AbortOnDropHandle;

use super::StoreError;
use crate::digest::{Digest, Hasher};

/// What the whole body must be.
pub enum Expected {
    /// It has this SHA-256.
    Digest(Digest),
    /// It has this CRC-64/NVME, as soon as that is known; if it is.
    Crc64(AbortOnDropHandle<Option<u64>>),
    /// Nothing is known of it.
    Nothing,
}

/// Sees a whole body pass.
pub struct Verifier {
    expected: Expected,
    hasher: Hasher,
    /// Kept running: to combine the checksums of chunks takes longer than to
    /// make them.
    crc64: crc_fast::Digest,
    /// How many bytes are still to come.
    left_bytes: u64,
    last: Bytes,
}

impl Verifier {
    /// Expects a body of so many bytes, from the first to the last.
    #[must_use]
    pub fn new(expected: Expected, size_bytes: u64) -> Self {
        Self {
            expected,
            hasher: Hasher::default(),
            crc64: crc_fast::Digest::new(Crc64Nvme),
            left_bytes: size_bytes,
            last: Bytes::new(),
        }
    }

    /// Takes the next bytes and gives them out again, but for the last.
    pub fn push(&mut self, bytes: Bytes) -> Option<Bytes> {
        match &self.expected {
            Expected::Digest(_) => self.hasher.update(&bytes),
            Expected::Crc64(_) => self.crc64.update(&bytes),
            Expected::Nothing => return Some(bytes),
        }
        self.left_bytes = self.left_bytes.saturating_sub(bytes.len() as u64);
        if self.left_bytes > 0 {
            return Some(bytes);
        }
        self.last = bytes;
        None
    }

    /// Gives out the last bytes, if all of them were right.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when they were not.
    pub async fn finish(self) -> Result<Option<Bytes>, StoreError> {
        let intact = match self.expected {
            Expected::Digest(digest) => self.hasher.finish() == digest,
            Expected::Crc64(task) => match task.await {
                Ok(Some(crc64)) => crc64 == self.crc64.finalize(),
                Ok(None) | Err(_) => true,
            },
            Expected::Nothing => true,
        };
        if intact {
            Ok((!self.last.is_empty()).then_some(self.last))
        } else {
            Err(StoreError::Corrupt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(crc64: Option<u64>) -> Verifier {
        let task = tokio::spawn(async move { crc64 });
        Verifier::new(Expected::Crc64(AbortOnDropHandle::new(task)), 4)
    }

    #[tokio::test]
    async fn last_bytes_are_given_out_only_when_all_were_right() {
        let crc64 = crc_fast::checksum(Crc64Nvme, b"abcd");
        for (expected, intact) in [(Some(crc64), true), (Some(1), false), (None, true)] {
            let mut verifier = verifier(expected);
            assert_eq!(verifier.push(Bytes::from_static(b"ab")).unwrap(), "ab");
            assert_eq!(verifier.push(Bytes::from_static(b"cd")), None);
            let last = verifier.finish().await;
            assert_eq!(
                last.ok().flatten(),
                intact.then_some(Bytes::from_static(b"cd"))
            );
        }
    }

    #[tokio::test]
    async fn digest_of_the_whole_is_checked() {
        for (digest, intact) in [(Digest::of(b"abcd"), true), (Digest::of(b"abce"), false)] {
            let mut verifier = Verifier::new(Expected::Digest(digest), 4);
            verifier.push(Bytes::from_static(b"ab"));
            verifier.push(Bytes::from_static(b"cd"));
            assert_eq!(verifier.finish().await.is_ok(), intact);
        }
    }
}
