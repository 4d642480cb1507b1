//! Reading and writing of the XML documents of the protocol.

use std::fmt::{Display, Write as _};
use std::time::SystemTime;

use httpdate::fmt_http_date;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

use super::content::Content;

/// A response with an XML document, whose root element `fill` writes.
pub fn response(root: &str, fill: impl FnOnce(&mut Writer)) -> Response<Content> {
    let mut writer = Writer(r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned());
    writer.element(root, fill);
    Response::builder()
        .header(CONTENT_TYPE, "application/xml")
        .body(Content::from(writer.0))
        .expect("a valid response")
}

/// Writes elements one after the other.
pub struct Writer(String);

impl Writer {
    /// Writes an element, whose content `fill` writes.
    pub fn element(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.0.extend(["<", name, ">"]);
        fill(self);
        self.0.extend(["</", name, ">"]);
    }

    /// Writes an element with a text.
    pub fn text(&mut self, name: &str, text: impl Display) {
        self.element(name, |element| {
            for character in text.to_string().chars() {
                match character {
                    '&' => element.0 += "&amp;",
                    '<' => element.0 += "&lt;",
                    '>' => element.0 += "&gt;",
                    // Readers would drop or alter control characters.
                    _ if character.is_control() => {
                        let _ = write!(element.0, "&#x{:X};", u32::from(character));
                    }
                    _ => element.0.push(character),
                }
            }
        });
    }

    /// Writes an element with a time, such as `2009-10-12T17:50:30.000Z`.
    pub fn time(&mut self, name: &str, time: SystemTime) {
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        // An HTTP date reads `Mon, 12 Oct 2009 17:50:30 GMT`.
        let date = fmt_http_date(time);
        let fields: Vec<&str> = date.split(' ').collect();
        let [_, day, month, year, time, _] = fields[..] else {
            unreachable!("an HTTP date has six fields");
        };
        let month = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
        self.text(name, format_args!("{year}-{month:02}-{day}T{time}.000Z"));
    }
}

/// An element that has been read.
#[derive(Default)]
pub struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document and returns its root element, or `None` when the
    /// document is not well-formed. Attributes are disregarded.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
        // The innermost open element is the last one; the first one stands
        // for the document.
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) => open.push(Self::named(tag.local_name().as_ref())),
                Event::Empty(tag) => {
                    let element = Self::named(tag.local_name().as_ref());
                    open.last_mut()?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text += &text.xml10_content(),
                Event::CData(text) => open.last_mut()?.text += &text.xml10_content(),
                Event::GeneralRef(reference) => {
                    let reference = format!("&{};", &*reference);
                    open.last_mut()?.text += &unescape(&reference).ok()?;
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let [document] = <[Self; 1]>::try_from(open).ok()?;
        document.children.into_iter().next()
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The children of a name, in order.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of a name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.children
            .iter()
            .find(|child| child.name == name)
            .map(|child| child.text.as_str())
    }
}
