//! The one thing of EXIF that a thumbnail needs: which way is up.

use crate::render::picture::Orientation;

/// The orientation in a TIFF block, which is EXIF without what stands before
/// it in a JPEG, and sometimes elsewhere; upright when it does not say.
#[must_use]
pub fn orientation(tiff: &[u8]) -> Orientation {
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    let Ok((fields, _)) = exif::parse_exif(tiff) else {
        return Orientation::Upright;
    };
    let field = fields
        .iter()
        .find(|field| field.tag == exif::Tag::Orientation && field.ifd_num == exif::In::PRIMARY);
    let number = field.and_then(|field| field.value.get_uint(0));
    Orientation::from_exif(number.unwrap_or(1))
}
