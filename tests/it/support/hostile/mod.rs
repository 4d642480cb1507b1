//! Pictures and documents, honest ones and hostile ones, made from nothing.
//!
//! What makes a hostile one dangerous is written in its name. All are small:
//! it is their promises that are large.

pub mod deflate;
pub mod jpeg;
pub mod pdf;
pub mod png;
pub mod raster;

use kura::render::Refusal;
use kura::render::format::Format;

/// The size of the honest pictures, larger than their thumbnails of 50 pixels.
pub const HONEST: (u32, u32) = (64, 48);

/// What may become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A thumbnail: what is wrong with it does no harm, or is skipped.
    Drawn,
    /// No thumbnail.
    Refused(Refusal),
}

/// Nothing that thumbnails are made of.
pub const NOT_AN_IMAGE: &[Fate] = &[Fate::Refused(Refusal::NotAnImage)];
/// Damaged.
pub const BROKEN: &[Fate] = &[Fate::Refused(Refusal::Broken)];
/// Over a limit by what its header says.
pub const TOO_LARGE: &[Fate] = &[Fate::Refused(Refusal::TooLarge)];
/// Stopped by time or memory.
pub const TOO_COSTLY: &[Fate] = &[Fate::Refused(Refusal::TooCostly)];
/// Shown.
pub const DRAWN: &[Fate] = &[Fate::Drawn];
/// Shown as far as it goes, or damaged.
pub const DRAWN_OR_BROKEN: &[Fate] = &[Fate::Drawn, Fate::Refused(Refusal::Broken)];
/// Over a limit, or damaged: its parts disagree.
pub const TOO_LARGE_OR_BROKEN: &[Fate] = &[
    Fate::Refused(Refusal::TooLarge),
    Fate::Refused(Refusal::Broken),
];
/// Shown in time, or not: that is a matter of the machine.
pub const DRAWN_OR_TOO_COSTLY: &[Fate] = &[Fate::Drawn, Fate::Refused(Refusal::TooCostly)];
/// Whatever a decoder makes of it, as long as it is in time.
pub const ANY: &[Fate] = &[
    Fate::Drawn,
    Fate::Refused(Refusal::Broken),
    Fate::Refused(Refusal::TooLarge),
    Fate::Refused(Refusal::TooCostly),
];

/// A file, and what may become of it.
pub struct Case {
    /// What is wrong with it.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// What may become of it.
    pub fates: &'static [Fate],
}

/// A [`Case`].
pub fn case(name: &'static str, bytes: Vec<u8>, fates: &'static [Fate]) -> Case {
    Case { name, bytes, fates }
}

/// An honest file of each format.
pub fn honest() -> Vec<(Format, Vec<u8>)> {
    vec![
        (Format::Jpeg, jpeg::honest(false)),
        (Format::Jpeg, jpeg::honest(true)),
        (Format::Png, png::honest()),
        (Format::Gif, raster::gif()),
        (Format::Bmp, raster::bmp()),
        (Format::Webp, raster::webp()),
        (Format::Avif, raster::avif()),
        (Format::Pdf, pdf::honest()),
    ]
}

/// Every hostile file but the damaged ones.
pub fn all() -> Vec<Case> {
    let mut all = disguised();
    all.extend(jpeg::cases());
    all.extend(png::cases());
    all.extend(raster::cases());
    all.extend(pdf::cases());
    all
}

/// Each honest file cut off at many places, and with flipped bits.
pub fn damaged() -> Vec<Vec<u8>> {
    let mut damaged = Vec::new();
    for (_, file) in honest() {
        for eighth in 1..8 {
            damaged.push(file[..file.len() * eighth / 8].to_vec());
        }
        for seed in 1..=16_usize {
            let mut flipped = file.clone();
            for hit in 0..=seed / 4 {
                // The first bytes say which format it is.
                let at = 16 + (seed * 7919 + hit * 104_729) % (file.len() - 16);
                flipped[at] ^= 1 << (seed % 8);
            }
            damaged.push(flipped);
        }
    }
    damaged
}

/// Rows of red, green and blue, no two corners the same.
pub fn gradient((width, height): (u32, u32)) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [x * 255 / width, y * 255 / height, 128];
    let rows = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)));
    rows.map(|sample| u8::try_from(sample).unwrap()).collect()
}

/// What is no picture, whatever it says.
fn disguised() -> Vec<Case> {
    let svg = r#"<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>"#;
    let mvg =
        "push graphic-context\nfill 'url(https://127.0.0.1/x.png\"|id \")'\npop graphic-context";
    let postscript = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n";
    let mut preceded = b"%!PS-Adobe-3.0\n".to_vec();
    preceded.extend(pdf::honest());
    let mut followed = raster::gif();
    followed.extend_from_slice(b"<script>alert(1)</script>PK\x05\x06");
    vec![
        case("empty", Vec::new(), NOT_AN_IMAGE),
        case("one byte", vec![0xff], NOT_AN_IMAGE),
        case("SVG", svg.into(), NOT_AN_IMAGE),
        case(
            "SVG with a declaration",
            format!("<?xml version=\"1.0\"?>{svg}").into(),
            NOT_AN_IMAGE,
        ),
        case(
            "HTML",
            "<!DOCTYPE html><script>alert(1)</script>".into(),
            NOT_AN_IMAGE,
        ),
        case("ImageMagick's own language", mvg.into(), NOT_AN_IMAGE),
        case("PostScript", postscript.into(), NOT_AN_IMAGE),
        case("PostScript before a PDF", preceded, NOT_AN_IMAGE),
        case(
            "PostScript that calls itself PDF",
            format!("%PDF-1.4\n{postscript}").into(),
            BROKEN,
        ),
        case(
            "HTML that calls itself PNG",
            [b"\x89PNG\r\n\x1a\n", svg.as_bytes()].concat(),
            BROKEN,
        ),
        case("a GIF followed by HTML and ZIP", followed, DRAWN),
    ]
}
