//! What became of each file. What was skipped is listed one by one: the files
//! that need somebody's eye.

use indicatif::HumanBytes;
use serde::Serialize;

use crate::ops::progress::count;

/// What became of one file.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has been moved; in a dry run, it would be.
    Moved {
        size_bytes: u64,
        source_removed: bool,
    },
    /// The same file was there already.
    There {
        size_bytes: u64,
        source_removed: bool,
    },
    /// It is no attachment.
    LeftOut(String),
    /// It needs somebody's eye.
    Skipped(String),
}

/// What became of all.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    moved: Count,
    there: Count,
    sources_removed: u64,
    left_out: Vec<Noted>,
    skipped: Vec<Noted>,
}

#[derive(Debug, Default, Serialize)]
struct Count {
    files: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Noted {
    file: String,
    why: String,
}

impl Count {
    fn add(&mut self, size_bytes: u64) {
        self.files += 1;
        self.bytes += size_bytes;
    }
}

impl Report {
    pub(super) fn add(&mut self, file: String, outcome: Outcome) {
        match outcome {
            Outcome::Moved {
                size_bytes,
                source_removed,
            } => {
                self.moved.add(size_bytes);
                self.sources_removed += u64::from(source_removed);
            }
            Outcome::There {
                size_bytes,
                source_removed,
            } => {
                self.there.add(size_bytes);
                self.sources_removed += u64::from(source_removed);
            }
            Outcome::LeftOut(why) => self.left_out.push(Noted { file, why }),
            Outcome::Skipped(why) => self.skipped.push(Noted { file, why }),
        }
    }

    pub(super) fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// The counts alone, for the audit line.
    pub(super) fn counts(&self) -> serde_json::Map<String, serde_json::Value> {
        let counts = [
            ("files", self.moved.files),
            ("bytes", self.moved.bytes),
            ("there_already", self.there.files),
            ("sources_removed", self.sources_removed),
            ("skipped", self.skipped.len() as u64),
        ];
        let counts = counts.map(|(name, count)| (name.to_owned(), count.into()));
        counts.into_iter().collect()
    }

    /// Prints it for people; `moved` is what has become, or would become, of
    /// the files that were not there.
    pub(super) fn print(&mut self, moved: &str) {
        let line = |title: &str, number: u64, bytes: Option<u64>| {
            let files = count(number, "file");
            let bytes = bytes.map(|bytes| HumanBytes(bytes).to_string());
            let line = format!("{title:16}{files:>16}{:>14}", bytes.unwrap_or_default());
            println!("{}", line.trim_end());
        };
        line(moved, self.moved.files, Some(self.moved.bytes));
        line("there already", self.there.files, Some(self.there.bytes));
        if self.sources_removed > 0 {
            line("source removed", self.sources_removed, None);
        }
        for (title, noted) in [
            ("left out", &mut self.left_out),
            ("skipped", &mut self.skipped),
        ] {
            line(title, noted.len() as u64, None);
            noted.sort_by(|one, other| one.file.cmp(&other.file));
            for Noted { file, why } in noted {
                // A name may have anything in it, also what moves a cursor.
                println!("  {}: {why}", file.escape_debug());
            }
        }
    }
}
