//! WebP, lossy and lossless; of an animated one the first frame.
//!
//! The container is read here, the bitstreams by libwebp, which scales while
//! it decodes.

pub mod libwebp;

use self::libwebp::Decoding;
use super::exif;
use super::shrink::{Channels, MARGIN, Shrink};
use crate::render::picture::{Orientation, Picture, Raster, Samples};
use crate::render::{Limits, Order, Refusal};

/// Decodes a WebP.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let chunk = |kind: &[u8; 4]| Chunks::of_file(source).find(|chunk| chunk.kind == *kind);
    let frame = match chunk(b"ANMF") {
        Some(frame) => Frame::parse(frame.data, chunk(b"VP8X")).ok_or(Refusal::Broken)?,
        None => Frame::still(source).ok_or(Refusal::Broken)?,
    };
    let (width, height) = frame.canvas;
    limits.check(width, height)?;
    let stored = libwebp::features(frame.data).ok_or(Refusal::Broken)?;
    limits.check(stored.width, stored.height)?;
    // Without loss all pixels are held, else only alpha is.
    let pixels = u64::from(stored.width) * u64::from(stored.height);
    limits.check_frame(pixels * if stored.lossless { 4 } else { 1 })?;

    let samples = if (frame.left, frame.top, stored.width, stored.height) == (0, 0, width, height) {
        let (fit_width, fit_height) = order.fit(width, height);
        let how = Decoding {
            width: width.min(fit_width * MARGIN),
            height: height.min(fit_height * MARGIN),
            alpha: stored.alpha,
        };
        let data = libwebp::decode(frame.data, how).ok_or(Refusal::Broken)?;
        let raster = Raster::new(how.width, how.height, data);
        if stored.alpha {
            Samples::Rgba(raster)
        } else {
            Samples::Rgb(raster)
        }
    } else {
        limits.check_frame(pixels * 4)?;
        let how = Decoding {
            width: stored.width,
            height: stored.height,
            alpha: true,
        };
        let data = libwebp::decode(frame.data, how).ok_or(Refusal::Broken)?;
        frame.on_canvas(&data, stored.width, order)
    };
    Ok(Picture {
        width,
        height,
        samples,
        orientation: match chunk(b"EXIF") {
            Some(block) => exif::orientation(block.data),
            None => Orientation::Upright,
        },
        profile: chunk(b"ICCP").map(|profile| profile.data.to_vec()),
    })
}

/// The frame to show, and where on its canvas it stands.
struct Frame<'a> {
    canvas: (u32, u32),
    left: u32,
    top: u32,
    /// What libwebp takes: a whole file, or the chunks of a frame.
    data: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The only frame.
    fn still(source: &'a [u8]) -> Option<Self> {
        let features = libwebp::features(source)?;
        Some(Self {
            canvas: (features.width, features.height),
            left: 0,
            top: 0,
            data: source,
        })
    }

    /// A frame of an animation (RFC 9649, section 2.7.1).
    fn parse(animated: &'a [u8], header: Option<Chunk<'_>>) -> Option<Self> {
        let number = |bytes: &[u8], at: usize| match bytes.get(at..at + 3) {
            Some(&[low, middle, high]) => Some(u32::from_le_bytes([low, middle, high, 0])),
            _ => None,
        };
        let header = header?.data;
        Some(Self {
            canvas: (number(header, 4)? + 1, number(header, 7)? + 1),
            left: number(animated, 0)? * 2,
            top: number(animated, 3)? * 2,
            data: animated.get(16..)?,
        })
    }

    /// Rows of RGBA on the transparent canvas. What stands out is cut off.
    fn on_canvas(&self, data: &[u8], frame_width: u32, order: Order) -> Samples {
        let (width, height) = self.canvas;
        let mut shrink = Shrink::new(width, height, Channels::Rgba, order);
        let mut canvas = vec![0; width as usize * 4];
        let left = self.left.min(width) as usize * 4;
        let shown = canvas
            .len()
            .saturating_sub(left)
            .min(frame_width as usize * 4);
        let mut rows = data.chunks_exact(frame_width as usize * 4);
        for y in 0..height {
            canvas.fill(0);
            if y >= self.top
                && let Some(row) = rows.next()
            {
                canvas[left..left + shown].copy_from_slice(&row[..shown]);
            }
            shrink.push(&mut canvas);
        }
        shrink.finish()
    }
}

/// The chunks of a RIFF file (RFC 9649, section 2.3).
struct Chunks<'a>(&'a [u8]);

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn of_file(source: &'a [u8]) -> Self {
        Self(source.get(12..).unwrap_or_default())
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    /// The next chunk; the last may be shorter than it says.
    fn next(&mut self) -> Option<Chunk<'a>> {
        let (kind, rest) = self.0.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        let data = &rest[..size.min(rest.len())];
        // Chunks begin at even places.
        let next = size.saturating_add(size % 2).min(rest.len());
        self.0 = &rest[next..];
        Some(Chunk { kind: *kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::libwebp::{encode, encode_lossless};
    use super::*;

    const LIMITS: Limits = Limits {
        source_bytes: 1 << 20,
        pixels: 1 << 18,
        frame_bytes: 1 << 19,
    };

    fn decoded(file: &[u8]) -> Result<Picture, Refusal> {
        decode(file, Order { side: 50 }, &LIMITS)
    }

    fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        let padding = &[0][..data.len() % 2];
        [kind, &size, data, padding].concat()
    }

    /// A file of chunks, with the header of an extended one.
    fn extended(flags: u8, width: u8, height: u8, chunks: &[u8]) -> Vec<u8> {
        let header = [flags, 0, 0, 0, width - 1, 0, 0, height - 1, 0, 0];
        let body = [&b"WEBP"[..], &chunk(b"VP8X", &header), chunks].concat();
        chunk(b"RIFF", &body)
    }

    #[test]
    fn what_is_small_is_decoded_as_it_is() {
        let rgb = [1, 2, 3, 200, 5, 6];
        let samples = decoded(&encode_lossless(2, 1, &rgb, false).unwrap())
            .unwrap()
            .samples;
        assert_eq!(samples, Samples::Rgb(Raster::new(2, 1, rgb.to_vec())));
        let rgba = [1, 2, 3, 4, 200, 5, 6, 7];
        let samples = decoded(&encode_lossless(2, 1, &rgba, true).unwrap())
            .unwrap()
            .samples;
        assert_eq!(samples, Samples::Rgba(Raster::new(2, 1, rgba.to_vec())));
    }

    #[test]
    fn what_is_large_is_decoded_to_twice_the_thumbnail() {
        let rgba = [[250, 100, 20, 255], [250, 100, 20, 0]].map(|pixel| pixel.repeat(200));
        let rgba = rgba.concat().repeat(300);
        for file in [
            encode(400, 300, &rgba, true, 90.0, 4).unwrap(),
            encode_lossless(400, 300, &rgba, true).unwrap(),
        ] {
            let picture = decoded(&file).unwrap();
            assert_eq!((picture.width, picture.height), (400, 300));
            let Samples::Rgba(raster) = picture.samples else {
                panic!("not RGBA");
            };
            assert_eq!((raster.width, raster.height), (100, 76));
            assert_eq!(raster.extent, (100.0, 76.0));
            for (found, wanted) in raster.data.iter().zip([250_u8, 100, 20, 255]) {
                assert!(found.abs_diff(wanted) < 4, "{:?}", &raster.data[..4]);
            }
            assert_eq!(raster.data[raster.data.len() - 1], 0);
        }
        let file = encode(400, 300, &vec![9; 400 * 300 * 3], false, 90.0, 4).unwrap();
        assert!(matches!(decoded(&file).unwrap().samples, Samples::Rgb(_)));
    }

    #[test]
    fn profile_and_orientation_are_told() {
        let plain = encode_lossless(2, 1, &[7; 6], false).unwrap();
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let chunks = [
            chunk(b"ICCP", &[5; 9]),
            plain[12..].to_vec(),
            chunk(b"EXIF", tiff),
        ];
        let picture = decoded(&extended(0x28, 2, 1, &chunks.concat())).unwrap();
        assert_eq!(picture.profile, Some(vec![5; 9]));
        assert_eq!(picture.orientation, Orientation::Rotated90);
        assert_eq!(decoded(&plain).unwrap().profile, None);
    }

    /// An animation of two frames on a canvas of 6 × 4; the first stands at
    /// 2, 2 unless it is as large.
    fn animated(width: u8, height: u8) -> Vec<u8> {
        let frame = |pixel: u8, at: u8| {
            let pixels = vec![pixel; usize::from(width) * usize::from(height) * 3];
            let file = encode_lossless(width.into(), height.into(), &pixels, false).unwrap();
            let place = [
                at,
                0,
                0,
                at,
                0,
                0,
                width - 1,
                0,
                0,
                height - 1,
                0,
                0,
                100,
                0,
                0,
                0,
            ];
            chunk(b"ANMF", &[&place, &file[12..]].concat())
        };
        let at = u8::from(width < 6);
        let animation = chunk(b"ANIM", &[9, 9, 9, 255, 0, 0]);
        extended(2, 6, 4, &[animation, frame(77, at), frame(88, 0)].concat())
    }

    #[test]
    fn of_an_animation_the_first_frame_is_shown_on_its_canvas() {
        let expected = Samples::Rgb(Raster::new(6, 4, vec![77; 6 * 4 * 3]));
        assert_eq!(decoded(&animated(6, 4)).unwrap().samples, expected);
        let mut expected = vec![0; 6 * 4 * 4];
        for x in 2..4 {
            expected[(2 * 6 + x) * 4..][..4].copy_from_slice(&[77, 77, 77, 255]);
        }
        let expected = Samples::Rgba(Raster::new(6, 4, expected));
        assert_eq!(decoded(&animated(2, 1)).unwrap().samples, expected);
        // 9 × 3 does not fit.
        let Samples::Rgba(raster) = decoded(&animated(5, 9)).unwrap().samples else {
            panic!("not RGBA");
        };
        assert_eq!(raster.data[23 * 4..], [77, 77, 77, 255]);
    }

    #[test]
    fn truncated_files_are_broken() {
        for file in [
            encode(90, 90, &vec![7; 90 * 90 * 3], false, 90.0, 4).unwrap(),
            encode_lossless(2, 2, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], false).unwrap(),
            animated(6, 4)[..80].to_vec(),
        ] {
            for length in [12, 20, 25, 40, file.len() / 2, file.len() - 8] {
                let end = length.min(file.len() - 1);
                assert_eq!(decoded(&file[..end]), Err(Refusal::Broken), "{length}");
            }
        }
        assert_eq!(
            decoded(&extended(2, 1, 1, &chunk(b"ANMF", &[0; 15]))),
            Err(Refusal::Broken)
        );
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let file = encode(512, 513, &vec![0; 512 * 513 * 3], false, 1.0, 0).unwrap();
        assert_eq!(decoded(&file), Err(Refusal::TooLarge));
        let file = encode_lossless(512, 512, &vec![0; 512 * 512 * 3], false).unwrap();
        assert_eq!(decoded(&file), Err(Refusal::TooLarge));
        let mut file = animated(6, 4);
        file[24..30].fill(0xff);
        assert_eq!(decoded(&file), Err(Refusal::TooLarge));
    }
}
