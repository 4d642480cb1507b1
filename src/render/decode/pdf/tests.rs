use std::fmt::Write;
use std::sync::Arc;

use super::*;
use crate::render::finish::{Scratch, finish};
use crate::render::format::Format;

const LIMITS: Limits = Limits {
    source_bytes: 1 << 20,
    pixels: 1 << 20,
    frame_bytes: 1 << 20,
};

/// A document of one page: entries of the page, what is drawn, further objects
/// from number 5 on.
fn document(page: &str, contents: &str, objects: &[&str]) -> Vec<u8> {
    let page = format!("<< /Type /Page /Parent 2 0 R /Contents 4 0 R {page} >>");
    let contents = format!(
        "<< /Length {} >> stream\n{contents}\nendstream",
        contents.len()
    );
    let mut all = vec![
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        &page,
        &contents,
    ];
    all.extend(objects);
    let mut file = "%PDF-1.7\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", all.len() + 1);
    for (index, object) in all.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", file.len()).unwrap();
        writeln!(file, "{} 0 obj\n{object}\nendobj", index + 1).unwrap();
    }
    let (start, size) = (file.len(), all.len() + 1);
    write!(
        file,
        "{table}trailer << /Root 1 0 R /Size {size} >>\nstartxref\n{start}\n%%EOF\n"
    )
    .unwrap();
    file.into_bytes()
}

struct Drawn {
    size: (u32, u32),
    raster: Raster,
}

fn drawn(document: Vec<u8>, side: u32, font: Option<&FallbackFont>) -> Drawn {
    let picture = decode(document, Order { side }, &LIMITS, font).unwrap();
    let Samples::Rgb(raster) = picture.samples else {
        panic!("{:?}", picture.samples)
    };
    Drawn {
        size: (picture.width, picture.height),
        raster,
    }
}

impl Drawn {
    /// The pixel so many hundredths from the left and from the top.
    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let (width, height) = (self.raster.width as usize, self.raster.height as usize);
        self.raster.data.as_chunks().0[y * height / 100 * width + x * width / 100]
    }

    /// How dark the page is on the average: 0 is white.
    fn darkness(&self) -> u64 {
        let dark: u64 = self.raster.data.iter().map(|&v| u64::from(255 - v)).sum();
        dark / self.raster.data.len() as u64
    }
}

const WHITE: [u8; 3] = [255; 3];
const RED: [u8; 3] = [255, 0, 0];

#[test]
fn a_page_is_drawn_on_white_with_a_pixel_for_a_point() {
    // Half of red over the left half of the page, in points from the bottom.
    let contents = "/Half gs 1 0 0 rg 0 0 100 100 re f";
    let page = "/MediaBox [0 0 200 100] \
        /Resources << /ExtGState << /Half << /ca 0.5 >> >> >>";
    let page = drawn(document(page, contents, &[]), 50, None);
    assert_eq!(page.size, (200, 100));
    let oversampled = u32::from(OVERSAMPLING);
    assert_eq!(
        (page.raster.width, page.raster.height),
        (50 * oversampled, 25 * oversampled)
    );
    let [red, green, blue] = page.at(25, 50);
    assert!(red == 255 && green.abs_diff(127) <= 2 && blue == green);
    assert_eq!(page.at(75, 50), WHITE);
}

#[test]
fn a_page_smaller_than_its_thumbnail_stays_small() {
    let page = drawn(document("/MediaBox [0 0 30 20]", "", &[]), 100, None);
    assert_eq!(page.size, (30, 20));
    assert_eq!(Order { side: 100 }.fit(page.size.0, page.size.1), (30, 20));
}

#[test]
fn crop_box_and_rotation_are_applied() {
    // The lower left quarter is red; the crop leaves half of that at the left.
    let contents = "1 0 0 rg 0 0 100 50 re f";
    let boxes = "/MediaBox [0 0 200 100] /CropBox [50 0 200 100]";
    for (rotation, size, red, white) in [
        (0, (150, 100), (10, 90), (10, 10)),
        (90, (100, 150), (10, 10), (90, 10)),
        (180, (150, 100), (90, 10), (90, 90)),
        (270, (100, 150), (90, 90), (10, 90)),
    ] {
        let page = format!("{boxes} /Rotate {rotation}");
        let page = drawn(document(&page, contents, &[]), 75, None);
        assert_eq!(page.size, size, "{rotation}");
        assert_eq!(page.at(red.0, red.1), RED, "{rotation}");
        assert_eq!(page.at(white.0, white.1), WHITE, "{rotation}");
    }
}

#[test]
fn text_in_a_standard_font_is_drawn_without_any_file() {
    let page = "/MediaBox [0 0 100 50] /Resources << /Font << /F 5 0 R >> >>";
    let helvetica = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";
    let contents = "BT /F 40 Tf 5 10 Td (Kura) Tj ET";
    let page = drawn(document(page, contents, &[helvetica]), 100, None);
    assert!(page.darkness() > 20, "{}", page.darkness());
}

#[test]
fn japanese_whose_font_is_not_embedded_is_drawn_in_the_fallback_font() {
    let page = "/MediaBox [0 0 100 50] /Resources << /Font << /F 5 0 R >> >>";
    for (encoding, text, (x, y)) in [
        ("UniJIS-UTF16-H", "65E5", (30, 5)),
        ("90ms-RKSJ-H", "93FA", (30, 5)),
        // Written downwards, text begins at the middle of its top.
        ("UniJIS-UTF16-V", "65E5", (50, 45)),
        // The CID of it in Adobe-Japan1.
        ("Identity-H", "0CD4", (30, 5)),
    ] {
        let composite = format!(
            "<< /Type /Font /Subtype /Type0 /BaseFont /HeiseiKakuGo-W5 \
             /Encoding /{encoding} /DescendantFonts [6 0 R] >>"
        );
        let descendant = "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiKakuGo-W5 \
             /CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 2 >> >>";
        let contents = format!("BT /F 40 Tf {x} {y} Td <{text}> Tj ET");
        let document = document(page, &contents, &[&composite, descendant]);
        let without = drawn(document.clone(), 100, None);
        assert!(without.darkness() < 20, "{encoding}");
        let font = FallbackFont::new(Arc::new(square_font('日')), 0);
        let with = drawn(document, 100, Some(&font));
        assert!(with.darkness() > 60, "{encoding}: {}", with.darkness());
    }
}

#[test]
fn what_comes_before_a_document_is_passed_over() {
    let document = document("/MediaBox [0 0 100 50]", "0 0 50 50 re f", &[]);
    let whole = drawn(document.clone(), 100, None);
    for before in [&b"\n"[..], b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"] {
        let later = drawn([before, &document].concat(), 100, None);
        assert_eq!(later.size, whole.size);
        assert_eq!(later.darkness(), whole.darkness());
        assert!(later.darkness() > 40);
    }
}

#[test]
fn what_is_no_document_or_needs_a_password_is_refused() {
    let order = Order { side: 100 };
    for source in [
        b"%PDF-1.7\n".to_vec(),
        b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj trailer << /Root 1 0 R >>".to_vec(),
        [b"%PDF-1.7\n", &[0xff; 5000][..]].concat(),
    ] {
        let answer = decode(source, order, &LIMITS, None);
        assert_eq!(answer, Err(Refusal::Broken));
    }
}

#[test]
fn the_size_that_a_page_says_costs_nothing() {
    let huge = "9".repeat(60);
    for (page, size) in [
        (
            "/MediaBox [0 0 1000000000 500000000]",
            (1_000_000_000, 500_000_000),
        ),
        ("/MediaBox [0 0 1000000000 1]", (1_000_000_000, 1)),
        ("/MediaBox [0 0 0 0]", (595, 842)),
        (
            &format!("/MediaBox [0 0 {huge} {huge}]"),
            (u32::MAX, u32::MAX),
        ),
    ] {
        assert_eq!(
            drawn(document(page, "0 0 9 9 re f", &[]), 800, None).size,
            size
        );
    }
}

#[test]
fn a_page_that_is_one_jpeg_looks_as_if_it_were_drawn() {
    let mut jpeg = Vec::new();
    let pixels = (0..160 * 120).flat_map(|index| match (index % 160 < 80, index < 160 * 60) {
        (true, true) => [250, 250, 20],
        (true, false) => [200, 20, 20],
        (false, _) => [20, 20, 200],
    });
    jpeg_encoder::Encoder::new(&mut jpeg, 90)
        .encode(
            &pixels.collect::<Vec<u8>>(),
            160,
            120,
            jpeg_encoder::ColorType::Rgb,
        )
        .unwrap();
    // The file is put in afterwards, as it is no text.
    let hole = "~".repeat(jpeg.len());
    let image = format!(
        "<< /Subtype /Image /Width 160 /Height 120 /BitsPerComponent 8 /ColorSpace /DeviceRGB \
         /Filter /DCTDecode /Length {} >> stream\n{hole}\nendstream",
        jpeg.len()
    );
    let thumbnail = |boxed: &str, contents: &str| {
        let page = format!("{boxed} /Resources << /XObject << /I 5 0 R >> >>");
        let mut document = document(&page, contents, &[&image]);
        let start = document
            .windows(hole.len())
            .position(|bytes| bytes == hole.as_bytes());
        document[start.unwrap()..][..jpeg.len()].copy_from_slice(&jpeg);
        let order = Order { side: 40 };
        let picture = decode(document, order, &LIMITS, None).unwrap();
        let scanned = matches!(picture.samples, Samples::YCbCr(_));
        let bmp = finish(picture, order, Format::Bmp, &mut Scratch::default()).unwrap();
        (scanned, bmp.bytes)
    };
    let landscape = "/MediaBox [0 0 80 60]";
    let portrait = "/MediaBox [0 0 60 80]";
    for (boxed, matrix) in [
        (landscape, "80 0 0 60 0 0"),
        ("/MediaBox [0 0 80 60] /Rotate 90", "80 0 0 60 0 0"),
        ("/MediaBox [0 0 80 60] /Rotate 180", "80 0 0 60 0 0"),
        ("/MediaBox [0 0 80 60] /Rotate 270", "80 0 0 60 0 0"),
        (landscape, "-80 0 0 60 80 0"),
        (landscape, "80 0 0 -60 0 60"),
        (landscape, "-80 0 0 -60 80 60"),
        (portrait, "0 80 60 0 0 0"),
        (portrait, "0 80 -60 0 60 0"),
        (portrait, "0 -80 60 0 0 80"),
        (portrait, "0 -80 -60 0 60 80"),
    ] {
        let (scanned, small) = thumbnail(boxed, &format!("q {matrix} cm /I Do Q"));
        // Setting a colour draws nothing, but scanners do not do it.
        let (also, drawn) = thumbnail(boxed, &format!("0 g q {matrix} cm /I Do Q"));
        assert!(scanned && !also, "{matrix}");
        assert_eq!(small.len(), drawn.len());
        let pairs = small.iter().zip(&drawn);
        let difference: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(
            difference / (small.len() as u64) < 6,
            "{boxed} {matrix}: {difference}"
        );
    }
    let with_text = "BT 3 Tr (read) Tj ET q 80 0 0 60 0 0 cm /I Do Q";
    assert!(thumbnail(landscape, with_text).0);
    for contents in [
        "BT 3 Tr q 0 Tr (seen) Tj Q ET q 80 0 0 60 0 0 cm /I Do Q",
        "q 3 Tr Q BT (seen) Tj ET q 80 0 0 60 0 0 cm /I Do Q",
        "q 70 0 0 60 0 0 cm /I Do Q",
        "q 80 0 0 60 0 0 cm /I Do Q 0 0 9 9 re f",
        "q 80 0 0 60 0 0 cm /I Do /I Do Q",
    ] {
        assert!(!thumbnail(landscape, contents).0, "{contents}");
    }
}

/// A TrueType font of two glyphs, of which the second, a square, is that of
/// `character`. Tables as in ISO/IEC 14496-22, section 5.
fn square_font(character: char) -> Vec<u8> {
    fn words(values: &[u16]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    }
    fn word(length: usize) -> u16 {
        u16::try_from(length).unwrap()
    }
    const BACK: u16 = 900_u16.wrapping_neg();
    let code = u16::try_from(u32::from(character)).unwrap();
    let to_glyph = 1_u16.wrapping_sub(code);
    // One segment, and the one that ends the table.
    let cmap = [
        [0, 1, 3, 1, 0, 12, 4, 32, 0, 4, 4],
        [1, 0, code, 0xffff, 0, code, 0xffff, to_glyph, 1, 0, 0],
    ];
    // A contour of four points on the curve, the coordinates in two bytes each.
    let mut glyf = words(&[1, 0, 0, 900, 900, 3, 0]);
    glyf.extend([1; 4]);
    glyf.extend(words(&[0, 900, 0, BACK, 0, 0, 900, 0]));
    let mut head = [0; 27];
    head[..10].copy_from_slice(&[1, 0, 1, 0, 0, 0, 0x5f0f, 0x3cf5, 0, 1000]);
    head[20..].copy_from_slice(&[900, 900, 0, 8, 2, 0, 0]);
    let mut hhea = [0; 18];
    hhea[..6].copy_from_slice(&[1, 0, 880, 120_u16.wrapping_neg(), 0, 1000]);
    hhea[17] = 2;
    let mut maxp = [0; 16];
    maxp[..8].copy_from_slice(&[1, 0, 2, 4, 1, 0, 0, 1]);
    let mut post = [0; 16];
    post[0] = 3;
    let tables = [
        (b"cmap", words(cmap.as_flattened())),
        (b"glyf", glyf.clone()),
        (b"head", words(&head)),
        (b"hhea", words(&hhea)),
        (b"hmtx", words(&[1000, 0, 1000, 0])),
        (b"loca", words(&[0, 0, word(glyf.len() / 2)])),
        (b"maxp", words(&maxp)),
        (b"post", words(&post)),
    ];
    let mut file = words(&[1, 0, word(tables.len()), 128, 3, 0]);
    let mut offset = file.len() + 16 * tables.len();
    for (tag, table) in &tables {
        file.extend_from_slice(*tag);
        file.extend(words(&[0, 0, 0, word(offset), 0, word(table.len())]));
        offset += table.len();
    }
    file.extend(tables.into_iter().flat_map(|(_, table)| table));
    file
}
