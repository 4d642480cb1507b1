//! The `Content-Disposition` of a response (RFC 6266, RFC 8187).
//!
//! Whatever the file is called, the header has exactly one line and the name
//! cannot leave its parameter: what goes between the quotes is printable
//! ASCII without quotes, backslashes and percent signs, and what follows
//! `filename*=` is percent-encoded.

use std::str::FromStr;

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

/// All but the `attr-char` of RFC 8187 §3.2.1.
const EXTENDED_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// What the browser is to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Show it.
    Inline,
    /// Save it.
    Attachment,
}

/// The text names no [`Disposition`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a disposition is `inline` or `attachment`")]
pub struct UnknownDisposition;

impl Disposition {
    /// The word in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        }
    }
}

impl FromStr for Disposition {
    type Err = UnknownDisposition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "inline" => Ok(Self::Inline),
            "attachment" => Ok(Self::Attachment),
            _ => Err(UnknownDisposition),
        }
    }
}

/// The header for a file of this name. Control characters are left out of the
/// name; where nothing remains of it, the header names none.
///
/// A name that is not plain is given twice, as RFC 6266 Appendix D advises:
/// readable ASCII for programs that know no better, and then the real one,
/// which all others prefer.
#[must_use]
pub fn header(kind: Disposition, file_name: Option<&str>) -> HeaderValue {
    let kind = kind.as_str();
    let name: String = file_name
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if name.is_empty() {
        return HeaderValue::from_static(kind);
    }
    let text = if name.chars().all(is_plain) {
        format!("{kind}; filename=\"{name}\"")
    } else {
        let plain = name.replace(|c| !is_plain(c), "_");
        let extended = utf8_percent_encode(&name, EXTENDED_VALUE);
        format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{extended}")
    };
    // Printable ASCII always makes a header value; a response without a name
    // is the better end should this ever not hold.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(kind))
}

/// True for what means itself inside a quoted string to every browser. Some
/// decode percent signs there, and not all unescape a backslash (RFC 6266
/// Appendix D).
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::stored_name::parse_stored;

    fn spelled(name: &str) -> String {
        let value = header(Disposition::Inline, Some(name));
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn plain_name_is_quoted_as_it_is() {
        assert_eq!(
            spelled("report (1).pdf"),
            "inline; filename=\"report (1).pdf\""
        );
    }

    #[test]
    fn other_names_are_given_twice() {
        for (name, expected) in [
            (
                "見積.pdf",
                "inline; filename=\"__.pdf\"; filename*=UTF-8''%E8%A6%8B%E7%A9%8D.pdf",
            ),
            (
                "a\"b\\c.txt",
                "inline; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%5Cc.txt",
            ),
            (
                "100%41.txt",
                "inline; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt",
            ),
        ] {
            assert_eq!(spelled(name), expected);
        }
    }

    #[test]
    fn control_characters_are_left_out() {
        assert_eq!(
            spelled("a\r\nSet-Cookie: x=1\0\u{85}"),
            "inline; filename=\"aSet-Cookie: x=1\""
        );
    }

    #[test]
    fn header_without_a_name_names_none() {
        assert_eq!(header(Disposition::Attachment, None), "attachment");
        assert_eq!(header(Disposition::Inline, Some("\r\n")), "inline");
    }

    #[test]
    fn dispositions_are_read_from_their_words() {
        assert_eq!("inline".parse(), Ok(Disposition::Inline));
        assert_eq!("attachment".parse(), Ok(Disposition::Attachment));
        assert_eq!("form-data".parse::<Disposition>(), Err(UnknownDisposition));
    }

    proptest! {
        #[test]
        fn every_name_reads_back_and_stays_in_its_parameter(name in any::<String>()) {
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            let text = spelled(&name);
            prop_assert!(text.bytes().all(|c| (b' '..=b'~').contains(&c)));
            prop_assert!(matches!(text.matches('"').count(), 0 | 2));
            let back = parse_stored(&text);
            prop_assert_eq!(back, (!name.is_empty()).then_some(name));
        }
    }
}
