//! Turns a picture the right way up.

use crate::render::picture::{Orientation, Raster, Samples};

/// Turns samples as `orientation` says.
pub(super) fn turn(samples: Samples, orientation: Orientation) -> Samples {
    if orientation == Orientation::Upright {
        return samples;
    }
    match samples {
        Samples::Gray(gray) => Samples::Gray(turned::<1>(&gray, orientation)),
        Samples::Rgb(rgb) => Samples::Rgb(turned::<3>(&rgb, orientation)),
        Samples::Rgba(rgba) => Samples::Rgba(turned::<4>(&rgba, orientation)),
        Samples::Cmyk(cmyk) => Samples::Cmyk(turned::<4>(&cmyk, orientation)),
        Samples::YCbCr(planes) => {
            Samples::YCbCr(planes.map(|plane| turned::<1>(&plane, orientation)))
        }
    }
}

fn turned<const CHANNELS: usize>(raster: &Raster, orientation: Orientation) -> Raster {
    use Orientation::{MirroredX, MirroredY, Rotated90, Rotated180, Rotated270, Transversed};
    let (from_right, from_bottom) = (
        matches!(
            orientation,
            MirroredX | Rotated180 | Transversed | Rotated270
        ),
        matches!(
            orientation,
            MirroredY | Rotated180 | Rotated90 | Transversed
        ),
    );
    let swapped = orientation.swaps_sides();
    let swap = |x, y| if swapped { (y, x) } else { (x, y) };
    let (width, height) = swap(raster.width, raster.height);
    let (pixels, _) = raster.data.as_chunks::<CHANNELS>();
    let mut data = Vec::with_capacity(raster.data.len());
    for y in 0..height {
        for x in 0..width {
            let (mut column, mut row) = swap(x, y);
            if from_right {
                column = raster.width - 1 - column;
            }
            if from_bottom {
                row = raster.height - 1 - row;
            }
            let index = row as usize * raster.width as usize + column as usize;
            data.extend_from_slice(&pixels[index]);
        }
    }
    Raster::new(width, height, data)
}
