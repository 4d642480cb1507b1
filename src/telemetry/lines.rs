//! One JSON object a line, written straight into the line.
//!
//! The fields of a span are kept as the text that they will be: the formatter
//! that comes with `tracing-subscriber` parses them again for each event, which
//! was a third of the instructions of a small request.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Time, level, the event's fields, and `span` with those of the current span.
pub(super) struct Lines;

/// The fields of a span: `"name":value` pairs with commas between them.
pub(super) struct Pairs;

impl<S> FormatEvent<S, Pairs> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Pairs>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut fields = Fields::after(&mut out, true);
        event.record(&mut fields);
        fields.written?;
        if let Some(span) = context.lookup_current() {
            out.write_str(",\"span\":{")?;
            if let Some(pairs) = span.extensions().get::<FormattedFields<Pairs>>()
                && !pairs.is_empty()
            {
                write!(out, "{pairs},")?;
            }
            write!(out, "\"name\":\"{}\"}}", span.name())?;
        }
        out.write_str("}\n")
    }
}

impl<'w> FormatFields<'w> for Pairs {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Fields::after(&mut out, false);
        fields.record(&mut visitor);
        visitor.written
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let comma = !current.fields.is_empty();
        let mut out = current.as_writer();
        let mut visitor = Fields::after(&mut out, comma);
        fields.record(&mut visitor);
        visitor.written
    }
}

/// Writes fields one after the other.
struct Fields<'a, 'w> {
    out: &'a mut Writer<'w>,
    /// True when something stands before the next one.
    comma: bool,
    written: fmt::Result,
}

impl<'a, 'w> Fields<'a, 'w> {
    fn after(out: &'a mut Writer<'w>, comma: bool) -> Self {
        let written = Ok(());
        Self {
            out,
            comma,
            written,
        }
    }

    fn pair(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'w>) -> fmt::Result) {
        // Where a line of the `log` crate comes from: nobody has asked for it.
        if field.name().starts_with("log.") || self.written.is_err() {
            return;
        }
        let comma = if std::mem::replace(&mut self.comma, true) {
            ","
        } else {
            ""
        };
        self.written = self
            .out
            .write_str(comma)
            // A name is written in the code: it has nothing to escape.
            .and_then(|()| self.out.write_str("\""))
            .and_then(|()| self.out.write_str(field.name()))
            .and_then(|()| self.out.write_str("\":"))
            .and_then(|()| write(self.out));
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, |out| quoted(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.pair(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.pair(field, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.pair(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        self.pair(field, |out| {
            if value.is_finite() {
                write!(out, "{value}")
            } else {
                out.write_str("null")
            }
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.pair(field, |out| quoted(out, &format!("{value:?}")));
    }
}

/// A string of JSON. Hardly any has something to escape.
fn quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // To the end in any case: many bytes are compared at once then.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.write_str("\"")?;
        out.write_str(text)?;
        return out.write_str("\"");
    }
    let escaped = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    out.write_str(&escaped)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::field;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that is written, without its time.
    fn line(log: impl FnOnce()) -> Value {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(Pairs)
            .event_format(Lines)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line.as_object_mut().unwrap().remove("timestamp");
        assert!(time.unwrap().as_str().unwrap().ends_with('Z'));
        line
    }

    #[test]
    fn values_keep_their_types_and_what_has_none_is_left_out() {
        let missing: Option<&str> = None;
        let line = line(|| tracing::warn!(status = 200_u16, aborted = false, missing, "request"));
        let wanted =
            json!({"level": "WARN", "message": "request", "status": 200, "aborted": false});
        assert_eq!(line, wanted);
    }

    #[test]
    fn nothing_that_a_caller_sends_breaks_the_line() {
        let hostile = "\"},\n{\u{1b}[31m \\ \u{2028} 図";
        let line = line(|| {
            let error = io::Error::other(hostile);
            tracing::info!(text = hostile, %error, many = ?vec![1], "a \"message\"\n");
        });
        assert_eq!(line["text"], hostile);
        assert_eq!(line["error"], hostile);
        assert_eq!(line["many"], "[1]");
        assert_eq!(line["message"], "a \"message\"\n");
    }

    #[test]
    fn span_has_what_it_began_with_and_what_was_added() {
        let line = line(|| {
            let span = tracing::error_span!("request", request_id = "a\"b", tenant = field::Empty);
            span.record("tenant", "default");
            span.in_scope(|| tracing::info!("request"));
        });
        let wanted = json!({"name": "request", "request_id": "a\"b", "tenant": "default"});
        assert_eq!(line["span"], wanted);
        let line = self::line(|| {
            tracing::error_span!("bare").in_scope(|| tracing::info!("request"));
        });
        assert_eq!(line["span"], json!({"name": "bare"}));
    }
}
