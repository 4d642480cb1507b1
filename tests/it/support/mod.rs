//! What the tests stand on: a running Kura, an S3 server inside this process,
//! and `SeaweedFS`.

pub mod app;
pub mod bench;
pub mod drills;
pub mod hostile;
pub mod operator;
pub mod pictures;
pub mod process;
pub mod raw;
pub mod s3_server;
pub mod seaweed;
pub mod stand;
pub mod sts;
pub mod task;

use bytes::Bytes;

/// Bytes that differ everywhere and by `seed`, so that nothing can be mixed up
/// unnoticed.
pub fn pattern(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
