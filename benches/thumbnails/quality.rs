//! How like a thumbnail is to the best one there could be: all of the picture
//! decoded, then made smaller by Lanczos3.

use std::path::Path;
use std::process::Command;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::tools::CONVERT;

/// A whole picture.
pub(crate) struct Reference {
    whole: Picture,
}

/// Structural similarity (SSIM); 1 is the same picture.
pub(crate) struct Likeness {
    /// Of the luminance.
    pub(crate) luma: f64,
    /// Of red, green and blue, the mean.
    pub(crate) rgb: f64,
}

/// Eight bits of red, green and blue.
struct Picture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

/// Decodes the whole of `file`; a document is drawn eight times as large as asked for.
pub(crate) fn reference(file: &Path, side: u32, scratch: &Path) -> Reference {
    let drawn = scratch.join("reference.png");
    let whole = if file.extension() == Some("pdf".as_ref()) {
        let side = (8 * side).to_string();
        let mut draw = Command::new("mutool");
        draw.args(["draw", "-q", "-w", &side, "-h", &side, "-o"])
            .arg(&drawn);
        let output = draw.arg(file).arg("1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        read(&drawn)
    } else {
        read(file)
    };
    Reference { whole }
}

impl Reference {
    /// How like the thumbnail in the file `path` is, and how many bytes it has.
    pub(crate) fn compare(&self, path: &Path) -> (Likeness, usize) {
        let thumbnail = read(path);
        let best = self.whole.scaled(thumbnail.width, thumbnail.height);
        let width = usize::try_from(thumbnail.width).unwrap();
        let channels = [0, 1, 2].map(|channel| {
            let pick = |picture: &Picture| -> Vec<f64> {
                let samples = picture.data.chunks_exact(3);
                samples.map(|rgb| f64::from(rgb[channel])).collect()
            };
            ssim(&pick(&best), &pick(&thumbnail), width)
        });
        let likeness = Likeness {
            luma: ssim(&best.luma(), &thumbnail.luma(), width),
            rgb: channels.iter().sum::<f64>() / 3.0,
        };
        let bytes = std::fs::metadata(path).unwrap().len();
        (likeness, usize::try_from(bytes).unwrap())
    }
}

impl Picture {
    fn scaled(&self, width: u32, height: u32) -> Self {
        let whole = self.data.clone();
        let whole = Image::from_vec_u8(self.width, self.height, whole, PixelType::U8x3).unwrap();
        let mut scaled = Image::new(width, height, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        Resizer::new()
            .resize(&whole, &mut scaled, &options)
            .unwrap();
        let data = scaled.into_vec();
        Self {
            width,
            height,
            data,
        }
    }

    /// ITU-R BT.601.
    fn luma(&self) -> Vec<f64> {
        let pixels = self
            .data
            .chunks_exact(3)
            .map(|rgb| [rgb[0], rgb[1], rgb[2]].map(f64::from));
        pixels
            .map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b)
            .collect()
    }
}

/// The first frame of any file, on white.
fn read(path: &Path) -> Picture {
    let mut command = Command::new(CONVERT);
    command.arg(format!("{}[0]", path.to_str().unwrap()));
    command.args([
        "-auto-orient",
        "-background",
        "white",
        "-flatten",
        "-depth",
        "8",
    ]);
    let output = command
        .args(["-type", "TrueColor", "ppm:-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut rest = &output.stdout[..];
    let mut word = || {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap();
        let word = std::str::from_utf8(&rest[..end]).unwrap().to_owned();
        rest = &rest[end + 1..];
        word
    };
    assert_eq!(word(), "P6");
    let [width, height, most] = [(); 3].map(|()| word().parse().unwrap());
    assert_eq!(most, 255);
    let data = rest.to_vec();
    Picture {
        width,
        height,
        data,
    }
}

/// Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment" (2004), with the
/// paper's window and constants.
fn ssim(one: &[f64], other: &[f64], width: usize) -> f64 {
    const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
    const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);
    let product =
        |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let [mean1, mean2] = [one, other].map(|samples| blurred(samples, width));
    let [square1, square2, cross] =
        [(one, one), (other, other), (one, other)].map(|(a, b)| blurred(&product(a, b), width));
    let count = mean1.len();
    let at = |i: usize| {
        let (m1, m2) = (mean1[i], mean2[i]);
        let (v1, v2, cov) = (
            square1[i] - m1 * m1,
            square2[i] - m2 * m2,
            cross[i] - m1 * m2,
        );
        (2.0 * m1 * m2 + C1) * (2.0 * cov + C2) / ((m1 * m1 + m2 * m2 + C1) * (v1 + v2 + C2))
    };
    #[allow(clippy::cast_precision_loss, reason = "the pixels of a thumbnail")]
    let count_f64 = count as f64;
    (0..count).map(at).sum::<f64>() / count_f64
}

/// Blurred by a Gaussian of 11 × 11 samples and σ = 1.5, edges repeated.
fn blurred(samples: &[f64], width: usize) -> Vec<f64> {
    let weights: Vec<f64> = (-5..=5)
        .map(|x| f64::exp(-f64::from(x * x) / 4.5))
        .collect();
    let sum: f64 = weights.iter().sum();
    let height = samples.len() / width;
    let along =
        |samples: &[f64], step: usize, count: usize, index: &dyn Fn(usize) -> usize| -> Vec<f64> {
            (0..samples.len())
                .map(|i| {
                    let place = index(i);
                    let taps = weights.iter().enumerate().map(|(tap, weight)| {
                        let at = (place + tap).saturating_sub(5).min(count - 1);
                        weight * samples[i + at * step - place * step]
                    });
                    taps.sum::<f64>() / sum
                })
                .collect()
        };
    let across = along(samples, 1, width, &|i| i % width);
    along(&across, width, height, &|i| i / width)
}
