//! Conditional `GET` and `HEAD` requests (RFC 9110 §13).
//!
//! A condition that cannot be understood never lets a client keep what is
//! stale nor takes two versions for one: a date that is none is ignored (§13.1.3,
//! §13.1.4), an entity tag that is none matches nothing, and an `If-Range`
//! that is neither leaves the range unserved.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They hold: answer as if there were none.
    Proceed,
    /// The client has this version already: 304.
    NotModified,
    /// The object is not the one that the client means: 412.
    Failed,
}

/// The conditions of a `GET` or `HEAD` request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    matching: Option<Tags>,
    none_matching: Option<Tags>,
    /// In seconds since 1970, as all dates here: HTTP knows no fractions.
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
    range_of: Option<RangeOf>,
}

/// The value of an `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any version, as long as there is one.
    Any,
    Listed(Vec<Tag>),
}

/// An entity tag: `"opaque"` or `W/"opaque"` (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    /// With its quotes. Not always UTF-8.
    opaque: Vec<u8>,
}

/// The version that an `If-Range` wants a range of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RangeOf {
    Tag(Tag),
    Date(u64),
    /// Neither could be read, so it is no version of ours.
    Unknown,
}

impl Preconditions {
    /// Reads the conditions of a request.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            matching: tags(headers, &IF_MATCH),
            none_matching: tags(headers, &IF_NONE_MATCH),
            modified_since: date(headers, &IF_MODIFIED_SINCE),
            unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
            range_of: range_of(headers),
        }
    }

    /// True when nothing has to be known of the object before it is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Weighs the conditions against an object with this strong `ETag`, in the
    /// order of RFC 9110 §13.2.2. `If-Range` has no part in it.
    #[must_use]
    pub fn evaluate(&self, etag: &str, modified: SystemTime) -> Outcome {
        let modified = unix_seconds(modified);
        let wanted = match (&self.matching, self.unmodified_since) {
            (Some(tags), _) => tags.contain_strongly(etag),
            (None, Some(date)) => modified <= date,
            (None, None) => true,
        };
        if !wanted {
            return Outcome::Failed;
        }
        let known = match (&self.none_matching, self.modified_since) {
            (Some(tags), _) => tags.contain_weakly(etag),
            (None, Some(date)) => modified <= date,
            (None, None) => false,
        };
        if known {
            Outcome::NotModified
        } else {
            Outcome::Proceed
        }
    }

    /// True when an `If-None-Match` lists the weak tag with this opaque part,
    /// quotes included. Nothing has to be known of an object for that.
    #[must_use]
    pub fn lists(&self, opaque: &str) -> bool {
        let tags = self.none_matching.as_ref();
        tags.is_some_and(|tags| *tags != Tags::Any && tags.contain_weakly(opaque))
    }

    /// True when a `Range` is to be served, false when the whole object is
    /// (RFC 9110 §13.1.5): the client may hold bytes of another version.
    #[must_use]
    pub fn range_applies(&self, etag: &str, modified: SystemTime) -> bool {
        match &self.range_of {
            None => true,
            Some(RangeOf::Tag(tag)) => tag.is_strongly(etag),
            Some(RangeOf::Date(date)) => *date == unix_seconds(modified),
            Some(RangeOf::Unknown) => false,
        }
    }
}

impl Tags {
    fn contain_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag.is_strongly(etag)),
        }
    }

    fn contain_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag.opaque == etag.as_bytes()),
        }
    }
}

impl Tag {
    /// Strong comparison (RFC 9110 §8.8.3.2): a weak tag is like no other.
    fn is_strongly(&self, etag: &str) -> bool {
        !self.weak && self.opaque == etag.as_bytes()
    }

    /// Reads the tag that `text` begins with, and what follows it.
    fn parse_prefix(text: &[u8]) -> Option<(Self, &[u8])> {
        let unprefixed = text.strip_prefix(b"W/");
        let body = unprefixed.unwrap_or(text);
        let inner = body.strip_prefix(b"\"")?;
        let length = inner.iter().position(|&c| c == b'"')?;
        let valid = |&c: &u8| matches!(c, 0x21 | 0x23..=0x7e | 0x80..);
        if !inner[..length].iter().all(valid) {
            return None;
        }
        let (opaque, rest) = body.split_at(length + 2);
        let tag = Self {
            weak: unprefixed.is_some(),
            opaque: opaque.to_vec(),
        };
        Some((tag, rest))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (tag, rest) = Self::parse_prefix(text)?;
        rest.is_empty().then_some(tag)
    }
}

/// The tags of a header, which may stand in several lines; `None` when there
/// is no such header.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    if single(headers, name).is_some_and(|value| value.as_bytes() == b"*") {
        return Some(Tags::Any);
    }
    let listed = lines.flat_map(|line| parse_list(line.as_bytes()));
    Some(Tags::Listed(listed.collect()))
}

/// Reads a list of tags, without those that are none. A tag may have commas
/// inside, so that the list cannot be cut at them.
fn parse_list(mut rest: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    loop {
        let gap = |c: &u8| matches!(c, b' ' | b'\t' | b',');
        rest = &rest[rest.iter().take_while(|c| gap(c)).count()..];
        if rest.is_empty() {
            return tags;
        }
        let parsed = Tag::parse_prefix(rest);
        let behind = parsed.as_ref().map_or(rest, |(_, behind)| behind);
        let end = behind.iter().position(|&c| c == b',');
        let (remainder, next) = behind.split_at(end.unwrap_or(behind.len()));
        if remainder.trim_ascii().is_empty() {
            tags.extend(parsed.map(|(tag, _)| tag));
        }
        rest = next;
    }
}

/// A date; `None` also when it is none or there are several (RFC 9110 §13.1.3).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    parse_date(single(headers, name)?)
}

fn parse_date(value: &HeaderValue) -> Option<u64> {
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(unix_seconds(date))
}

fn range_of(headers: &HeaderMap) -> Option<RangeOf> {
    headers.get(IF_RANGE)?;
    let read = |value: &HeaderValue| {
        let tag = Tag::parse(value.as_bytes()).map(RangeOf::Tag);
        tag.or_else(|| parse_date(value).map(RangeOf::Date))
    };
    let version = single(headers, &IF_RANGE).and_then(read);
    Some(version.unwrap_or(RangeOf::Unknown))
}

/// The value of a header that stands in exactly one line.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next()?;
    lines.next().is_none().then_some(value)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"abc\"";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    /// [`SAME`], with the fraction of a second that stores know.
    fn modified() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(784_111_777_900)
    }

    fn conditions(lines: &[(&HeaderName, &str)]) -> Preconditions {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Preconditions::from_headers(&headers)
    }

    fn outcome(lines: &[(&HeaderName, &str)]) -> Outcome {
        conditions(lines).evaluate(ETAG, modified())
    }

    #[test]
    fn request_without_conditions_proceeds() {
        assert!(conditions(&[]).is_empty());
        assert_eq!(outcome(&[]), Outcome::Proceed);
        assert!(!conditions(&[(&IF_RANGE, "?")]).is_empty());
    }

    #[test]
    fn if_match_wants_the_same_strong_tag() {
        for (value, expected) in [
            ("\"abc\"", Outcome::Proceed),
            ("\"x\", \"abc\"", Outcome::Proceed),
            ("*", Outcome::Proceed),
            ("W/\"abc\"", Outcome::Failed),
            ("\"x\"", Outcome::Failed),
            ("abc", Outcome::Failed),
            ("", Outcome::Failed),
            ("\"x\", *", Outcome::Failed),
        ] {
            assert_eq!(outcome(&[(&IF_MATCH, value)]), expected, "{value}");
        }
    }

    #[test]
    fn if_none_match_knows_weak_tags_too() {
        for (value, expected) in [
            ("\"abc\"", Outcome::NotModified),
            ("W/\"abc\"", Outcome::NotModified),
            (" ,, \"x,\\\",\tW/\"abc\" ,", Outcome::NotModified),
            ("junk, \"abc\"", Outcome::NotModified),
            ("*", Outcome::NotModified),
            ("\"x\"", Outcome::Proceed),
            ("w/\"abc\"", Outcome::Proceed),
            ("\"abc\"x", Outcome::Proceed),
            ("\"a,\"abc\"", Outcome::Proceed),
            ("\"abc", Outcome::Proceed),
        ] {
            assert_eq!(outcome(&[(&IF_NONE_MATCH, value)]), expected, "{value}");
        }
    }

    #[test]
    fn weak_tag_is_found_among_those_listed() {
        for (value, expected) in [
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", false),
            ("\"x\"", false),
        ] {
            let conditions = conditions(&[(&IF_NONE_MATCH, value)]);
            assert_eq!(conditions.lists(ETAG), expected, "{value}");
        }
        assert!(!conditions(&[]).lists(ETAG));
    }

    #[test]
    fn tags_may_stand_in_several_lines() {
        let lines = [(&IF_NONE_MATCH, "\"x\""), (&IF_NONE_MATCH, "\"abc\"")];
        assert_eq!(outcome(&lines), Outcome::NotModified);
    }

    #[test]
    fn dates_are_compared_to_the_second() {
        for (name, value, expected) in [
            (&IF_MODIFIED_SINCE, BEFORE, Outcome::Proceed),
            (&IF_MODIFIED_SINCE, SAME, Outcome::NotModified),
            (&IF_MODIFIED_SINCE, AFTER, Outcome::NotModified),
            (&IF_UNMODIFIED_SINCE, BEFORE, Outcome::Failed),
            (&IF_UNMODIFIED_SINCE, SAME, Outcome::Proceed),
            (&IF_UNMODIFIED_SINCE, AFTER, Outcome::Proceed),
        ] {
            assert_eq!(outcome(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn dates_that_are_none_are_ignored() {
        for name in [&IF_MODIFIED_SINCE, &IF_UNMODIFIED_SINCE] {
            assert!(conditions(&[(name, "yesterday")]).is_empty());
            assert!(conditions(&[(name, SAME), (name, SAME)]).is_empty());
        }
    }

    #[test]
    fn tags_outrank_dates() {
        let known = [(&IF_NONE_MATCH, ETAG), (&IF_MODIFIED_SINCE, BEFORE)];
        assert_eq!(outcome(&known), Outcome::NotModified);
        let new = [(&IF_NONE_MATCH, "\"x\""), (&IF_MODIFIED_SINCE, AFTER)];
        assert_eq!(outcome(&new), Outcome::Proceed);
        let wanted = [(&IF_MATCH, ETAG), (&IF_UNMODIFIED_SINCE, BEFORE)];
        assert_eq!(outcome(&wanted), Outcome::Proceed);
    }

    #[test]
    fn failing_outranks_not_modified() {
        let lines = [(&IF_MATCH, "\"x\""), (&IF_NONE_MATCH, ETAG)];
        assert_eq!(outcome(&lines), Outcome::Failed);
        let lines = [(&IF_MATCH, ETAG), (&IF_NONE_MATCH, ETAG)];
        assert_eq!(outcome(&lines), Outcome::NotModified);
    }

    #[test]
    fn if_range_wants_exactly_this_version() {
        let applies = |lines: &[_]| conditions(lines).range_applies(ETAG, modified());
        assert!(applies(&[]));
        assert!(applies(&[(&IF_RANGE, ETAG)]));
        assert!(applies(&[(&IF_RANGE, SAME)]));
        for value in [BEFORE, AFTER, "W/\"abc\"", "\"x\"", "*", "?", ""] {
            assert!(!applies(&[(&IF_RANGE, value)]), "{value}");
        }
        assert!(!applies(&[(&IF_RANGE, ETAG), (&IF_RANGE, ETAG)]));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            values in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    "[W/\"*, \ta-cé]{0,12}".prop_map(String::into_bytes),
                ],
                5..10,
            ),
        ) {
            let names = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];
            let mut headers = HeaderMap::new();
            for (name, bytes) in names.iter().cycle().zip(&values) {
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    headers.append(name, value);
                }
            }
            let read = Preconditions::from_headers(&headers);
            let _ = read.evaluate(ETAG, modified());
            let _ = read.range_applies(ETAG, modified());
        }

        #[test]
        fn every_list_reads_back(
            written in proptest::collection::vec((any::<bool>(), "\"[!#-~]{0,8}\""), 0..6),
        ) {
            let spelled = |(weak, opaque): &(bool, String)| {
                format!("{}{opaque}", if *weak { "W/" } else { "" })
            };
            let text = written.iter().map(spelled).collect::<Vec<_>>().join(" , ");
            let read: Vec<_> = parse_list(text.as_bytes())
                .into_iter()
                .map(|tag| (tag.weak, String::from_utf8(tag.opaque).unwrap()))
                .collect();
            prop_assert_eq!(read, written);
        }
    }
}
