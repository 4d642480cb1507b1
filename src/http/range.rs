//! The `Range` and `Content-Range` headers (RFC 9110 §14).
//!
//! One range of bytes is served. A server may ignore any `Range` (§14.2), so
//! everything else (other units, several ranges, what cannot be read) counts
//! as no header at all and the whole body is sent. Only a range that is well
//! formed and lies outside the object ends in 416.

use axum::http::HeaderValue;

use crate::storage::ByteRange;

/// Reads a `Range` header; `None` when it is to be ignored.
///
/// `bytes=-0` is well formed and asks for nothing: it is returned, and
/// [`ByteRange::resolve`] finds it unsatisfiable in any object.
#[must_use]
pub fn parse(value: &HeaderValue) -> Option<ByteRange> {
    let (unit, set) = value.to_str().ok()?.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A recipient must put up with empty members of a list (RFC 9110 §5.6.1.2).
    let mut members = set
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty());
    let range = parse_member(members.next()?)?;
    members.next().is_none().then_some(range)
}

fn parse_member(member: &str) -> Option<ByteRange> {
    let (first, last) = member.split_once('-')?;
    match (first, last) {
        ("", count) => Some(ByteRange::Last(parse_digits(count)?)),
        (first, "") => Some(ByteRange::From(parse_digits(first)?)),
        (first, last) => {
            let (first, last) = (parse_digits(first)?, parse_digits(last)?);
            (first <= last).then_some(ByteRange::Inclusive(first, last))
        }
    }
}

/// `u64::from_str` alone would take a sign.
fn parse_digits(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The `Content-Range` of a 206: the offsets of the first and the last byte
/// sent, and the size of the whole object.
#[must_use]
pub fn content_range(first: u64, last: u64, size_bytes: u64) -> HeaderValue {
    to_value(format!("bytes {first}-{last}/{size_bytes}"))
}

/// The `Content-Range` of a 416 for an object of this size.
#[must_use]
pub fn unsatisfied(size_bytes: u64) -> HeaderValue {
    to_value(format!("bytes */{size_bytes}"))
}

/// Digits and ASCII punctuation always make a header value; the alternative
/// stands there because nothing on a request's way may panic.
fn to_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */0"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<ByteRange> {
        parse(&HeaderValue::from_str(text).unwrap())
    }

    fn spelled(range: ByteRange) -> String {
        match range {
            ByteRange::From(first) => format!("bytes={first}-"),
            ByteRange::Inclusive(first, last) => format!("bytes={first}-{last}"),
            ByteRange::Last(count) => format!("bytes=-{count}"),
        }
    }

    #[test]
    fn one_range_of_bytes_is_read() {
        for (text, range) in [
            ("bytes=0-0", ByteRange::Inclusive(0, 0)),
            ("bytes=5-", ByteRange::From(5)),
            ("bytes=-5", ByteRange::Last(5)),
            ("BYTES=1-2", ByteRange::Inclusive(1, 2)),
            ("bytes= 1-2\t", ByteRange::Inclusive(1, 2)),
            ("bytes=, 1-2 ,", ByteRange::Inclusive(1, 2)),
            (
                "bytes=18446744073709551615-",
                ByteRange::From(18_446_744_073_709_551_615),
            ),
        ] {
            assert_eq!(parsed(text), Some(range), "{text}");
        }
    }

    #[test]
    fn other_headers_are_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=0-1,x",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--2",
            "bytes=1 - 2",
            "bytes =1-2",
            "bytes=a-b",
            "bytes=18446744073709551616-",
            "bytes=0-18446744073709551616",
            "items=0-1",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn last_zero_bytes_cannot_be_satisfied() {
        assert_eq!(parsed("bytes=-0"), Some(ByteRange::Last(0)));
        assert_eq!(ByteRange::Last(0).resolve(10), None);
    }

    #[test]
    fn content_range_says_what_is_sent_of_how_much() {
        assert_eq!(content_range(2, 5, 10), "bytes 2-5/10");
        assert_eq!(unsatisfied(10), "bytes */10");
    }

    proptest! {
        #[test]
        fn every_range_reads_back_as_it_was_spelled(first in any::<u64>(), more in any::<u64>()) {
            for range in [
                ByteRange::From(first),
                ByteRange::Last(first),
                ByteRange::Inclusive(first, first.saturating_add(more)),
            ] {
                prop_assert_eq!(parsed(&spelled(range)), Some(range));
            }
        }

        #[test]
        fn no_header_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = parse(&value);
            }
        }

        #[test]
        fn what_is_read_is_spelled_as_it_was_given(text in "bytes=[0-9]{0,22}-[0-9]{0,22}") {
            if let Some(range) = parsed(&text) {
                prop_assert_eq!(parsed(&spelled(range)), Some(range));
            }
        }
    }
}
