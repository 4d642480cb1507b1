//! AVIF: a still picture of AV1.
//!
//! Planes are reduced one by one before their colours are converted, so that
//! few are. Pictures put together from a grid of others are not understood.

mod properties;

use std::io::Read;
use std::panic::{self, AssertUnwindSafe};

use avif_parse::{AV1Metadata, AvifData};
use re_rav1d::dav1d::{
    Decoder, InloopFilterType, Picture as Frame, PixelLayout, PlanarImageComponent as Component,
    Settings,
};

use self::properties::Properties;
use super::shrink::{Channels, Shrink, factor};
use crate::render::picture::{Picture, Raster, Samples};
use crate::render::{Limits, Order, Refusal};

/// From this factor of reduction on, the filters that smooth the edges of
/// blocks are left out: nothing in a still picture is predicted from what they
/// make, and the average of a box hardly changes.
const UNFILTERED_FROM: u32 = 2;
/// Matrix coefficients that nobody specified.
const UNSPECIFIED: u16 = 2;

/// Decodes an AVIF.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let Some((size, rest)) = source.split_at_checked(8) else {
        return Err(Refusal::Broken);
    };
    // The parser wants `avif` for a brand, which may be another of its brands.
    let mut reader = size
        .chain(&b"avif"[..])
        .chain(rest.get(4..).unwrap_or_default());
    let file = AvifData::from_reader(&mut reader).map_err(|_| Refusal::Broken)?;
    let properties = Properties::of(source);
    let colour = decode_item(&file.primary_item, order, limits)?;
    let samples = match &file.alpha_item {
        None => opaque(&colour, properties.matrix, order)?,
        Some(alpha) => {
            let alpha = decode_item(alpha, order, limits)?;
            with_alpha(
                &colour,
                &alpha,
                file.premultiplied_alpha,
                properties.matrix,
                order,
            )?
        }
    };
    Ok(Picture {
        width: colour.width(),
        height: colour.height(),
        samples,
        orientation: properties.orientation,
        profile: properties.profile,
    })
}

/// Decodes the picture of a stream, once its header says that it is not too
/// large.
fn decode_item(stream: &[u8], order: Order, limits: &Limits) -> Result<Frame, Refusal> {
    let header = AV1Metadata::parse_av1_bitstream(stream).map_err(|_| Refusal::Broken)?;
    let (width, height) = (header.max_frame_width.get(), header.max_frame_height.get());
    limits.check(width, height)?;
    let planes = if header.monochrome { 1 } else { 3 };
    let bytes = if header.bit_depth > 8 { 2 } else { 1 };
    limits.check_frame(u64::from(width) * u64::from(height) * planes * bytes)?;

    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_apply_grain(false);
    settings.set_frame_size_limit(u32::try_from(limits.pixels).unwrap_or(u32::MAX));
    let (fit_width, fit_height) = order.fit(width, height);
    if factor(width, fit_width).min(factor(height, fit_height)) >= UNFILTERED_FROM {
        settings.set_inloop_filters(InloopFilterType::empty());
    }
    let mut decoder = Decoder::with_settings(&settings).map_err(|_| Refusal::Broken)?;
    match decoder.send_data(stream.to_vec(), None, None, None) {
        // More is there than the first picture.
        Ok(()) | Err(re_rav1d::dav1d::Error::Again) => {}
        Err(_) => return Err(Refusal::Broken),
    }
    let frame = decoder.get_picture().map_err(|_| Refusal::Broken)?;
    limits.check(frame.width(), frame.height())?;
    Ok(frame)
}

/// A plane of a frame.
struct Plane {
    samples: re_rav1d::dav1d::Plane,
    width: u32,
    height: u32,
    /// Bytes from row to row.
    stride: usize,
    /// Two bytes a sample.
    wide: bool,
    /// Which byte a level means; its own where there is none.
    levels: Option<Vec<u8>>,
}

impl Plane {
    fn of(
        frame: &Frame,
        component: Component,
        full_range: bool,
        signed: bool,
    ) -> Result<Self, Refusal> {
        let bits = frame.bits_per_component().ok_or(Refusal::Broken)?.0;
        let (across, down) = match component {
            Component::Y => (1, 1),
            Component::U | Component::V => subsampling(frame),
        };
        let (stride, _) = frame.plane_data_geometry(component);
        Ok(Self {
            samples: frame.plane(component),
            width: frame.width().div_ceil(across),
            height: frame.height().div_ceil(down),
            stride: stride as usize,
            wide: bits > 8,
            levels: (bits > 8 || !full_range).then(|| levels(bits, full_range, signed)),
        })
    }

    /// Writes a row, of as many bytes as the plane is wide.
    fn read_row(&self, y: u32, into: &mut [u8]) {
        let start = y as usize * self.stride;
        let row = self
            .samples
            .get(start..start + self.stride)
            .unwrap_or_default();
        match (&self.levels, self.wide) {
            (None, _) => into
                .iter_mut()
                .zip(row)
                .for_each(|(byte, &level)| *byte = level),
            (Some(levels), false) => {
                for (byte, &level) in into.iter_mut().zip(row) {
                    *byte = levels.get(usize::from(level)).copied().unwrap_or(u8::MAX);
                }
            }
            (Some(levels), true) => {
                for (byte, level) in into.iter_mut().zip(row.as_chunks().0) {
                    let level = usize::from(u16::from_ne_bytes(*level));
                    *byte = levels.get(level).copied().unwrap_or(u8::MAX);
                }
            }
        }
    }

    fn reduce(&self, across: u32, down: u32) -> Raster {
        let mut shrink = Shrink::by(self.width, self.height, Channels::Gray, (across, down));
        let mut row = vec![0; self.width as usize];
        for y in 0..self.height {
            self.read_row(y, &mut row);
            shrink.push(&mut row);
        }
        shrink.into_raster()
    }
}

/// How many columns and rows share a sample of colour.
fn subsampling(frame: &Frame) -> (u32, u32) {
    match frame.pixel_layout() {
        PixelLayout::I420 => (2, 2),
        PixelLayout::I422 => (2, 1),
        PixelLayout::I400 | PixelLayout::I444 => (1, 1),
    }
}

/// The byte for each level of so many bits: 0 to 255, around 128 for signed
/// ones (ISO/IEC 23091-2, section 8.3).
fn levels(bits: usize, full_range: bool, signed: bool) -> Vec<u8> {
    let unit = 1 << (bits - 8);
    let top = 256 * unit - 1;
    let (zero, span) = match (full_range, signed) {
        (true, false) => (0, top),
        (true, true) => (128 * unit, top),
        (false, false) => (16 * unit, 219 * unit),
        (false, true) => (128 * unit, 224 * unit),
    };
    let middle = if signed { 128 } else { 0 };
    let byte = |level: i32| {
        let byte = ((level - zero) * 510 + span).div_euclid(2 * span) + middle;
        u8::try_from(byte.clamp(0, 255)).unwrap_or(u8::MAX)
    };
    (0..=top).map(byte).collect()
}

/// What three planes mean.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Matrix {
    /// Green, blue, red.
    Identity,
    /// Luminance and two colour differences, of which red has so much of the
    /// second, green lacks so much of both, and blue has so much of the first.
    Differences([f32; 4]),
}

/// BT.601's, as in JFIF.
const BT601: Matrix = Matrix::Differences([1.402, 0.344_136, 0.714_136, 1.772]);

impl Matrix {
    /// By its number (ISO/IEC 23091-2, section 8.3, table 4). Rare ones look
    /// much like BT.601.
    fn of(coefficients: u16) -> Self {
        match coefficients {
            0 => Self::Identity,
            1 => Self::Differences([1.5748, 0.187_324, 0.468_124, 1.8556]),
            7 => Self::Differences([1.576, 0.226_622, 0.476_622, 1.826]),
            9 | 10 => Self::Differences([1.4746, 0.164_553, 0.571_353, 1.8814]),
            _ => BT601,
        }
    }

    fn rgb(self, first: u8, second: u8, third: u8) -> [u8; 3] {
        let Self::Differences([in_red, lack_1, lack_2, in_blue]) = self else {
            return [third, first, second];
        };
        let (y, cb, cr) = (
            f32::from(first),
            f32::from(second) - 128.0,
            f32::from(third) - 128.0,
        );
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates"
        )]
        [
            y + in_red * cr,
            y - lack_1 * cb - lack_2 * cr,
            y + in_blue * cb,
        ]
        .map(|colour| (colour + 0.5) as u8)
    }
}

/// The planes of a frame and what they mean. The container's word on that goes
/// before the stream's.
fn planes(frame: &Frame, said: Option<(u16, bool)>) -> Result<(Matrix, Vec<Plane>), Refusal> {
    let (coefficients, full_range) = said.unwrap_or_else(|| {
        // `re_rav1d` panics over a number that is reserved.
        let frame = AssertUnwindSafe(frame);
        let coefficients = panic::catch_unwind(|| frame.matrix_coefficients() as u16);
        let full_range = frame.color_range() == re_rav1d::dav1d::pixel::YUVRange::Full;
        (coefficients.unwrap_or(UNSPECIFIED), full_range)
    });
    let matrix = Matrix::of(coefficients);
    let components = match frame.pixel_layout() {
        PixelLayout::I400 => &[Component::Y][..],
        _ => &[Component::Y, Component::U, Component::V],
    };
    let planes = components.iter().map(|&component| {
        let signed = component != Component::Y && matrix != Matrix::Identity;
        Plane::of(frame, component, full_range, signed)
    });
    Ok((matrix, planes.collect::<Result<_, _>>()?))
}

/// A picture without alpha: each plane is reduced, and only what is left is
/// converted.
fn opaque(frame: &Frame, said: Option<(u16, bool)>, order: Order) -> Result<Samples, Refusal> {
    let (width, height) = (frame.width(), frame.height());
    let (fit_width, fit_height) = order.fit(width, height);
    let (shared_across, shared_down) = subsampling(frame);
    // Boxes of both sizes of planes are to cover the same pixels.
    let even = |factor: u32, shared: u32| (factor / shared * shared).max(1);
    let across = even(factor(width, fit_width), shared_across);
    let down = even(factor(height, fit_height), shared_down);
    let (matrix, planes) = planes(frame, said)?;
    let [luma, cb, cr] = planes.as_slice() else {
        let only = planes.first().ok_or(Refusal::Broken)?;
        return Ok(Samples::Gray(only.reduce(across, down)));
    };
    let luma = luma.reduce(across, down);
    let [cb, cr] = [cb, cr].map(|plane| {
        let (across, down) = ((across / shared_across).max(1), (down / shared_down).max(1));
        let mut raster = plane.reduce(across, down);
        raster.extent = (
            f64::from(width) / f64::from(shared_across * across),
            f64::from(height) / f64::from(shared_down * down),
        );
        raster
    });
    if matrix == BT601 {
        return Ok(Samples::YCbCr([luma, cb, cr]));
    }
    let mut rgb = Vec::with_capacity(luma.data.len() * 3);
    let rows = luma.data.chunks_exact(luma.width as usize);
    let colour_rows = if cb.height == luma.height { 1 } else { 2 };
    let colour_columns = if cb.width == luma.width { 1 } else { 2 };
    for (y, row) in rows.enumerate() {
        let colour_row = y / colour_rows * cb.width as usize;
        for (x, &first) in row.iter().enumerate() {
            let at = colour_row + x / colour_columns;
            let second = cb.data.get(at).copied().unwrap_or(128);
            let third = cr.data.get(at).copied().unwrap_or(128);
            rgb.extend(matrix.rgb(first, second, third));
        }
    }
    Ok(Samples::Rgb(Raster { data: rgb, ..luma }))
}

/// A picture with alpha: converted whole, because colours can only be averaged
/// together with how opaque they are.
fn with_alpha(
    frame: &Frame,
    alpha: &Frame,
    premultiplied: bool,
    said: Option<(u16, bool)>,
    order: Order,
) -> Result<Samples, Refusal> {
    let (width, height) = (frame.width(), frame.height());
    if (width, height) != (alpha.width(), alpha.height()) {
        return Err(Refusal::Broken);
    }
    let (matrix, planes) = planes(frame, said)?;
    let full_range = alpha.color_range() == re_rav1d::dav1d::pixel::YUVRange::Full;
    let alpha = Plane::of(alpha, Component::Y, full_range, false)?;
    let (shared_across, shared_down) = subsampling(frame);
    let mut shrink = Shrink::new(width, height, Channels::Rgba, order);
    let mut rows: Vec<Vec<u8>> = planes
        .iter()
        .map(|plane| vec![0; plane.width as usize])
        .collect();
    let mut opacities = vec![0; width as usize];
    let mut rgba = vec![0; width as usize * 4];
    for y in 0..height {
        for ((plane, row), shared) in
            planes
                .iter()
                .zip(&mut rows)
                .zip([1, shared_down, shared_down])
        {
            plane.read_row(y / shared, row);
        }
        alpha.read_row(y, &mut opacities);
        for (x, pixel) in rgba.as_chunks_mut().0.iter_mut().enumerate() {
            let [red, green, blue] = match rows.as_slice() {
                [luma, cb, cr] => {
                    let at = x / shared_across as usize;
                    matrix.rgb(luma[x], cb[at], cr[at])
                }
                rows => [rows[0][x]; 3],
            };
            *pixel = [red, green, blue, opacities[x]];
        }
        if premultiplied {
            divide(&mut rgba);
        }
        shrink.push(&mut rgba);
    }
    Ok(shrink.finish())
}

/// Divides colours by alpha.
fn divide(rgba: &mut [u8]) {
    for [colours @ .., alpha] in rgba.as_chunks_mut::<4>().0 {
        let alpha = u16::from(*alpha);
        for colour in colours {
            let divided = (u16::from(*colour) * 255).checked_div(alpha).unwrap_or(0);
            *colour = u8::try_from(divided).unwrap_or(u8::MAX);
        }
    }
}

#[cfg(test)]
mod tests;
