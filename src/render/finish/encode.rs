//! Writes the thumbnail's file: eight bits, sRGB, nothing but the picture.

use gif::Frame;
use image::ExtendedColorType;
use image::codecs::bmp::BmpEncoder;
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, ImageBuffer, JpegColorType};

use super::{colour, palette};
use crate::render::Refusal;
use crate::render::decode::webp::libwebp;
use crate::render::format::Format;
use crate::render::picture::{Raster, Samples};

/// Of libjpeg's scale of 1 to 100. Huffman tables are the standard's own:
/// better ones would save a tenth of the bytes, but the encoder then writes a
/// scan for each component, which not every decoder gets right.
const JPEG_QUALITY: u8 = 80;
/// Of libwebp's scale of 0 to 100.
const WEBP_QUALITY: f32 = 80.0;
/// Of 0 (fast) to 6 (small): half the time of the default, 4, for 3 % more bytes.
const WEBP_METHOD: u8 = 2;

/// Writes the file.
///
/// # Errors
/// [`Refusal::Broken`] when samples are missing.
pub(super) fn encode(samples: Samples, format: Format) -> Result<Vec<u8>, Refusal> {
    match format {
        Format::Jpeg => jpeg(samples),
        Format::Png => png(samples),
        Format::Gif => gif(samples),
        Format::Bmp => bmp(samples),
        Format::Webp => webp(samples),
        // These have thumbnails of other formats.
        Format::Avif | Format::Pdf => None,
    }
    .ok_or(Refusal::Broken)
}

fn jpeg(samples: Samples) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, JPEG_QUALITY);
    match samples {
        Samples::YCbCr(planes) => encoder.encode_image(Planes::new(&planes)?),
        Samples::Gray(Raster {
            width,
            height,
            data,
            ..
        }) => encoder.encode(&data, side(width)?, side(height)?, ColorType::Luma),
        other => {
            let Raster {
                width,
                height,
                data,
                ..
            } = colour::rgb(other);
            encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
            encoder.encode(&data, side(width)?, side(height)?, ColorType::Rgb)
        }
    }
    .ok()?;
    Some(file)
}

/// Luminance, and colour differences in half of its size.
struct Planes<'a> {
    width: u16,
    height: u16,
    luminance: &'a [u8],
    chroma: [&'a [u8]; 2],
}

impl<'a> Planes<'a> {
    /// `None` when samples are missing.
    fn new([y, cb, cr]: &'a [Raster; 3]) -> Option<Self> {
        let half = (y.width.div_ceil(2), y.height.div_ceil(2));
        let complete =
            |raster: &Raster| raster.data.len() == raster.width as usize * raster.height as usize;
        let fits = |raster: &Raster| (raster.width, raster.height) == half && complete(raster);
        (complete(y) && fits(cb) && fits(cr)).then_some(())?;
        Some(Self {
            width: side(y.width)?,
            height: side(y.height)?,
            luminance: &y.data,
            chroma: [&cb.data, &cr.data],
        })
    }
}

/// The encoder wants the colour differences in the size of the luminance, and
/// takes every other one of every other row: each is given to it four times.
impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [luminance, blue, red, _]: &mut [Vec<u8>; 4]) {
        let (width, y) = (usize::from(self.width), usize::from(y));
        luminance.extend_from_slice(&self.luminance[y * width..][..width]);
        let half = width.div_ceil(2);
        for (chroma, into) in self.chroma.iter().zip([blue, red]) {
            let row = &chroma[y / 2 * half..][..half];
            into.extend(row.iter().flat_map(|&sample| [sample; 2]).take(width));
        }
    }
}

fn png(samples: Samples) -> Option<Vec<u8>> {
    let (raster, colour) = match without_needless_colour(without_needless_alpha(samples)) {
        Samples::Gray(raster) => (raster, png::ColorType::Grayscale),
        Samples::Rgba(raster) => (raster, png::ColorType::Rgba),
        other => (colour::rgb(other), png::ColorType::Rgb),
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, raster.width, raster.height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&raster.data).ok()?;
    writer.finish().ok()?;
    Some(file)
}

fn gif(samples: Samples) -> Option<Vec<u8>> {
    let (width, height, reduced) = match without_needless_alpha(samples) {
        Samples::Rgba(raster) => {
            // There is no half transparent pixel in a GIF.
            let seen = |&[r, g, b, alpha]: &[u8; 4]| (alpha >= 128).then_some([r, g, b]);
            let reduced = palette::reduce(raster.data.as_chunks().0.iter().map(seen));
            (raster.width, raster.height, reduced)
        }
        other => {
            let rgb = colour::rgb(other);
            let pixels = rgb.data.as_chunks().0.iter();
            (
                rgb.width,
                rgb.height,
                palette::reduce(pixels.copied().map(Some)),
            )
        }
    };
    let (width, height) = (side(width)?, side(height)?);
    let complete = reduced.indices.len() == usize::from(width) * usize::from(height);
    complete.then_some(())?;
    let frame = Frame {
        width,
        height,
        buffer: reduced.indices.into(),
        palette: Some(reduced.palette.into_flattened()),
        transparent: reduced.transparent,
        ..Frame::default()
    };
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, width, height, &[]).ok()?;
    encoder.write_frame(&frame).ok()?;
    encoder.into_inner().ok()?;
    Some(file)
}

fn bmp(samples: Samples) -> Option<Vec<u8>> {
    let rgb = colour::rgb(samples);
    let mut file = Vec::new();
    BmpEncoder::new(&mut file)
        .encode(&rgb.data, rgb.width, rgb.height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(file)
}

fn webp(samples: Samples) -> Option<Vec<u8>> {
    let (raster, alpha) = match without_needless_alpha(samples) {
        Samples::Rgba(raster) => (raster, true),
        other => (colour::rgb(other), false),
    };
    let Raster {
        width,
        height,
        data,
        ..
    } = raster;
    libwebp::encode(width, height, &data, alpha, WEBP_QUALITY, WEBP_METHOD)
}

/// What is opaque throughout needs no channel that says so.
fn without_needless_alpha(samples: Samples) -> Samples {
    match samples {
        Samples::Rgba(raster) if raster.data.iter().skip(3).step_by(4).all(|&a| a == 255) => {
            Samples::Rgb(colour::rgb(Samples::Rgba(raster)))
        }
        other => other,
    }
}

/// What is gray throughout, as pages of text are, needs no more than that.
fn without_needless_colour(samples: Samples) -> Samples {
    let Samples::Rgb(raster) = &samples else {
        return samples;
    };
    let (pixels, _) = raster.data.as_chunks();
    if pixels.iter().any(|[r, g, b]| r != g || g != b) {
        return samples;
    }
    let data = pixels.iter().map(|&[gray, ..]| gray).collect();
    Samples::Gray(Raster::new(raster.width, raster.height, data))
}

/// A side of a thumbnail is at most [`crate::render::MAX_SIDE`] pixels.
fn side(length: u32) -> Option<u16> {
    u16::try_from(length).ok()
}
