//! The scaled JPEG decoder, at each of its scales.
#![no_main]

use kura::render::jpeg::{Decoder, Scale};

/// Its caller refuses what is too large.
const MAX_PIXELS: u32 = 1 << 18;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for scale in [Scale::Eighth, Scale::Quarter, Scale::Half] {
        let Ok(decoder) = Decoder::new(data) else {
            return;
        };
        let (width, height) = (decoder.header().width, decoder.header().height);
        if width.saturating_mul(height) > MAX_PIXELS {
            return;
        }
        for plane in decoder.decode(scale).unwrap_or_default() {
            assert_eq!(plane.samples.len(), (plane.width * plane.height) as usize);
            assert!(plane.extent.0 <= plane.width.into() && plane.extent.1 <= plane.height.into());
        }
    }
});
