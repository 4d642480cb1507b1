//! The names of entries: safe to unpack, and each but once.
//!
//! No name is a path, whatever was asked for: unpacked, every file lies in the
//! folder that the archive is unpacked in. Names that occur again are
//! numbered as Redmine does it (`Attachment.archive_attachments`).

use std::collections::{HashMap, HashSet};

/// Redmine keeps no longer name, and a ZIP record has room for 65,535 bytes.
const MAX_NAME_CHARS: usize = 255;

/// The names to use in an archive, in the order given: `a.txt`, and when it
/// comes again `a(1).txt`. As in Redmine, `A.txt` is another name.
#[must_use]
pub fn unique_names(names: Vec<String>) -> Vec<String> {
    let mut taken = HashSet::with_capacity(names.len());
    // What has been taken stays so: counting on from the last number finds
    // what counting from one would, without quadratic time.
    let mut numbers: HashMap<String, u64> = HashMap::new();
    names
        .into_iter()
        .map(|name| {
            let name = safe_name(&name);
            let mut unique = name.clone();
            while taken.contains(&unique) {
                let number = numbers.entry(name.clone()).or_default();
                *number += 1;
                unique = numbered(&name, *number);
            }
            taken.insert(unique.clone());
            unique
        })
        .collect()
}

/// The last segment of a name, as Redmine keeps it of an upload's, with `_`
/// for what Unix or Windows cannot have in a file name: a colon would name a
/// drive or a stream.
fn safe_name(name: &str) -> String {
    let segment = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let forbidden =
        |c: char| c.is_control() || matches!(c, '"' | '*' | ':' | '<' | '>' | '?' | '|');
    let safe: String = segment
        .chars()
        .take(MAX_NAME_CHARS)
        .map(|c| if forbidden(c) { '_' } else { c })
        .collect();
    // Windows drops dots and spaces at the end and would see `..` in `.. .`.
    if safe.chars().all(|c| matches!(c, '.' | ' ')) {
        return "_".to_owned();
    }
    safe
}

/// Puts the number before the extension, which is what Ruby's `File.extname`
/// takes for one: a dot that the name begins with starts none.
fn numbered(name: &str, number: u64) -> String {
    let visible = name.trim_start_matches('.');
    let extension = visible.rfind('.').map_or("", |dot| &visible[dot..]);
    let base = &name[..name.len() - extension.len()];
    format!("{base}({number}){extension}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unique(names: &[&str]) -> Vec<String> {
        unique_names(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn names_that_come_again_are_numbered_as_redmine_does() {
        let names = ["a.txt", "a.txt", "a(1).txt", "a.txt", "A.txt", "a(1).txt"];
        assert_eq!(
            unique(&names),
            [
                "a.txt",
                "a(1).txt",
                "a(1)(1).txt",
                "a(2).txt",
                "A.txt",
                "a(1)(2).txt"
            ]
        );
    }

    #[test]
    fn numbers_that_are_taken_are_passed_over() {
        assert_eq!(
            unique(&["a(1)", "a(2)", "a", "a", "a"]),
            ["a(1)", "a(2)", "a", "a(3)", "a(4)"]
        );
    }

    #[test]
    fn number_stands_before_what_ruby_takes_for_the_extension() {
        for (name, again) in [
            ("x.tar.gz", "x.tar(1).gz"),
            ("README", "README(1)"),
            (".profile", ".profile(1)"),
            ("..a", "..a(1)"),
            (".a.b", ".a(1).b"),
            ("見積.pdf", "見積(1).pdf"),
            ("a.", "a(1)."),
        ] {
            assert_eq!(unique(&[name, name])[1], again);
        }
    }

    #[test]
    fn paths_become_names() {
        for (name, safe) in [
            ("/etc/passwd", "passwd"),
            ("../../x", "x"),
            ("..\\..\\x", "x"),
            ("C:\\x", "x"),
            ("C:x", "C_x"),
            ("a/..", "_"),
            ("..", "_"),
            (".. .", "_"),
            ("a/", "_"),
            ("", "_"),
            ("a\0b\nc\u{9b}", "a_b_c_"),
            ("a..b", "a..b"),
        ] {
            assert_eq!(unique(&[name]), [safe], "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn names_are_safe_and_each_but_once(
            names in proptest::collection::vec(
                prop_oneof!["[ab.(1)/\\\\]{0,6}", any::<String>()],
                0..40,
            ),
        ) {
            let unique = unique_names(names.clone());
            prop_assert_eq!(unique.len(), names.len());
            prop_assert_eq!(unique.iter().collect::<HashSet<_>>().len(), names.len());
            for name in &unique {
                prop_assert!(!name.contains(['/', '\\']) && !name.contains(char::is_control));
                prop_assert!(!matches!(name.as_str(), "" | "." | ".."));
                prop_assert!(u16::try_from(name.len()).is_ok());
            }
            prop_assert_eq!(unique_names(unique.clone()), unique);
        }
    }
}
