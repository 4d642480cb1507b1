//! Deflate bombs.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};

/// `bytes` as a zlib stream.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zlib stream of so many zeros, a thousandth as long. A mebibyte of them is
/// compressed, as often as it takes; nothing is as large as it will become.
pub fn zeros(count: u64) -> Vec<u8> {
    const MIB: u64 = 1 << 20;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    // Ends the block at a byte.
    encoder.flush().unwrap();
    let block = encoder
        .get_ref()
        .repeat(usize::try_from(count / MIB).unwrap());
    let rest = zlib(&vec![0; usize::try_from(count % MIB).unwrap()]);
    // The rest is the last block, between its header and its Adler-32, in which
    // zeros count only by their number.
    let sum = u32::try_from(count % 65_521).unwrap() << 16 | 1;
    let header = &rest[..2];
    [header, &block, &rest[2..rest.len() - 4], &sum.to_be_bytes()].concat()
}

#[test]
fn zeros_are_zeros() {
    use std::io::Read;
    let mut inflated = Vec::new();
    let bomb = zeros((5 << 20) + 77);
    flate2::read::ZlibDecoder::new(&bomb[..])
        .read_to_end(&mut inflated)
        .unwrap();
    assert_eq!(inflated, vec![0; (5 << 20) + 77]);
}
