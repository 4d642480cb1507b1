//! PDF.

use std::fmt::Write;

use super::deflate::{zeros, zlib};
use super::{ANY, BROKEN, Case, DRAWN, DRAWN_OR_BROKEN, case};
const SMALL: &str = "[0 0 200 100]";

/// An honest page with a rectangle and a line of text.
pub fn honest() -> Vec<u8> {
    let font = "/Font << /F0 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>";
    page(
        SMALL,
        font,
        b"1 0 0 rg 20 20 60 40 re f BT /F0 12 Tf 90 50 Td (Kura) Tj ET",
        &[],
    )
}

#[allow(clippy::too_many_lines, reason = "a list")]
pub fn cases() -> Vec<Case> {
    let drawn = |content: &[u8]| page(SMALL, "", content, &[]);
    let deep = |open: &str, close: &str, count| {
        format!(
            "{}{} 0 0 10 10 re f",
            open.repeat(count),
            close.repeat(count)
        )
        .into_bytes()
    };
    vec![
        case(
            "PDF with a dash of a millionth",
            drawn(b"[0.000001 0.000001] 0 d 1 w 0 0 m 200 100 l S"),
            ANY,
        ),
        case(
            "PDF with a dash on a line of a light second",
            drawn(b"[1 1] 0 d 0 0 m 299792458000 0 l S"),
            ANY,
        ),
        case("PDF with a million dashes", drawn(&dashes()), ANY),
        case("PDF with forms in forms in forms", nested_forms(60), ANY),
        case(
            "PDF with a form that draws itself",
            own_form(),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PDF with arrays in arrays",
            drawn(&deep("[", "]", 200_000)),
            ANY,
        ),
        case(
            "PDF with dictionaries in dictionaries",
            drawn(&deep("<< /A ", ">>", 200_000)),
            ANY,
        ),
        case(
            "PDF with states in states",
            drawn(&deep("q ", "Q ", 500_000)),
            ANY,
        ),
        case(
            "PDF with a page of arrays in arrays",
            page(&"[".repeat(200_000), "", b"", &[]),
            ANY,
        ),
        case(
            "PDF compressed twice",
            filtered("[/FlateDecode /FlateDecode]", &zlib(&zeros(1 << 30))),
            ANY,
        ),
        case(
            "PDF compressed thrice",
            filtered(
                "[/FlateDecode /FlateDecode /FlateDecode]",
                &zlib(&zlib(&zeros(4 << 30))),
            ),
            ANY,
        ),
        case(
            "PDF in a hundred filters",
            filtered(&format!("[{}]", "/ASCIIHexDecode ".repeat(100)), b"00>"),
            ANY,
        ),
        case("PDF with tiles of a thousandth", tiled("0.001"), ANY),
        case("PDF with tiles of nothing", tiled("0"), ANY),
        case(
            "PDF with a page of a thousand million points",
            page("[0 0 1000000000 1000000000]", "", b"0 0 10 10 re f", &[]),
            ANY,
        ),
        case(
            "PDF with a page of no size",
            page("[0 0 0 0]", "", b"0 0 10 10 re f", &[]),
            ANY,
        ),
        case(
            "PDF with a page of no number",
            page("[0 0 1e999 -1e999]", "", b"", &[]),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PDF with a picture of 50000 × 50000",
            image(50_000, &zeros(1 << 20)),
            ANY,
        ),
        case(
            "PDF with a picture of 15000 × 15000 zeros",
            image(15_000, &zeros(15_000 * 15_000 * 3)),
            ANY,
        ),
        case("PDF with a shading of many functions", shaded(), ANY),
        case(
            "PDF whose pages are their own children",
            file(&[
                "<< /Type /Catalog /Pages 2 0 R >>".into(),
                "<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>".into(),
            ]),
            BROKEN,
        ),
        case(
            "PDF whose catalogue is itself",
            file(&["1 0 R".into()]),
            BROKEN,
        ),
        case("PDF without objects", file(&[]), BROKEN),
        case(
            "PDF whose length is a lie",
            page_of(
                SMALL,
                "",
                b"<< /Length 999999999999 >>\nstream\n0 0 10 10 re f\nendstream",
                &[],
            ),
            DRAWN_OR_BROKEN,
        ),
        case("PDF that is only a header", b"%PDF-1.7\n".to_vec(), BROKEN),
        case(
            "PDF with an action, which nobody runs",
            page(
                SMALL,
                "",
                b"0 0 10 10 re f",
                &[b"<< /S /Launch /F (/bin/sh) >>".to_vec()],
            ),
            DRAWN,
        ),
    ]
}

/// A file of objects, which are numbered from one.
fn file(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", file.len()).unwrap();
        file.extend(format!("{} 0 obj\n", index + 1).into_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.extend(
        format!("{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n")
            .into_bytes(),
    );
    file
}

/// One page. `more` are the objects from the fifth on.
fn page(media_box: &str, resources: &str, content: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    page_of(media_box, resources, &stream("", content), more)
}

fn page_of(media_box: &str, resources: &str, content: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    let page = format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox {media_box} /Contents 4 0 R /Resources << {resources} >> >>"
    );
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>".to_vec(),
        page.into_bytes(),
        content.to_vec(),
    ];
    objects.extend_from_slice(more);
    file(&objects)
}

fn stream(entries: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("<< /Length {} {entries} >>\nstream\n", data.len());
    [head.as_bytes(), data, b"\nendstream"].concat()
}

fn filtered(filter: &str, data: &[u8]) -> Vec<u8> {
    page_of(SMALL, "", &stream(&format!("/Filter {filter}"), data), &[])
}

fn dashes() -> Vec<u8> {
    let array = "1 2 ".repeat(500_000);
    format!("[{array}] 0 d 0 0 m 200 100 l S").into_bytes()
}

/// Each form draws the next one twice.
fn nested_forms(depth: usize) -> Vec<u8> {
    let forms: Vec<_> = (0..depth)
        .map(|level| {
            let next = if level + 1 == depth { 5 } else { level + 6 };
            let content: &[u8] = if level + 1 == depth { b"0 0 9 9 re f" } else { b"/X Do /X Do" };
            let entries = format!("/Type /XObject /Subtype /Form /BBox {SMALL} /Resources << /XObject << /X {next} 0 R >> >>");
            stream(&entries, content)
        })
        .collect();
    page(SMALL, "/XObject << /X 5 0 R >>", b"/X Do /X Do", &forms)
}

fn own_form() -> Vec<u8> {
    let entries = format!(
        "/Type /XObject /Subtype /Form /BBox {SMALL} /Resources << /XObject << /X 5 0 R >> >>"
    );
    page(
        SMALL,
        "/XObject << /X 5 0 R >>",
        b"/X Do",
        &[stream(&entries, b"/X Do /X Do")],
    )
}

fn tiled(step: &str) -> Vec<u8> {
    let entries = format!(
        "/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep {step} /YStep {step} /Resources << >>"
    );
    let pattern = stream(&entries, b"0 0 1 1 re f");
    page(
        SMALL,
        "/Pattern << /P 5 0 R >>",
        b"/Pattern cs /P scn 0 0 200 100 re f",
        &[pattern],
    )
}

fn image(side: u32, data: &[u8]) -> Vec<u8> {
    let entries = format!(
        "/Type /XObject /Subtype /Image /Width {side} /Height {side} /BitsPerComponent 8 /ColorSpace /DeviceRGB /Filter /FlateDecode"
    );
    page(
        SMALL,
        "/XObject << /I 5 0 R >>",
        b"200 0 0 100 0 0 cm /I Do",
        &[stream(&entries, data)],
    )
}

/// A stitching function of functions, and a mesh of them on the page.
fn shaded() -> Vec<u8> {
    let part = "<< /FunctionType 2 /Domain [0 1] /C0 [0 0 0] /C1 [1 1 1] /N 1.5 >> ";
    let count = 100_000;
    let bounds: String = (1..count).fold(String::new(), |mut bounds, n| {
        write!(bounds, "{:.6} ", f64::from(n) / f64::from(count)).unwrap();
        bounds
    });
    let parts = part.repeat(100_000);
    let encode = "0 1 ".repeat(100_000);
    let function = format!(
        "<< /FunctionType 3 /Domain [0 1] /Functions [{parts}] /Bounds [{bounds}] /Encode [{encode}] >>"
    );
    let shading = "/Shading << /S << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [0 0 200 100] /Function 5 0 R >> >>";
    page(
        SMALL,
        shading,
        &b"/S sh ".repeat(50),
        &[function.into_bytes()],
    )
}
