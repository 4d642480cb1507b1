//! What would change in a file, without showing a secret: those of the new
//! text are known, and of the old one only what never is one.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use super::template::Rendered;
use crate::ops::tenant::masked::{MASK, is_secret};

/// What may be shown of the old text: it may have been made by another
/// template, with a secret where the new text has none. The last words of what
/// a line sets, under both servers.
const SHOWN: &[&str] = &[
    "ServerName",
    "server_name",
    "ip",
    "allow",
    "RAILS_DB",
    "RAILS_DB_HOST",
    "RAILS_DB_USERNAME",
    "S3_BUCKET_NAME",
    "S3_FOLDER_NAME",
    "KURA_URL",
    "KURA_DELIVERY",
    "KURA_CACHE_DIR",
    "DocumentRoot",
    "root",
    "PassengerAppRoot",
    "passenger_app_root",
];

/// The lines that differ, with `-` or `+` before them.
pub(super) fn diff(old: &str, new: &Rendered) -> String {
    let masked: Vec<_> = new.masked.lines().collect();
    let mut out = String::new();
    let diff = TextDiff::from_lines(old, &new.text);
    for change in diff.iter_all_changes() {
        let line = change.value().trim_end_matches('\n');
        let _ = match (change.tag(), change.new_index()) {
            (ChangeTag::Delete, _) => writeln!(out, "- {}", old_line(line, &masked)),
            (ChangeTag::Insert, Some(index)) => {
                writeln!(out, "+ {}", masked.get(index).unwrap_or(&MASK))
            }
            _ => Ok(()),
        };
    }
    out
}

/// A line is shown when it stands in the new text, or sets what the new text
/// sets, too, and what is no secret in either. Else only what it sets is.
fn old_line(line: &str, masked: &[&str]) -> String {
    let harmless = |new: &&str| subject(new) == subject(line) && !new.contains(MASK);
    let name = subject(line).split_whitespace().next_back();
    let never_secret = SHOWN.contains(&name.unwrap_or_default()) && !is_secret("", line);
    if masked.contains(&line) || never_secret && masked.iter().any(harmless) {
        return line.to_owned();
    }
    let mut words = line.split_whitespace();
    let directive = words.next().unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    match directive {
        "SetEnv" | "passenger_env_var" => {
            let name = words.next().unwrap_or_default();
            format!("{indent}{directive} {name} {MASK}")
        }
        _ => format!("{indent}{directive} {MASK}"),
    }
}

/// What a line sets: all before its first quote, or before its last word.
fn subject(line: &str) -> &str {
    let line = line.trim();
    let end = line.find('"').or_else(|| line.rfind(char::is_whitespace));
    end.map_or(line, |end| line[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_and_secrets_are_not_neither_new_nor_old() {
        let new = |password: &str| {
            format!(
                "ServerName b.example.com\nSetEnv RAILS_DB \"b\"\nSetEnv RAILS_DB_PASSWORD \"{password}\"\n"
            )
        };
        let rendered = Rendered {
            text: new("new one"),
            masked: new(MASK),
        };
        // What was made of a secret before is not any more.
        let variable = |value: &str| format!("SetEnv SMTP \"{value}\"\n");
        let login = Rendered {
            text: variable("login"),
            masked: variable("login"),
        };
        assert_eq!(
            diff(&variable("hunter2"), &login),
            format!("- SetEnv SMTP {MASK}\n+ SetEnv SMTP \"login\"\n")
        );
        // Without a password there is no secret in the new text.
        let without = Rendered {
            text: new(""),
            masked: new(""),
        };
        assert!(!diff(&new("old one"), &without).contains("old one"));
        let old = "ServerName a.example.com\nSetEnv RAILS_DB \"a\"\nSetEnv RAILS_DB_PASSWORD \"old one\"\nSetEnv OTHER \"old other\"\nold word\n";
        assert_eq!(
            diff(old, &rendered),
            "- ServerName a.example.com\n\
             - SetEnv RAILS_DB \"a\"\n\
             - SetEnv RAILS_DB_PASSWORD ********\n\
             - SetEnv OTHER ********\n\
             - old ********\n\
             + ServerName b.example.com\n\
             + SetEnv RAILS_DB \"b\"\n\
             + SetEnv RAILS_DB_PASSWORD \"********\"\n"
        );
    }
}
