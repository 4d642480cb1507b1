//! The first frame of a GIF, on its screen. What follows it is not read.

use std::io::{BufRead, Read};
use std::num::NonZeroU64;

use ::gif::{DecodeOptions, Decoder, DecodingError, Frame, MemoryLimit};

use super::shrink::{Channels, Shrink};
use crate::render::picture::{Orientation, Picture};
use crate::render::{Limits, Order, Refusal};

/// Most bytes of a colour profile, and of other metadata.
const MOST_METADATA: NonZeroU64 = NonZeroU64::new(4 << 20).unwrap();
/// Indices are read in pieces of so many at least, unless there are fewer:
/// `weezl` 0.1.12 loses codes when it is given room for only a few.
const PIECE: usize = 1 << 14;

/// Decodes the first frame. The screen around it is transparent, and enlarged
/// where the frame does not fit into it, as browsers do.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &mut dyn BufRead, order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let mut options = DecodeOptions::new();
    options.allow_unknown_blocks(true);
    options.set_memory_limit(MemoryLimit::Bytes(MOST_METADATA));
    let mut decoder = options.read_info(source)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info()?.ok_or(Refusal::Broken)?;
    let frame = Frame {
        // Of the frame without its pixels, only this is not small.
        palette: None,
        ..frame.clone()
    };
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (wide, high) = (u32::from(frame.width), u32::from(frame.height));
    limits.check(wide, high)?;
    let (width, height) = (screen.0.max(left + wide), screen.1.max(top + high));
    limits.check(width, height)?;

    let covers = (left, top, wide, high) == (0, 0, width, height);
    let channels = if covers && frame.transparent.is_none() {
        Channels::Rgb
    } else {
        Channels::Rgba
    };
    let colours = Colours::of(decoder.palette()?, frame.transparent);
    let mut shrink = Shrink::new(width, height, channels, order);
    let mut canvas = vec![0; width as usize * channels.count()];
    let mut pixels = |row: Option<&[u8]>| {
        canvas.fill(0);
        if let Some(row) = row {
            let canvas = canvas.get_mut(left as usize * channels.count()..);
            colours.look_up(row, canvas.unwrap_or_default(), channels);
        }
        shrink.push(&mut canvas);
    };
    (0..top).for_each(|_| pixels(None));
    let (wide, high) = (wide as usize, high as usize);
    let mut stored = Vec::new();
    let came = if frame.interlaced {
        limits.check_frame((wide * high) as u64)?;
        read_rows(&mut decoder, wide, high, |rows| {
            stored.extend_from_slice(rows);
        })
    } else {
        read_rows(&mut decoder, wide, high, |rows| {
            rows.chunks_exact(wide).for_each(|row| pixels(Some(row)));
        })
    };
    if came == 0 {
        return Err(Refusal::Broken);
    }
    if frame.interlaced {
        for y in 0..high {
            // A row that was lost looks like one of an earlier pass.
            let nearest = [y, y & !1, y & !3, y & !7].map(|y| place_of_row(y, high));
            let place = nearest.into_iter().find(|&place| place < came).unwrap_or(0);
            pixels(stored.get(place * wide..(place + 1) * wide));
        }
    }
    Ok(Picture {
        width,
        height,
        samples: shrink.finish(),
        orientation: Orientation::Upright,
        profile: decoder.icc_profile().map(<[u8]>::to_vec),
    })
}

/// Reads the rows as they are stored, and tells how many came. Of the last
/// piece of a truncated file, what is lost has index 0.
fn read_rows<R: Read>(
    decoder: &mut Decoder<R>,
    width: usize,
    height: usize,
    mut take: impl FnMut(&[u8]),
) -> usize {
    let piece = PIECE.div_ceil(width);
    let mut came = 0;
    let mut rows = Vec::new();
    while came < height {
        let left = height - came;
        let next = if left < 2 * piece { left } else { piece };
        rows.clear();
        rows.resize(next * width, 0);
        let whole = matches!(decoder.fill_buffer(&mut rows), Ok(true));
        if whole || rows.iter().any(|&index| index != 0) {
            take(&rows);
            came += next;
        }
        if !whole {
            break;
        }
    }
    came
}

/// Where a row of an interlaced frame is stored (appendix E of
/// the specification of `GIF89a`).
fn place_of_row(y: usize, height: usize) -> usize {
    let first = height.div_ceil(8);
    let second = first + height.saturating_sub(4).div_ceil(8);
    let third = second + height.saturating_sub(2).div_ceil(4);
    match y % 8 {
        0 => y / 8,
        4 => first + y / 8,
        2 | 6 => second + y / 4,
        _ => third + y / 2,
    }
}

/// What each index means.
struct Colours([[u8; 4]; 256]);

impl Colours {
    fn of(palette: &[u8], transparent: Option<u8>) -> Self {
        let mut all = [[0; 4]; 256];
        let (palette, _) = palette.as_chunks();
        for (colour, &[red, green, blue]) in all.iter_mut().zip(palette) {
            *colour = [red, green, blue, 255];
        }
        if let Some(index) = transparent {
            all[usize::from(index)] = [0; 4];
        }
        Self(all)
    }

    fn look_up(&self, indices: &[u8], into: &mut [u8], channels: Channels) {
        let colours = indices.iter().map(|&index| &self.0[usize::from(index)]);
        if channels == Channels::Rgba {
            let (pixels, _) = into.as_chunks_mut();
            pixels
                .iter_mut()
                .zip(colours)
                .for_each(|(pixel, colour)| *pixel = *colour);
        } else {
            let (pixels, _) = into.as_chunks_mut();
            for (pixel, &[red, green, blue, _]) in pixels.iter_mut().zip(colours) {
                *pixel = [red, green, blue];
            }
        }
    }
}

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::MemoryLimit | DecodingError::OutOfMemory => Self::TooLarge,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use ::gif::Encoder;

    use super::*;
    use crate::render::picture::{Raster, Samples};

    const LIMITS: Limits = Limits {
        source_bytes: 1 << 20,
        pixels: 1 << 20,
        frame_bytes: 1 << 16,
    };
    const PALETTE: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn decoded(mut file: &[u8]) -> Result<Picture, Refusal> {
        decode(&mut file, Order { side: 50 }, &LIMITS)
    }

    fn gif(screen: (u16, u16), frames: &[Frame<'_>]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, screen.0, screen.1, &PALETTE).unwrap();
        for frame in frames {
            encoder.write_frame(frame).unwrap();
        }
        drop(encoder);
        file
    }

    fn frame(width: u16, height: u16, indices: Vec<u8>) -> Frame<'static> {
        Frame {
            width,
            height,
            buffer: indices.into(),
            ..Frame::default()
        }
    }

    fn rgba(file: &[u8]) -> Raster {
        match decoded(file).unwrap().samples {
            Samples::Rgba(raster) => raster,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_first_frame_is_read() {
        let second = frame(2, 1, vec![2, 2]);
        let mut file = gif((2, 1), &[frame(2, 1, vec![1, 0]), second]);
        let picture = decoded(&file).unwrap();
        let expected = Raster::new(2, 1, vec![4, 5, 6, 1, 2, 3]);
        assert_eq!(picture.samples, Samples::Rgb(expected));
        assert_eq!((picture.width, picture.height), (2, 1));
        file.truncate(file.len() - 10);
        assert_eq!(decoded(&file), Ok(picture));
    }

    #[test]
    fn frames_stand_on_their_screen() {
        let small = Frame {
            left: 1,
            top: 1,
            transparent: Some(3),
            palette: Some([50, 60, 70].repeat(4)),
            ..frame(2, 1, vec![0, 3])
        };
        let raster = rgba(&gif((4, 3), &[small]));
        assert_eq!((raster.width, raster.height), (4, 3));
        let mut expected = vec![0; 4 * 3 * 4];
        expected[5 * 4..6 * 4].copy_from_slice(&[50, 60, 70, 255]);
        assert_eq!(raster.data, expected);
    }

    #[test]
    fn screens_grow_for_frames_that_do_not_fit() {
        let outside = Frame {
            left: 2,
            ..frame(1, 2, vec![0, 0])
        };
        let raster = rgba(&gif((1, 1), &[outside]));
        assert_eq!((raster.width, raster.height), (3, 2));
        assert_eq!(raster.data[..12], [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 255]);
        assert!(decoded(&gif((0, 0), &[frame(1, 1, vec![0])])).is_ok());
    }

    #[test]
    fn interlaced_frames_are_put_together() {
        // The rows 0 to 9 as they are stored, by their number.
        let rows = [0_u8, 8, 4, 2, 6, 1, 3, 5, 7, 9];
        let palette: Vec<u8> = (0..10).flat_map(|y| [y; 3]).collect();
        let interlaced = Frame {
            interlaced: true,
            palette: Some(palette.clone()),
            ..frame(3, 10, rows.iter().flat_map(|&y| [y; 3]).collect())
        };
        let file = gif((3, 10), &[interlaced]);
        let expected = palette
            .chunks(3)
            .flat_map(|pixel| pixel.repeat(3))
            .collect();
        let raster = Raster::new(3, 10, expected);
        assert_eq!(decoded(&file).unwrap().samples, Samples::Rgb(raster));
    }

    #[test]
    fn truncated_frames_show_what_there_is() {
        let noise = |i: u32| i.wrapping_mul(2_654_435_761).to_be_bytes()[0] & 3;
        for interlaced in [false, true] {
            let frame = Frame {
                interlaced,
                ..frame(200, 200, (0..40_000).map(noise).collect())
            };
            let file = gif((200, 200), &[frame]);
            let order = Order { side: 200 };
            let picture = decode(&mut &file[..file.len() / 2], order, &LIMITS).unwrap();
            let Samples::Rgb(raster) = picture.samples else {
                panic!("not RGB");
            };
            assert_eq!(raster.data.len(), 200 * 200 * 3);
            // White, or the rows of earlier passes.
            let rest = &raster.data[199 * 200 * 3..];
            assert_eq!(rest.iter().all(|&sample| sample == 255), !interlaced);
            assert_eq!(decoded(&file[..30]), Err(Refusal::Broken));
        }
    }

    #[test]
    fn narrow_frames_lose_nothing() {
        for width in [1, 3, 7] {
            for shade in [
                |_| 1,
                |i: u32| i.wrapping_mul(2_654_435_761).to_be_bytes()[0] & 3,
            ] {
                let indices: Vec<u8> = (0..u32::from(width) * 9000).map(shade).collect();
                let last = PALETTE[usize::from(indices[indices.len() - 1]) * 3];
                let file = gif((width, 9000), &[frame(width, 9000, indices)]);
                let order = Order { side: 9000 };
                let picture = decode(&mut &file[..], order, &LIMITS).unwrap();
                let Samples::Rgb(raster) = picture.samples else {
                    panic!("not RGB");
                };
                assert_eq!(raster.data[raster.data.len() - 3], last);
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert_eq!(
            decoded(&gif((1025, 1024), &[frame(1, 1, vec![0])])),
            Err(Refusal::TooLarge)
        );
        let mut lying = gif((1, 1), &[frame(1, 1, vec![0])]);
        let at = lying.iter().position(|&byte| byte == b',').unwrap();
        lying[at + 5..at + 9].fill(0xff);
        assert_eq!(decoded(&lying), Err(Refusal::TooLarge));
        let interlaced = Frame {
            interlaced: true,
            ..frame(257, 256, vec![0; 257 * 256])
        };
        assert_eq!(decoded(&gif((1, 1), &[interlaced])), Err(Refusal::TooLarge));
        lying[at + 5..at + 9].fill(0);
        assert_eq!(decoded(&lying), Err(Refusal::Broken));
    }
}
