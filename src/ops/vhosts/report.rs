//! What has become of the files, for people and for scripts.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

/// A value of a tenant's file, or the file itself, that cannot be used.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    /// The key path; `None` when it is not a single key's.
    pub(super) key: Option<String>,
    /// The line of the tenant's file, counted from 1.
    pub(super) line: Option<u64>,
    /// What is wrong, without the value.
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn of_key(key: &str, problem: &str) -> Self {
        Self {
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            ..Self::of_file(problem)
        }
    }

    pub(super) fn of_file(problem: &str) -> Self {
        Self {
            key: None,
            line: None,
            problem: problem.to_owned(),
        }
    }

    pub(super) fn at(self, line: Option<u64>) -> Self {
        Self { line, ..self }
    }
}

/// A tenant whose file is left as it was.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) tenant: String,
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) fault: Fault,
}

/// What has become of the files: ids, but for those that need no word.
#[derive(Default, Debug, Serialize)]
pub(super) struct Report {
    pub(super) new: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) unchanged: usize,
    pub(super) refused: Vec<Refused>,
}

impl Report {
    /// How many files differ from what was.
    pub(super) fn changes(&self) -> usize {
        self.new.len() + self.changed.len() + self.removed.len()
    }

    /// The files that differ, each with its path, and the sums.
    pub(super) fn text(&self, path_of: impl Fn(&str) -> std::path::PathBuf) -> String {
        let mut out = String::new();
        for (word, ids) in [
            ("new", &self.new),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ] {
            for id in ids {
                let _ = writeln!(out, "{word:<8} {}", Path::display(&path_of(id)));
            }
        }
        let _ = writeln!(
            out,
            "{} new, {} changed, {} removed, {} unchanged, {} refused",
            self.new.len(),
            self.changed.len(),
            self.removed.len(),
            self.unchanged,
            self.refused.len()
        );
        out
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.file)?;
        if let Some(line) = self.fault.line {
            write!(out, ":{line}")?;
        }
        if let Some(key) = &self.fault.key {
            write!(out, ": {key}")?;
        }
        write!(out, ": {}", self.fault.problem)
    }
}
