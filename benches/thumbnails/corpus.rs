//! The files that thumbnails are made of, and what is aimed at with each.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::Tool;

/// A file of the corpus.
pub(crate) struct Sample {
    /// Its name.
    pub(crate) file: &'static str,
    /// The CPU time aimed at, at 100 and 400 pixels, as a part of its rival's.
    goals: [f64; 2],
}

const fn sample(file: &'static str, goals: [f64; 2]) -> Sample {
    Sample { file, goals }
}

/// The corpus. What is in them: `corpus.sh`.
pub(crate) const SAMPLES: &[Sample] = &[
    sample("photo-12mp.jpg", [0.30, 0.45]),
    sample("photo-12mp-noisy.jpg", [0.30, 0.45]),
    sample("photo-24mp.jpg", [0.30, 0.45]),
    sample("photo-12mp-progressive.jpg", [0.04, 0.12]),
    sample("photo-24mp-progressive.jpg", [0.04, 0.12]),
    sample("screenshot-1080p.png", [0.22, 0.22]),
    sample("screenshot-2160p.png", [0.22, 0.22]),
    sample("photo-12mp.png", [0.35, 0.35]),
    sample("photo-24mp.png", [0.35, 0.35]),
    sample("screenshot-1080p.gif", [0.35, 0.35]),
    sample("animated-720p.gif", [0.35, 0.35]),
    sample("photo-3mp.webp", [0.95, 0.95]),
    sample("screenshot-1080p.webp", [0.95, 0.95]),
    sample("photo-3mp.avif", [0.45, 0.45]),
    sample("photo-12mp.avif", [0.45, 0.45]),
    sample("screenshot-1080p.bmp", [1.0, 1.0]),
    sample("page.pdf", [0.5, 0.5]),
    sample("ja-not-embedded.pdf", [0.5, 0.5]),
    sample("drawing.pdf", [0.5, 0.5]),
    sample("scan.pdf", [0.5, 0.5]),
];

impl Sample {
    /// The goal at a size.
    pub(crate) fn goal(&self, side: u32) -> f64 {
        self.goals[usize::from(side > 100)]
    }

    /// True for what has pages.
    pub(crate) fn is_document(&self) -> bool {
        Path::new(self.file).extension() == Some("pdf".as_ref())
    }

    /// The fastest of the other engines.
    pub(crate) fn rival(&self) -> Tool {
        if self.is_document() {
            Tool::MuPdf
        } else {
            Tool::Vips
        }
    }
}

/// Makes the corpus unless it is there, and returns its directory.
pub(crate) fn make() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("target/thumbnails-corpus");
    let mut script = Command::new(root.join("benches/thumbnails/corpus.sh"));
    assert!(script.arg(&corpus).status().unwrap().success());
    corpus
}
