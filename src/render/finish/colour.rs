//! What the numbers of a picture mean, in sRGB.
//!
//! Profiles are applied to the small picture only. One that is broken, or made
//! for another kind of picture, is ignored, as browsers do.

use std::sync::Arc;

use moxcms::{ColorProfile, Layout, Transform8BitExecutor, TransformOptions};

use crate::render::picture::{Raster, Samples};

/// How far colours may be from sRGB's without being converted, in steps of a
/// channel: less is not seen.
const TOLERANCE: u8 = 2;

/// From the colours of a profile to those of sRGB.
pub(super) struct Conversion {
    transform: Arc<Transform8BitExecutor>,
}

impl Conversion {
    /// The conversion that a profile asks for; none when the profile says
    /// nothing else than sRGB, or nothing about samples like these.
    pub(super) fn to_srgb(profile: &[u8], samples: &Samples) -> Option<Self> {
        let (from, to) = layouts(samples);
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        let transform = profile
            .create_transform_8bit(
                from,
                &ColorProfile::new_srgb(),
                to,
                TransformOptions::default(),
            )
            .ok()?;
        let conversion = Self { transform };
        let needed = matches!(samples, Samples::Cmyk(_)) || conversion.is_seen(from.channels());
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
        let channels = layouts(&samples).1.channels();
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

/// What is converted into what.
fn layouts(samples: &Samples) -> (Layout, Layout) {
    match samples {
        Samples::Gray(_) => (Layout::Gray, Layout::Gray),
        Samples::Rgb(_) | Samples::YCbCr(_) => (Layout::Rgb, Layout::Rgb),
        Samples::Rgba(_) => (Layout::Rgba, Layout::Rgba),
        // `moxcms` has four inks laid out as four channels.
        Samples::Cmyk(_) => (Layout::Rgba, Layout::Rgb),
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
