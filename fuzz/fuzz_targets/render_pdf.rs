//! From a file to its thumbnail: see `kura_fuzz::render`.
#![no_main]

use kura::render::format::Format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kura_fuzz::render(Format::Pdf, data));
