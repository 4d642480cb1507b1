//! The sniffer: what it takes for a format, it takes for that however the file
//! goes on.
#![no_main]

use kura::render::format::{Format, HEAD_BYTES};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let head = &data[..data.len().min(HEAD_BYTES)];
    assert_eq!(Format::of(data), Format::of(head));
});
