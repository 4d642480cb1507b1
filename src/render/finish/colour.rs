//! What the numbers of a picture mean, in sRGB.
//!
//! Profiles are applied to the small picture only. One that is broken, or made
//! for another kind of picture, is ignored, as browsers do.

use std::sync::Arc;

use moxcms::{
    ColorProfile, DataColorSpace, Layout, ParsingOptions, Transform8BitExecutor, TransformOptions,
};

use super::Kind;
use crate::render::picture::{Raster, Samples};

/// How far colours may be from sRGB's without being converted, in steps of a
/// channel: less is not seen.
const TOLERANCE: u8 = 2;

/// No profile that is larger is looked at.
const MAX_PROFILE_BYTES: usize = 4 << 20;

/// From the colours of a profile to those of sRGB.
#[derive(Clone)]
pub(super) struct Conversion {
    transform: Arc<Transform8BitExecutor>,
}

/// What was last found out about a profile. Making a conversion takes longer
/// than applying it to a thumbnail, and the pictures of one camera have one
/// profile.
#[derive(Default)]
pub(super) struct Conversions {
    last: Option<(Vec<u8>, Kind, Option<Conversion>)>,
}

impl Conversions {
    /// The conversion that a profile asks for; none when the profile says
    /// nothing else than sRGB, or nothing about samples like these.
    pub(super) fn wanted(&mut self, profile: Vec<u8>, samples: &Samples) -> Option<Conversion> {
        let kind = Kind::of(samples);
        if let Some((last, of, conversion)) = &self.last
            && (last, *of) == (&profile, kind)
        {
            return conversion.clone();
        }
        let conversion = Conversion::to_srgb(&profile, kind);
        self.last = Some((profile, kind, conversion.clone()));
        conversion
    }
}

impl Conversion {
    fn to_srgb(profile: &[u8], kind: Kind) -> Option<Self> {
        let options = ParsingOptions {
            max_profile_size: MAX_PROFILE_BYTES,
            ..ParsingOptions::default()
        };
        let profile = ColorProfile::new_from_slice_with_options(profile, options).ok()?;
        if profile.color_space != kind.colour_space() {
            return None;
        }
        let (from, to) = kind.layouts();
        let transform = profile
            .create_transform_8bit(
                from,
                &ColorProfile::new_srgb(),
                to,
                TransformOptions::default(),
            )
            .ok()?;
        let conversion = Self { transform };
        let needed = kind == Kind::Cmyk || conversion.is_seen(from.channels());
        needed.then_some(conversion)
    }

    /// Tries it on grays and on colours.
    fn is_seen(&self, channels: usize) -> bool {
        const LEVELS: [u8; 6] = [0, 32, 64, 128, 192, 255];
        let mut probes = Vec::new();
        for red in LEVELS {
            for green in LEVELS {
                for blue in LEVELS {
                    probes.extend_from_slice(&[red, green, blue, 255][..channels]);
                }
            }
        }
        let mut seen = vec![0; probes.len()];
        self.transform.transform(&probes, &mut seen).is_ok()
            && probes
                .iter()
                .zip(&seen)
                .any(|(before, after)| before.abs_diff(*after) > TOLERANCE)
    }

    /// Converts samples of the kind that it was made for.
    pub(super) fn apply(self, samples: Samples) -> Samples {
        let samples = match samples {
            Samples::YCbCr(_) => Samples::Rgb(rgb(samples)),
            other => other,
        };
        let channels = Kind::of(&samples).layouts().1.channels();
        let (Samples::Gray(raster)
        | Samples::Rgb(raster)
        | Samples::Rgba(raster)
        | Samples::Cmyk(raster)) = &samples
        else {
            return samples;
        };
        let pixels = raster.width as usize * raster.height as usize;
        let mut data = vec![0; pixels * channels];
        if self.transform.transform(&raster.data, &mut data).is_err() {
            return samples;
        }
        let converted = Raster::new(raster.width, raster.height, data);
        match samples {
            Samples::Gray(_) => Samples::Gray(converted),
            Samples::Rgba(_) => Samples::Rgba(converted),
            _ => Samples::Rgb(converted),
        }
    }
}

impl Kind {
    fn of(samples: &Samples) -> Self {
        match samples {
            Samples::Gray(_) => Self::Gray,
            Samples::Rgb(_) | Samples::YCbCr(_) => Self::Rgb,
            Samples::Rgba(_) => Self::Rgba,
            Samples::Cmyk(_) => Self::Cmyk,
        }
    }

    fn colour_space(self) -> DataColorSpace {
        match self {
            Self::Gray => DataColorSpace::Gray,
            Self::Rgb | Self::Rgba => DataColorSpace::Rgb,
            Self::Cmyk => DataColorSpace::Cmyk,
        }
    }

    /// What is converted into what.
    fn layouts(self) -> (Layout, Layout) {
        match self {
            Self::Gray => (Layout::Gray, Layout::Gray),
            Self::Rgb => (Layout::Rgb, Layout::Rgb),
            Self::Rgba => (Layout::Rgba, Layout::Rgba),
            // `moxcms` names four inks like four other channels.
            Self::Cmyk => (Layout::Rgba, Layout::Rgb),
        }
    }
}

/// Any samples as red, green and blue: without colour management, what is
/// transparent on white. Planes must be of one size.
pub(super) fn rgb(samples: Samples) -> Raster {
    let (raster, data) = match samples {
        Samples::Rgb(raster) => return raster,
        Samples::Gray(raster) => {
            let data = raster.data.iter().flat_map(|&gray| [gray; 3]).collect();
            (raster, data)
        }
        Samples::Rgba(raster) => {
            let (pixels, _) = raster.data.as_chunks();
            let data = pixels.iter().flat_map(|&pixel| on_white(pixel)).collect();
            (raster, data)
        }
        Samples::Cmyk(raster) => {
            let (pixels, _) = raster.data.as_chunks();
            let data = pixels.iter().flat_map(|&pixel| from_inks(pixel)).collect();
            (raster, data)
        }
        Samples::YCbCr([y, cb, cr]) => {
            let data = y
                .data
                .iter()
                .zip(&cb.data)
                .zip(&cr.data)
                .flat_map(|((&y, &cb), &cr)| from_ycbcr(y, cb, cr))
                .collect();
            (y, data)
        }
    };
    Raster::new(raster.width, raster.height, data)
}

fn on_white([red, green, blue, alpha]: [u8; 4]) -> [u8; 3] {
    [red, green, blue].map(|channel| product(channel, alpha) + (255 - alpha))
}

/// Light that passes one ink and then black, without a profile that would know
/// better: what browsers do.
fn from_inks([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| product(255 - ink, 255 - black))
}

/// The product of two fractions of 255, rounded.
#[allow(
    clippy::cast_possible_truncation,
    reason = "255 × 255 / 255 is a byte, as is all that is less"
)]
fn product(a: u8, b: u8) -> u8 {
    ((u16::from(a) * u16::from(b) + 127) / 255) as u8
}

/// ITU-T T.871, section 7, in units of 1/65536.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte before"
)]
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (
        (i32::from(y) << 16) + (1 << 15),
        i32::from(cb) - 128,
        i32::from(cr) - 128,
    );
    [
        y + 91_881 * cr,
        y - 22_554 * cb - 46_802 * cr,
        y + 116_130 * cb,
    ]
    .map(|channel| (channel >> 16).clamp(0, 255) as u8)
}
