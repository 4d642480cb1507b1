//! Pages that are nothing but one JPEG, as scanners make them: the thumbnail
//! is made of the JPEG, which need not be decoded in full for that.
//!
//! A page is one only if drawing it could show nothing else; whoever is in
//! doubt draws.

use hayro::hayro_interpret::util::TransformExt;
use hayro::hayro_syntax::Filter;
use hayro::hayro_syntax::content::ops::TypedInstruction;
use hayro::hayro_syntax::object::dict::keys;
use hayro::hayro_syntax::object::{Array, Dict, Name, Stream};
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::{Affine, Point};

use crate::render::decode::jpeg;
use crate::render::picture::{Orientation, Picture, Samples};
use crate::render::{Limits, Order};

/// How far the picture's corners may be from the page's, in points.
const TOLERANCE: f64 = 1.0;
/// Deeper than that, no scanner nests what it draws.
const MAX_DEPTH: usize = 8;
/// What an image is drawn with beside its samples, and what changes these:
/// ISO 32000-1, tables 5 and 89.
const REFUSED_KEYS: [&[u8]; 6] = [
    keys::SMASK,
    b"Mask",
    keys::IMAGE_MASK,
    keys::DECODE,
    keys::DECODE_PARMS,
    keys::OC,
];

/// The scanned picture that the page is; its size is the page's in points.
pub(super) fn decode(
    page: &Page<'_>,
    size: (u32, u32),
    order: Order,
    limits: &Limits,
) -> Option<Picture> {
    let (image, placed) = only_image(page)?;
    let orientation = orientation(placed, page.render_dimensions())?;
    let (profile, gray) = colours(image.dict())?;
    let scanned = jpeg::decode(&image.raw_data(), order, limits).ok()?;
    let expected = match scanned.samples {
        Samples::Gray(_) => gray,
        Samples::YCbCr(_) => !gray,
        _ => false,
    };
    let (width, height) = if orientation.swaps_sides() {
        (size.1, size.0)
    } else {
        size
    };
    expected.then_some(Picture {
        width,
        height,
        samples: scanned.samples,
        // The document counts, not what the JPEG says of itself.
        orientation,
        profile,
    })
}

/// The one image that is all of the page's content, and where it goes.
fn only_image<'a>(page: &Page<'a>) -> Option<(Stream<'a>, Affine)> {
    if page.raw().contains_key(keys::ANNOTS) {
        return None;
    }
    let mut instructions = page.typed_operations();
    let mut transform = page.initial_transform(true).to_kurbo();
    // The text that scanners lay over what they have read is not to be seen.
    let mut invisible = false;
    let mut saved = Vec::new();
    let mut only = None;
    while let Some(instruction) = instructions.next() {
        match instruction {
            TypedInstruction::SaveState(_) if saved.len() < MAX_DEPTH => {
                saved.push((transform, invisible));
            }
            TypedInstruction::RestoreState(_) => (transform, invisible) = saved.pop()?,
            TypedInstruction::Transform(t) => {
                let matrix = [t.0, t.1, t.2, t.3, t.4, t.5].map(|number| number.as_f64());
                transform *= Affine::new(matrix);
            }
            TypedInstruction::XObject(object) if only.is_none() => {
                let image = page.resources().x_objects.get::<Stream<'a>>(object.0)?;
                only = Some((image, transform));
            }
            // ISO 32000-1, table 106.
            TypedInstruction::TextRenderingMode(mode) => invisible = mode.0.as_i64() == 3,
            TypedInstruction::ShowText(_)
            | TypedInstruction::ShowTexts(_)
            | TypedInstruction::NextLineAndShowText(_)
                if invisible => {}
            TypedInstruction::BeginText(_)
            | TypedInstruction::EndText(_)
            | TypedInstruction::TextFont(_)
            | TypedInstruction::TextLeading(_)
            | TypedInstruction::TextRise(_)
            | TypedInstruction::CharacterSpacing(_)
            | TypedInstruction::WordSpacing(_)
            | TypedInstruction::HorizontalScaling(_)
            | TypedInstruction::SetTextMatrix(_)
            | TypedInstruction::NextLine(_)
            | TypedInstruction::NextLineUsingLeading(_)
            | TypedInstruction::NextLineAndSetLeading(_) => {}
            _ => return None,
        }
    }
    let (image, placed) = only?;
    let dict = image.dict();
    let is_image = dict.get::<Name<'_>>(keys::SUBTYPE).as_deref() == Some(b"Image");
    let plain = !REFUSED_KEYS.iter().any(|key| dict.contains_key(key));
    let is_jpeg = image.filters().as_slice() == [Filter::DctDecode];
    (is_image && plain && is_jpeg).then_some((image, placed))
}

/// How the unit square of an image comes to cover all of the page, if it does.
fn orientation(placed: Affine, (width, height): (f32, f32)) -> Option<Orientation> {
    let (width, height) = (f64::from(width), f64::from(height));
    let near = |a: Point, b: Point| a.distance(b) <= TOLERANCE;
    let top_left = placed * Point::new(0.0, 1.0);
    let top_right = placed * Point::new(1.0, 1.0);
    let bottom_left = placed * Point::new(0.0, 0.0);
    // Where the picture's first row begins and where it ends.
    let (left, right) = (0.0, width);
    let (top, bottom) = (0.0, height);
    [
        (Orientation::Upright, (left, top), (right, top)),
        (Orientation::MirroredX, (right, top), (left, top)),
        (Orientation::Rotated180, (right, bottom), (left, bottom)),
        (Orientation::MirroredY, (left, bottom), (right, bottom)),
        (Orientation::Transposed, (left, top), (left, bottom)),
        (Orientation::Rotated90, (right, top), (right, bottom)),
        (Orientation::Transversed, (right, bottom), (right, top)),
        (Orientation::Rotated270, (left, bottom), (left, top)),
    ]
    .into_iter()
    .find(|&(_, first, last)| {
        let opposite = Point::new(width - last.0, height - last.1);
        near(top_left, first.into()) && near(top_right, last.into()) && near(bottom_left, opposite)
    })
    .map(|(orientation, ..)| orientation)
}

/// The profile of the image's colours, and whether they are gray; `None` for
/// any but gray and RGB.
fn colours(image: &Dict<'_>) -> Option<(Option<Vec<u8>>, bool)> {
    if let Some(name) = image.get::<Name<'_>>(keys::COLORSPACE) {
        return match &*name {
            b"DeviceRGB" => Some((None, false)),
            b"DeviceGray" => Some((None, true)),
            _ => None,
        };
    }
    let space = image.get::<Array<'_>>(keys::COLORSPACE)?;
    let mut parts = space.flex_iter();
    if &*parts.next::<Name<'_>>()? != b"ICCBased" {
        return None;
    }
    let profile = parts.next::<Stream<'_>>()?;
    let gray = match profile.dict().get::<u32>(b"N")? {
        1 => true,
        3 => false,
        _ => return None,
    };
    Some((Some(profile.decoded_data().ok()?.into_owned()), gray))
}
