//! A decoded picture on its way to becoming a thumbnail.

/// A picture, reduced while it was decoded to something not much larger than
/// the thumbnail, or whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The width of the whole picture as stored, before it is turned.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Its samples, likely fewer.
    pub samples: Samples,
    /// How it is to be turned.
    pub orientation: Orientation,
    /// The ICC profile that says what its colours mean.
    pub profile: Option<Vec<u8>>,
}

/// The samples of a picture, eight bits each.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Luminance.
    Gray(Raster),
    /// Red, green, blue.
    Rgb(Raster),
    /// Red, green, blue, and how opaque; not multiplied with it.
    Rgba(Raster),
    /// Cyan, magenta, yellow, black; 0 is no ink.
    Cmyk(Raster),
    /// Luminance and both colour differences as JFIF has them (BT.601, full
    /// range), each perhaps of its own size.
    YCbCr([Raster; 3]),
}

/// Samples in rows, without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raster {
    /// Samples in a row (or groups of them, with several channels).
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The width and height of the part that the picture covers, from the top
    /// left, in samples: reducing seldom comes out even.
    pub extent: (f64, f64),
    /// `width × height × channels` bytes.
    pub data: Vec<u8>,
}

impl Raster {
    /// A raster all of which is covered.
    #[must_use]
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Self {
        let extent = (f64::from(width), f64::from(height));
        Self {
            width,
            height,
            extent,
            data,
        }
    }
}

/// How a picture is to be turned to be looked at (EXIF's tag 274).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// As it is.
    #[default]
    Upright = 1,
    /// Left and right changed.
    MirroredX = 2,
    /// Upside down.
    Rotated180 = 3,
    /// Top and bottom changed.
    MirroredY = 4,
    /// Rows and columns changed.
    Transposed = 5,
    /// A quarter turn clockwise.
    Rotated90 = 6,
    /// Rows and columns changed, along the other diagonal.
    Transversed = 7,
    /// A quarter turn counter-clockwise.
    Rotated270 = 8,
}

impl Orientation {
    /// EXIF's number for it; anything else is upright.
    #[must_use]
    pub fn from_exif(number: u32) -> Self {
        match number {
            2 => Self::MirroredX,
            3 => Self::Rotated180,
            4 => Self::MirroredY,
            5 => Self::Transposed,
            6 => Self::Rotated90,
            7 => Self::Transversed,
            8 => Self::Rotated270,
            _ => Self::Upright,
        }
    }

    /// True when width and height change places.
    #[must_use]
    pub fn swaps_sides(self) -> bool {
        self as u8 >= 5
    }
}
