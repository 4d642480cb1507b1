//! What a file is, by its first bytes. Names and declared types say nothing.

/// How many bytes [`Format::of`] wants to see.
pub const HEAD_BYTES: usize = 64;

/// A format that thumbnails are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF, of which the first frame is shown.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// WebP.
    Webp,
    /// AVIF.
    Avif,
    /// PDF, of which the first page is shown.
    Pdf,
}

impl Format {
    /// The format of a file that begins with `head`; `None` for any that
    /// thumbnails are not made of. Only [`HEAD_BYTES`] are looked at: the
    /// answer does not follow from how many came at once.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        match head.get(..HEAD_BYTES).unwrap_or(head) {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::Webp),
            head @ [_, _, _, _, b'f', b't', b'y', b'p', ..] => is_avif(head).then_some(Self::Avif),
            head @ [b'B', b'M', ..] => is_bmp(head).then_some(Self::Bmp),
            head => is_pdf(head).then_some(Self::Pdf),
        }
    }

    /// The format of its thumbnail: its own, except that a page of a document
    /// becomes a PNG, and an AVIF a WebP.
    #[must_use]
    pub fn of_thumbnail(self) -> Self {
        match self {
            Self::Pdf => Self::Png,
            Self::Avif => Self::Webp,
            own => own,
        }
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Pdf => "application/pdf",
        }
    }
}

/// Looks for the brand of a still AVIF among those of an ISO base media file.
fn is_avif(head: &[u8]) -> bool {
    let declared = head
        .first_chunk()
        .map_or(0, |size| u32::from_be_bytes(*size));
    let end = usize::try_from(declared)
        .unwrap_or(usize::MAX)
        .min(head.len());
    // The major brand, then its version, then compatible brands.
    let Some((major, compatible)) = head.get(8..end).and_then(|b| b.split_at_checked(4)) else {
        return false;
    };
    let compatible = compatible.get(4..).unwrap_or_default();
    std::iter::once(major)
        .chain(compatible.chunks_exact(4))
        .any(|brand| brand == b"avif" || brand == b"avis")
}

/// `BM` alone also begins words: the size of the header must be a known one.
fn is_bmp(head: &[u8]) -> bool {
    let size = head.get(14..18).and_then(|bytes| bytes.first_chunk());
    size.is_some_and(|size| {
        matches!(
            u32::from_le_bytes(*size),
            12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
        )
    })
}

/// Documents go through mail and editors, which leave a byte order mark or
/// blank lines before the first: all viewers look further than there.
fn is_pdf(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    head.trim_ascii_start().starts_with(b"%PDF-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        let bmp = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0";
        for (head, format) in [
            (&b"\xff\xd8\xff\xe0"[..], Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Some(Format::Png)),
            (b"GIF89a", Some(Format::Gif)),
            (b"%PDF-1.7", Some(Format::Pdf)),
            (b"\r\n %PDF-1.7", Some(Format::Pdf)),
            (b"\xef\xbb\xbf%PDF-1.7", Some(Format::Pdf)),
            (b"\xef\xbb\xbf\n%PDF-1.7", Some(Format::Pdf)),
            (b"A line about %PDF-1.7", None),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(Format::Webp)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Some(Format::Avif)),
            (b"\0\0\0\x14ftypheic\0\0\0\0heic", None),
            (b"\0\0\0\x10ftypmif1\0\0\0\0mif1avif", None),
            (bmp, Some(Format::Bmp)),
            (b"BMW is a car, not a picture", None),
            (b"%!PS-Adobe-3.0", None),
            (b"<svg xmlns=", None),
            (b"<!DOCTYPE html>", None),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"II*\0", None),
            (b"", None),
        ] {
            assert_eq!(Format::of(head), format, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn brands_beyond_the_head_are_not_seen() {
        let mut file = b"\0\0\0\x60ftypmif1\0\0\0\0".to_vec();
        file.extend(b"mif1".repeat(12));
        file.extend(b"avif");
        assert_eq!(Format::of(&file), None);
        file[60..64].copy_from_slice(b"avif");
        assert_eq!(Format::of(&file), Some(Format::Avif));
    }
}
