//! The original file name as an object's `Content-Disposition` keeps it.
//!
//! What is written is what `redmica_s3` writes, byte for byte, so that the owner
//! of a bucket can change over and back. What is read may come from other
//! tools too: a form that is not understood loses the name and nothing else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What Ruby's `ERB::Util.url_encode` encodes: all but the unreserved
/// characters of RFC 3986 §2.3.
const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The header kept with an object of this original file name.
#[must_use]
pub fn stored_form(file_name: &str) -> String {
    let encoded = utf8_percent_encode(file_name, URL_ENCODED);
    format!("inline; filename={encoded}")
}

/// The original file name in such a header; `None` when it has none.
///
/// Takes besides our own form quoted strings and, before either, `filename*`
/// (RFC 6266 §4.3).
#[must_use]
pub fn parse_stored(header: &str) -> Option<String> {
    let find = |wanted: &str, decode: fn(&str) -> Option<String>| {
        parameters(header)
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .find_map(|(_, value)| decode(value).filter(|name| !name.is_empty()))
    };
    find("filename*", decode_extended).or_else(|| find("filename", decode_simple))
}

/// The names and raw values of the parameters, cut at the semicolons that are
/// in no quoted string.
fn parameters(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let is_cut = move |c: char| {
        let literal = std::mem::take(&mut escaped);
        match c {
            _ if literal => {}
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ';' && !quoted
    };
    header
        .split(is_cut)
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// RFC 8187 §3.2.1: `charset'language'value`. UTF-8 is the one charset that
/// everybody must write (§3.2).
fn decode_extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let utf8 = charset.eq_ignore_ascii_case("utf-8");
    utf8.then(|| percent_decode(encoded)).flatten()
}

/// A quoted string means itself (RFC 6266 §4.1). Only `redmica_s3`'s bare form
/// is percent-encoded; where decoding does not give text, it was not.
fn decode_simple(value: &str) -> Option<String> {
    match value.strip_prefix('"') {
        Some(quoted) => Some(unquote(quoted)),
        None => percent_decode(value).or_else(|| Some(value.to_owned())),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// The text of a quoted string whose opening quote is off, up to the closing
/// one or the end.
fn unquote(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_form_is_that_of_redmica_s3() {
        assert_eq!(
            stored_form("見 a+b~_-.'(1).pdf"),
            "inline; filename=%E8%A6%8B%20a%2Bb~_-.%27%281%29.pdf"
        );
    }

    #[test]
    fn names_of_other_writers_are_read() {
        for (header, name) in [
            ("attachment; filename=\"a b;c.pdf\"", "a b;c.pdf"),
            (
                "attachment; filename=\"a\\\"; b\\\\.pdf\"; x=y",
                "a\"; b\\.pdf",
            ),
            ("attachment; filename=\"100%41\"", "100%41"),
            ("inline; filename=a b.pdf", "a b.pdf"),
            ("inline;FILENAME = 見.pdf ", "見.pdf"),
            ("filename=a.pdf", "a.pdf"),
            ("inline; filename=%FF.pdf", "%FF.pdf"),
            ("inline; filename=\"open", "open"),
            (
                "inline; filename=\"_.pdf\"; filename*=utf-8'ja'%E8%A6%8B.pdf",
                "見.pdf",
            ),
            ("inline; filename*=EUC-JP''%B8%AB; filename=a", "a"),
            ("inline; filename*=UTF-8''%FF; filename=a", "a"),
        ] {
            assert_eq!(parse_stored(header).as_deref(), Some(name), "{header}");
        }
    }

    #[test]
    fn header_without_a_name_gives_none() {
        for header in [
            "",
            "inline",
            "inline; filename=",
            "inline; filename=\"\"",
            "inline; name=a",
            "inline; x=\"; filename=a\"",
        ] {
            assert_eq!(parse_stored(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn every_name_reads_back(name in any::<String>()) {
            let stored = stored_form(&name);
            prop_assert!(stored.bytes().all(|c| (b' '..=b'~').contains(&c)));
            prop_assert_eq!(parse_stored(&stored), (!name.is_empty()).then_some(name));
        }

        #[test]
        fn no_header_makes_it_panic(header in any::<String>()) {
            let _ = parse_stored(&header);
        }

        #[test]
        fn no_header_of_odd_punctuation_makes_it_panic(
            header in "(inline)?[;= ]{0,2}filename[*]?[=\"\\\\;'%a-fUTF8é-]{0,24}",
        ) {
            let _ = parse_stored(&header);
        }
    }
}
