//! Pictures, and the thumbnails that Redmine would ask for of them.

use bytes::Bytes;
use kura::digest::{Digest, FileDigest};
use reqwest::Response;

use super::app::TestApp;
use super::pattern;

/// The type of [`picture`]s and their thumbnails.
pub const PNG: &str = "image/png";
/// The first bytes of every PNG.
pub const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A PNG of 240 × 120 pixels that differs by `seed`.
pub fn picture(seed: u64) -> Bytes {
    const SIZE: (u32, u32) = (240, 120);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::NoCompression);
    let samples = pattern(seed, (SIZE.0 * SIZE.1) as usize);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&samples).unwrap();
    writer.finish().unwrap();
    file.into()
}

/// A mebibyte that begins as a JPEG does, and has to be read to its end to
/// find that it is none.
pub fn long_picture(seed: u64) -> Bytes {
    [b"\xff\xd8\xff\xe0", &pattern(seed, 1 << 20)[4..]]
        .concat()
        .into()
}

/// The width and height of a PNG.
pub fn size_of(png: &[u8]) -> (u32, u32) {
    let reader = png::Decoder::new(std::io::Cursor::new(png)).read_info();
    reader.unwrap().info().size()
}

/// The name of a thumbnail of the file.
pub fn name_of(file: &[u8], side: u32) -> String {
    format!("{}_{}_{side}.thumb", Digest::of(file), file.len())
}

/// The same as an old row of Redmine's database has it.
pub fn old_name_of(file: &[u8], side: u32) -> String {
    let old: FileDigest = "00000000000000000000000000000000".parse().unwrap();
    let mut hasher = old.hasher();
    hasher.update(file);
    format!("{}_{}_{side}.thumb", hasher.finish(), file.len())
}

impl TestApp {
    /// GET of a thumbnail of the single tenant.
    pub async fn thumbnail(&self, name: &str, source: &str) -> Response {
        let path = format!("/v1/thumbnails/{name}?source={source}");
        self.get(&path).send().await.unwrap()
    }

    /// The thumbnail, which must be there or be made.
    pub async fn shown(&self, name: &str, source: &str) -> Bytes {
        let response = self.thumbnail(name, source).await;
        assert_eq!(response.status(), 200, "{name} of {source}");
        response.bytes().await.unwrap()
    }

    /// How many answers about thumbnails came from there.
    pub fn from(&self, from: &'static str) -> u64 {
        let labels = kura::metrics::ThumbnailLabels { from };
        let metrics = &self.served.metrics;
        metrics.thumbnails.get_or_create(&labels).get()
    }
}
