//! Values as words of a web server's configuration, so that none ends its
//! word, its line or its string, whatever template they stand in.
//!
//! What the template itself says passes as it is. A value between double
//! quotes is escaped; anywhere else it must be a plain word, also in single
//! quotes within double ones, as Apache's expressions have them. What no
//! escape can save is refused.

use std::ops::Range;

use minijinja::{OutputSpan, OutputSpanKind};

use super::Server;
use crate::ops::tenant::masked::MASK;

/// The longest value, in bytes. nginx takes no word of more than 4,096.
const MAX_VALUE_BYTES: usize = 2000;

/// Why a value or its template cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error("has a line break or another control character")]
    Control,
    #[error("has more than {MAX_VALUE_BYTES} bytes")]
    TooLong,
    #[error("has `${{` or `%{{`, which Apache replaces and lets nobody escape")]
    Reference,
    #[error("has `$`, which nginx replaces here and lets nobody escape")]
    Variable,
    #[error("is not a plain word, as it must be outside of double quotes and within single ones")]
    NotPlain,
    #[error("stands behind a backslash of the template")]
    Backslash,
    #[error("a quoted string of the template does not end on its line")]
    OpenString,
}

/// A value or a place of the template that was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    /// Where in the output of the template.
    pub(super) at: Range<usize>,
}

/// What can be said of a value before it is known where it will stand.
pub(super) fn check(value: &str, server: Server) -> Result<(), Refusal> {
    let replaced = ["${", "%{"].iter().any(|start| value.contains(start));
    if value.chars().any(char::is_control) {
        Err(Refusal::Control)
    } else if value.len() > MAX_VALUE_BYTES {
        Err(Refusal::TooLong)
    } else if server == Server::Apache && replaced {
        Err(Refusal::Reference)
    } else {
        Ok(())
    }
}

/// Puts a template's output together: what it says itself, and its values as
/// words; and the same with [`MASK`] for each value that is `hidden`.
pub(super) fn compose(
    output: &str,
    spans: &[OutputSpan],
    server: Server,
    hidden: impl Fn(&OutputSpan, &str) -> bool,
) -> Result<(String, String), Refused> {
    let (mut text, mut masked) = (String::new(), String::new());
    let mut place = Place::default();
    for span in spans {
        let range = span.output_range();
        let refuse = |why| Refused {
            why,
            at: span.output_range(),
        };
        let piece = &output[range];
        if span.kind() == OutputSpanKind::Raw {
            for c in piece.chars() {
                place.pass(c).map_err(refuse)?;
            }
            text.push_str(piece);
            masked.push_str(piece);
            continue;
        }
        let line = text.rsplit('\n').next().unwrap_or_default().trim_start();
        let word = word(piece, &place, line, server).map_err(refuse)?;
        text.push_str(&word);
        masked.push_str(if hidden(span, piece) { MASK } else { &word });
        place.before = 'x';
    }
    Ok((text, masked))
}

/// A value as it must be written at a place; `line` is what stands before it.
fn word(value: &str, place: &Place, line: &str, server: Server) -> Result<String, Refusal> {
    check(value, server)?;
    // The only directive with values of tenants in which `$` is just that.
    let literal = line.starts_with("passenger_env_var ");
    if server == Server::Nginx && value.contains('$') && !literal {
        return Err(Refusal::Variable);
    }
    if place.escaped {
        return Err(Refusal::Backslash);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@+,=~*[]-".contains(c);
    match place.within {
        Within::Quotes => Ok(value.replace('\\', "\\\\").replace('"', "\\\"")),
        _ if !value.is_empty() && value.chars().all(plain) => Ok(value.to_owned()),
        _ => Err(Refusal::NotPlain),
    }
}

/// Where in a configuration one is.
struct Place {
    within: Within,
    /// Behind a backslash.
    escaped: bool,
    before: char,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Line,
    Quotes,
    /// Single quotes within double ones.
    Inner,
    SingleQuotes,
    Comment,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            within: Within::Line,
            escaped: false,
            before: '\n',
        }
    }
}

impl Place {
    /// Goes past a character of the template. A quote opens a string only
    /// where a word begins, which is all that both servers agree on.
    fn pass(&mut self, c: char) -> Result<(), Refusal> {
        let begins = self.before.is_whitespace();
        self.within = match (self.within, c) {
            (Within::Quotes | Within::Inner | Within::SingleQuotes, '\n') => {
                return Err(Refusal::OpenString);
            }
            (Within::Line | Within::Comment, '\n') => Within::Line,
            (Within::Line, '"') if begins => Within::Quotes,
            (Within::Line, '\'') if begins => Within::SingleQuotes,
            (Within::Line, '#') if begins => Within::Comment,
            (Within::Quotes | Within::Inner, '"') | (Within::SingleQuotes, '\'')
                if !self.escaped =>
            {
                Within::Line
            }
            (Within::Quotes, '\'') => Within::Inner,
            (Within::Inner, '\'') => Within::Quotes,
            (within, _) => within,
        };
        self.escaped = c == '\\' && !self.escaped;
        self.before = c;
        Ok(())
    }
}
