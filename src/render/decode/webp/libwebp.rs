//! What is used of libwebp, behind functions that no input can misuse: every
//! pointer that C sees comes from a slice whose length was checked, and nothing
//! that C allocated outlives the call. No threads are started.
#![allow(unsafe_code, reason = "libwebp is C")]

use std::ffi::c_int;
use std::ptr;

use libwebp_sys::{
    VP8StatusCode, WEBP_CSP_MODE, WebPBitstreamFeatures, WebPConfig, WebPDecode, WebPDecoderConfig,
    WebPEncode, WebPGetFeatures, WebPMemoryWrite, WebPMemoryWriter, WebPMemoryWriterClear,
    WebPMemoryWriterInit, WebPPicture, WebPPictureFree, WebPPictureImportRGB,
    WebPPictureImportRGBA, WebPPreset, WebPRGBABuffer, WebPValidateConfig,
};

/// What the header of a bitstream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub width: u32,
    pub height: u32,
    pub alpha: bool,
    /// `VP8L`, that is; false also where it is mixed.
    pub lossless: bool,
}

/// How a bitstream is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoding {
    /// The size to scale to, by area averages; the stored one to not scale.
    pub width: u32,
    pub height: u32,
    /// Four channels instead of three.
    pub alpha: bool,
}

/// Reads the header of a file or of a single frame; `None` when it is none.
pub(super) fn features(data: &[u8]) -> Option<Features> {
    let mut found = WebPBitstreamFeatures {
        width: 0,
        height: 0,
        has_alpha: 0,
        has_animation: 0,
        format: 0,
        pad: [0; 5],
    };
    // SAFETY: `data` is readable for its length, `found` is writable.
    let status = unsafe { WebPGetFeatures(data.as_ptr(), data.len(), &raw mut found) };
    if status != VP8StatusCode::VP8_STATUS_OK {
        return None;
    }
    Some(Features {
        width: u32::try_from(found.width).ok()?,
        height: u32::try_from(found.height).ok()?,
        alpha: found.has_alpha != 0,
        lossless: found.format == 2,
    })
}

/// Decodes a file or a single frame into rows of RGB or RGBA; `None` when it
/// is damaged or truncated.
pub(super) fn decode(data: &[u8], how: Decoding) -> Option<Vec<u8>> {
    let stored = features(data)?;
    let channels = if how.alpha { 4 } else { 3 };
    let stride = usize::try_from(how.width).ok()?.checked_mul(channels)?;
    let size = stride.checked_mul(usize::try_from(how.height).ok()?)?;
    let mut pixels = vec![0; size];
    let mut config = WebPDecoderConfig::new().ok()?;
    if (how.width, how.height) != (stored.width, stored.height) {
        config.options.use_scaling = 1;
        config.options.scaled_width = c_int::try_from(how.width).ok()?;
        config.options.scaled_height = c_int::try_from(how.height).ok()?;
    }
    config.output.colorspace = if how.alpha {
        WEBP_CSP_MODE::MODE_RGBA
    } else {
        WEBP_CSP_MODE::MODE_RGB
    };
    config.output.is_external_memory = 1;
    config.output.u.RGBA = WebPRGBABuffer {
        rgba: pixels.as_mut_ptr(),
        stride: c_int::try_from(stride).ok()?,
        size,
    };
    // SAFETY: `data` is readable for its length. libwebp checks the size of
    // the output against the buffer's before it writes to it, and with external
    // memory allocates none that would be ours to free.
    let status = unsafe { WebPDecode(data.as_ptr(), data.len(), &raw mut config) };
    (status == VP8StatusCode::VP8_STATUS_OK).then_some(pixels)
}

/// Encodes rows of RGB, or of RGBA with `alpha`. `quality` is 0–100, `method`
/// 0 (fast) to 6 (small). `None` when these or the lengths do not fit.
#[must_use]
pub fn encode(
    width: u32,
    height: u32,
    pixels: &[u8],
    alpha: bool,
    quality: f32,
    method: u8,
) -> Option<Vec<u8>> {
    let mut config = WebPConfig::new_with_preset(WebPPreset::WEBP_PRESET_DEFAULT, quality).ok()?;
    config.method = c_int::from(method);
    encode_as(&config, width, height, pixels, alpha)
}

/// Encodes without loss; see [`encode`].
#[cfg(test)]
pub(super) fn encode_lossless(
    width: u32,
    height: u32,
    pixels: &[u8],
    alpha: bool,
) -> Option<Vec<u8>> {
    let mut config = WebPConfig::new().ok()?;
    config.lossless = 1;
    config.exact = 1;
    encode_as(&config, width, height, pixels, alpha)
}

fn encode_as(
    config: &WebPConfig,
    width: u32,
    height: u32,
    pixels: &[u8],
    alpha: bool,
) -> Option<Vec<u8>> {
    let channels = if alpha { 4 } else { 3 };
    let stride = usize::try_from(width).ok()?.checked_mul(channels)?;
    if pixels.len() != stride.checked_mul(usize::try_from(height).ok()?)? {
        return None;
    }
    let stride = c_int::try_from(stride).ok()?;
    let mut picture = WebPPicture::new().ok()?;
    picture.use_argb = config.lossless;
    picture.width = c_int::try_from(width).ok()?;
    picture.height = c_int::try_from(height).ok()?;
    let mut written = WebPMemoryWriter {
        mem: ptr::null_mut(),
        size: 0,
        max_size: 0,
        pad: [0],
    };
    let import = if alpha {
        WebPPictureImportRGBA
    } else {
        WebPPictureImportRGB
    };
    // SAFETY: `pixels` holds `height` rows of `stride` bytes, as checked above,
    // and both sides were found to fit into a `c_int`; libwebp refuses sides
    // that are zero or too large. `WebPMemoryWrite` wants a `WebPMemoryWriter`
    // in `custom_ptr`, which outlives the call. What it wrote is readable for
    // its length until it is cleared, and copied before. `config`, `picture` and
    // `written` were initialised by libwebp's own functions, and what it
    // allocated in the latter two is freed here, once, also after an error.
    unsafe {
        WebPMemoryWriterInit(&raw mut written);
        picture.writer = Some(WebPMemoryWrite);
        picture.custom_ptr = (&raw mut written).cast();
        let done = WebPValidateConfig(config) != 0
            && import(&raw mut picture, pixels.as_ptr(), stride) != 0
            && WebPEncode(config, &raw mut picture) != 0;
        let bytes = (done && !written.mem.is_null())
            .then(|| std::slice::from_raw_parts(written.mem, written.size).to_vec());
        WebPPictureFree(&raw mut picture);
        WebPMemoryWriterClear(&raw mut written);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lossless_comes_back_as_it_was() {
        for alpha in [false, true] {
            let channels = if alpha { 4 } else { 3 };
            let pixels: Vec<u8> = (0..7 * 5 * channels)
                .map(|i: u8| i.wrapping_mul(37))
                .collect();
            let file = encode_lossless(7, 5, &pixels, alpha).unwrap();
            let found = features(&file).unwrap();
            assert_eq!((found.width, found.height), (7, 5));
            assert_eq!((found.alpha, found.lossless), (alpha, true));
            let how = Decoding {
                width: 7,
                height: 5,
                alpha,
            };
            assert_eq!(decode(&file, how).unwrap(), pixels);
        }
    }

    #[test]
    fn lossy_comes_back_about_as_it_was_in_the_wanted_size() {
        let pixels = [200, 100, 50].repeat(64 * 48);
        let file = encode(64, 48, &pixels, false, 80.0, 4).unwrap();
        let how = Decoding {
            width: 16,
            height: 12,
            alpha: false,
        };
        let small = decode(&file, how).unwrap();
        assert_eq!(small.len(), 16 * 12 * 3);
        for pixel in small.chunks_exact(3) {
            for (found, wanted) in pixel.iter().zip([200_u8, 100, 50]) {
                assert!(found.abs_diff(wanted) < 6, "{pixel:?}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(encode(2, 2, &[0; 11], false, 80.0, 4).is_none());
        assert!(encode(0, 2, &[], false, 80.0, 4).is_none());
        assert!(encode(2, 2, &[0; 12], false, 101.0, 4).is_none());
        assert!(encode(2, 2, &[0; 12], false, 80.0, 7).is_none());
        assert!(encode(16_384, 1, &vec![0; 16_384 * 3], false, 80.0, 0).is_none());
        assert!(features(b"RIFF\x04\0\0\0WEBP").is_none());
    }
}
