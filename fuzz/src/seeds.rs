//! Writes what fuzzing begins with: every honest and hostile file of the tests
//! that is small, into `corpus/TARGET`.

#[allow(dead_code)]
#[path = "../../tests/it/support/hostile/mod.rs"]
mod hostile;

use std::fs;
use std::path::Path;

use kura::render::format::Format;

/// Larger files make fuzzing slow.
const MAX_SEED_BYTES: usize = 64 << 10;

fn main() {
    let mut files: Vec<Vec<u8>> = hostile::honest()
        .into_iter()
        .map(|(_, file)| file)
        .collect();
    files.extend(hostile::all().into_iter().map(|case| case.bytes));
    files.retain(|file| file.len() <= MAX_SEED_BYTES);
    for (n, file) in files.iter().enumerate() {
        write("format", n, file);
        let target = match Format::of(file) {
            Some(Format::Jpeg) => "render_jpeg",
            Some(Format::Png) => "render_png",
            Some(Format::Gif) => "render_gif",
            Some(Format::Bmp) => "render_bmp",
            Some(Format::Webp) => "render_webp",
            Some(Format::Avif) => "render_avif",
            Some(Format::Pdf) => "render_pdf",
            None => continue,
        };
        write(target, n, file);
        if target == "render_jpeg" {
            write("jpeg", n, file);
        }
    }
}

fn write(target: &str, n: usize, file: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("seed-{n}")), file).unwrap();
}
