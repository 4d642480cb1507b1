//! The trace that a request belongs to, where its sender says so: W3C Trace
//! Context, <https://www.w3.org/TR/trace-context/>.
//!
//! Kura makes no spans for a collector. It takes the trace's id into its log,
//! where it leads from the web server's lines to those of S3's answers.

use axum::http::HeaderMap;

const TRACEPARENT: &str = "traceparent";
/// That of version 00: `00-TRACE-PARENT-FLAGS`. Later versions may be longer.
const LENGTH: usize = 55;

/// The id of the trace; `None` where there is none, or it is not well-formed.
pub(super) fn id_of(headers: &HeaderMap) -> Option<&str> {
    parse(headers.get(TRACEPARENT)?.to_str().ok()?)
}

fn parse(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = match version {
        "ff" => false,
        "00" => text.len() == LENGTH,
        _ => text.len() == LENGTH || text.as_bytes().get(LENGTH) == Some(&b'-'),
    };
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let says = |part: &str| part.bytes().any(|c| c != b'0');
    let valid = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    (fits && valid && says(trace) && says(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn trace_is_taken_from_a_well_formed_header_of_any_version() {
        for good in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-will-be"),
        ] {
            assert_eq!(parse(&good), Some(TRACE), "{good}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_no_trace() {
        for bad in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01.more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-0\n"),
        ] {
            assert_eq!(parse(&bad), None, "{bad:?}");
        }
    }
}
