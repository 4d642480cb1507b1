//! The files of the cache on disk. Each says whose thumbnail it is and has a
//! checksum over everything in it, so that a file that was damaged, cut short
//! or put in another's place is noticed.
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | [`MAGIC`], with the version of this format |
//! | 8 | CRC-64/NVME of all that follows, big endian |
//! | 2 | the length of the label, big endian |
//! | … | the label: tenant, bucket, folder and name of the thumbnail, with `/` between |
//! | … | the thumbnail |

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;

use crate::cache::CacheKey;

const MAGIC: &[u8; 8] = b"kurathb1";
const HEAD_BYTES: usize = 18;
/// No file that Kura writes is larger, in bytes.
pub(super) const MAX_BYTES: u64 = 16 << 20;

/// The head of the file and the label; the thumbnail goes behind.
pub(super) fn head(key: &CacheKey, thumbnail: &[u8]) -> Vec<u8> {
    let label = label(key);
    // Ids, names and keys are far shorter than that.
    let length = u16::try_from(label.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut checksum = crc_fast::Digest::new(Crc64Nvme);
    for part in [&length[..], label.as_bytes(), thumbnail] {
        checksum.update(part);
    }
    let mut head = Vec::with_capacity(HEAD_BYTES + label.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&checksum.finalize().to_be_bytes());
    head.extend_from_slice(&length);
    head.extend_from_slice(label.as_bytes());
    head
}

/// The thumbnail in a file; `None` when it is not the one of this key, whole.
pub(super) fn thumbnail_in(file: &[u8], key: &CacheKey) -> Option<Bytes> {
    let rest = file.strip_prefix(MAGIC)?;
    let (checksum, rest) = rest.split_first_chunk()?;
    if u64::from_be_bytes(*checksum) != crc_fast::checksum(Crc64Nvme, rest) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk()?;
    let (found, thumbnail) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    // Copied, so that it takes no more memory than it has bytes.
    (found == label(key).as_bytes()).then(|| Bytes::copy_from_slice(thumbnail))
}

fn label(key: &CacheKey) -> String {
    format!("{}/{}", key.tenant, key.thumbnail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    fn file(key: &CacheKey, thumbnail: &[u8]) -> Vec<u8> {
        [head(key, thumbnail), thumbnail.to_vec()].concat()
    }

    #[test]
    fn thumbnail_reads_back() {
        let key = key("a", 1, 100);
        for thumbnail in [&b""[..], b"x", &[7; 5000]] {
            let file = file(&key, thumbnail);
            assert_eq!(thumbnail_in(&file, &key).unwrap(), thumbnail);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let key = key("a", 1, 100);
        let whole = file(&key, b"a thumbnail");
        for bit in 0..whole.len() * 8 {
            let mut file = whole.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(thumbnail_in(&file, &key), None, "bit {bit}");
        }
        for length in 0..whole.len() {
            assert_eq!(thumbnail_in(&whole[..length], &key), None, "{length}");
        }
    }

    #[test]
    fn file_of_another_key_is_noticed() {
        let file = file(&key("a", 1, 100), b"a thumbnail");
        for other in [key("b", 1, 100), key("a", 2, 100), key("a", 1, 150)] {
            assert_eq!(thumbnail_in(&file, &other), None);
        }
    }
}
