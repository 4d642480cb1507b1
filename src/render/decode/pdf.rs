//! The first page of a PDF, on white.
//!
//! A page is drawn for its thumbnail's size and never larger than that many
//! times `OVERSAMPLING`, however large it says to be. Nothing bounds what
//! drawing it costs: that is for the worker's limits.

mod font;
mod scan;

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_interpret::util::TransformExt;
use hayro::hayro_syntax::Pdf;
use hayro::kurbo::Affine;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::vello_cpu::peniko::ImageAlphaType;
use hayro::vello_cpu::{Pixels, Pixmap, RasterizerSettings, RenderContext, Resources, TargetInit};
use hayro::{RenderCache, RenderSettings, render_into};

pub use self::font::FallbackFont;
use crate::render::picture::{Orientation, Picture, Raster, Samples};
use crate::render::{Limits, Order, Refusal};

/// The page is drawn so many times as wide and as high as its thumbnail, and
/// then scaled as any picture is.
const OVERSAMPLING: u16 = 2;

/// Decodes the first page. It has a pixel for every point (1/72 inch), as
/// Redmine's own thumbnails have it.
///
/// # Errors
/// [`Refusal::Broken`] also when it takes a password to read it.
pub fn decode(
    source: Vec<u8>,
    order: Order,
    limits: &Limits,
    font: Option<&FallbackFont>,
) -> Result<Picture, Refusal> {
    let pdf = Pdf::new(source).map_err(|_| Refusal::Broken)?;
    let page = pdf.pages().first().ok_or(Refusal::Broken)?;
    let (points_across, points_down) = page.render_dimensions();
    let (width, height) = (pixels(points_across), pixels(points_down));
    if let Some(scanned) = scan::decode(page, (width, height), order, limits) {
        return Ok(scanned);
    }
    let (across, down) = order.fit(width, height);
    let side = |length| u16::try_from(length).map_err(|_| Refusal::TooLarge);
    let across = side(across)?.saturating_mul(OVERSAMPLING);
    let down = side(down)?.saturating_mul(OVERSAMPLING);

    let settings = InterpreterSettings {
        font_resolver: font::resolver(font),
        ..InterpreterSettings::default()
    };
    let scale = Affine::scale_non_uniform(
        f64::from(across) / f64::from(points_across),
        f64::from(down) / f64::from(points_down),
    );
    let mut canvas = RenderContext::new(across, down);
    render_into(
        page,
        &RenderCache::new(),
        &settings,
        &RenderSettings {
            // What is scaled afterwards gains nothing from stems on whole pixels.
            hinting: false,
            ..RenderSettings::default()
        },
        &mut canvas,
        scale * page.initial_transform(true).to_kurbo(),
    );
    canvas.flush();
    let mut drawn = Pixmap::new(across, down);
    canvas.render_with(
        &mut drawn,
        &mut Resources::default(),
        RasterizerSettings {
            target_init: TargetInit::Clear(WHITE),
            ..RasterizerSettings::default()
        },
    );
    // White is opaque, and so is all that is drawn on it.
    let Pixels::Rgb8(data) = drawn.try_take_rgb8(ImageAlphaType::AlphaPremultiplied) else {
        return Err(Refusal::Broken);
    };
    let raster = Raster::new(across.into(), down.into(), data);
    Ok(Picture {
        width,
        height,
        samples: Samples::Rgb(raster),
        orientation: Orientation::Upright,
        profile: None,
    })
}

/// Points as whole pixels, at least one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is too large, or no number, becomes the nearest there is"
)]
fn pixels(points: f32) -> u32 {
    points.round().max(1.0) as u32
}

#[cfg(test)]
mod tests;
