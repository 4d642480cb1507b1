//! Writes what was measured into `docs/BENCHMARKS.md`, each answer between the
//! two marks of its section, so that the prose around it stays.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The document; a trial's goes to `target`, so that no toy figure is published.
pub(crate) struct Report {
    path: PathBuf,
    text: String,
}

impl Report {
    pub(crate) fn open() -> Self {
        let text = fs::read_to_string(docs().join("BENCHMARKS.md")).unwrap();
        let path = written("BENCHMARKS.md");
        Self { path, text }
    }

    /// Writes at once: a run that is broken off leaves what it has found.
    pub(crate) fn write(&mut self, section: &str, answer: &str) {
        let marks = ["start", "end"].map(|mark| format!("<!-- {section}:{mark} -->"));
        let place = self.text.split_once(&marks[0]).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(&marks[1])?;
            Some((before.to_owned(), after.to_owned()))
        });
        let Some((before, after)) = place else {
            panic!("docs/BENCHMARKS.md has no place for {section}");
        };
        let answer = answer.trim();
        self.text = format!("{before}{}\n{answer}\n{}{after}", marks[0], marks[1]);
        fs::write(&self.path, &self.text).unwrap();
    }
}

/// True when only the harness is to be tried.
pub(crate) fn quick() -> bool {
    std::env::var_os("QUICK").is_some_and(|value| !value.is_empty())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Where a file of the report goes.
pub(crate) fn written(file: &str) -> PathBuf {
    let docs = if quick() {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-trial")
    } else {
        docs()
    };
    let path = docs.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// A table, built row by row.
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let rule = "---|".repeat(heads.len());
        Self(format!("| {} |\n|{rule}\n", heads.join(" | ")))
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Three digits are all that a measurement has.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        some if some >= 10.0 => 1,
        few if few >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 && text.len() > 3 {
        let mut grouped = String::new();
        for (index, digit) in text.chars().enumerate() {
            if index > 0 && (text.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return grouped;
    }
    text
}

/// A figure that may not have been measured.
pub(crate) fn or_not_run(value: Option<f64>) -> String {
    value.map_or_else(|| "not run".to_owned(), number)
}

/// A ratio, and whether it is at least (or at most) what is aimed at.
pub(crate) fn goal(ratio: f64, aimed_at: Goal) -> String {
    let met = match aimed_at {
        Goal::AtLeast(goal) => ratio >= goal,
        Goal::AtMost(goal) => ratio <= goal,
    };
    let verdict = if met { "" } else { " **missed**" };
    format!("{}{verdict}", number(ratio))
}

/// What is aimed at.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// As people write sizes.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        giga if giga >= 1_000_000_000 => format!("{} GB", giga / 1_000_000_000),
        mega if mega >= 1_000_000 => format!("{} MB", mega / 1_000_000),
        kilo => format!("{} KB", kilo / 1024),
    }
}
