//! What Redmine's database says of its attachments: a listing that a line of
//! SQL prints as CSV or TSV (see `docs/OPERATIONS.md`), or the manifest of an
//! export.
//!
//! Only where each row stands is kept in memory, 24 bytes for each: rows are
//! read from the file when they are asked for, in any order.

mod row;

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use self::row::{Columns, Format};
pub(super) use self::row::{ManifestLine, Row};

/// A file of rows, and where each of them stands.
pub(super) struct Listing {
    path: PathBuf,
    format: Format,
    columns: Columns,
    file: Mutex<File>,
    printed_at: SystemTime,
    places: Vec<Place>,
    hasher: RandomState,
}

/// A row in the file, found by the hash of its key.
struct Place {
    hash: u64,
    offset: u64,
    asked_for: AtomicBool,
}

impl Listing {
    /// Reads the listing once, to learn where its rows stand. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or a row not be understood.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let context = || format!("the listing {}", path.display());
        let file = File::open(path).with_context(context)?;
        let written = file.metadata().and_then(|metadata| metadata.modified());
        let mut lines = BufReader::new(&file);
        let format = Format::of(lines.fill_buf().with_context(context)?);
        let (columns, begin) = format.columns(&mut lines).with_context(context)?;
        let mut listing = Self {
            path: path.to_owned(),
            format,
            columns,
            printed_at: written.with_context(context)?,
            places: Vec::new(),
            hasher: RandomState::new(),
            file: Mutex::new(file.try_clone()?),
        };
        listing.find_places(&file, begin).with_context(context)?;
        Ok(listing)
    }

    fn find_places(&mut self, file: &File, begin: u64) -> Result<()> {
        let mut places = Vec::new();
        let mut printed_at: Option<SystemTime> = None;
        let mut file = file;
        file.seek(SeekFrom::Start(begin))?;
        for row in self.format.rows(file, &self.columns) {
            let (offset, row) = row.with_context(|| format!("row {}", places.len() + 1))?;
            // The first of them: others may have been asked the clock later.
            printed_at = row.printed_at.min(printed_at).or(row.printed_at);
            places.push(Place {
                hash: self.hasher.hash_one(&row.key),
                offset: begin + offset,
                asked_for: AtomicBool::new(false),
            });
        }
        places.sort_unstable_by_key(|place| (place.hash, place.offset));
        self.places = places;
        self.printed_at = printed_at.unwrap_or(self.printed_at);
        Ok(())
    }

    /// True without rows.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// When it was printed: of what has come since then it knows nothing. A
    /// listing that does not say has the time of its file.
    #[must_use]
    pub(super) fn printed_at(&self) -> SystemTime {
        self.printed_at
    }

    /// True when it says itself when it was printed.
    #[must_use]
    pub(super) fn says_when(&self) -> bool {
        self.columns.printed_at.is_some()
    }

    /// True when a row has this key. In one of 2^64 cases it may be true
    /// without: nothing is removed by mistake.
    #[must_use]
    pub(super) fn contains(&self, key: &str) -> bool {
        !self.places_of(key).is_empty()
    }

    /// What the rows of this key say; they share one file on disk. The row has
    /// been asked for, then.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub(super) fn find(&self, key: &str) -> Result<Option<Row>> {
        let mut found: Option<Row> = None;
        for place in self.places_of(key) {
            let row = self.read(place)?;
            if row.key != key {
                continue;
            }
            place.asked_for.store(true, Ordering::Relaxed);
            match &mut found {
                Some(first) => first.learn(row),
                None => found = Some(row),
            }
        }
        Ok(found)
    }

    /// The rows that nobody has asked for, each file on disk once.
    pub(super) fn not_asked_for(&self) -> impl Iterator<Item = Result<Row>> {
        let rest = self.places.iter();
        let rest = rest.filter(|place| !place.asked_for.load(Ordering::Relaxed));
        rest.filter_map(|place| {
            // Asking for the first of a file marks the others.
            let row = (!place.asked_for.load(Ordering::Relaxed)).then(|| self.read(place))?;
            let row = row.and_then(|row| self.find(&row.key));
            row.transpose()
        })
    }

    fn places_of(&self, key: &str) -> &[Place] {
        let hash = self.hasher.hash_one(key);
        let begin = self.places.partition_point(|place| place.hash < hash);
        let rest = &self.places[begin..];
        let same = rest.iter().take_while(|place| place.hash == hash).count();
        &rest[..same]
    }

    /// The file is local, and small enough to be in memory: it is read from
    /// wherever it is needed.
    fn read(&self, place: &Place) -> Result<Row> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(place.offset))?;
        let mut rows = self.format.rows(&mut *file, &self.columns);
        let (_, row) = rows
            .next()
            .with_context(|| format!("the listing {} has been cut", self.path.display()))??;
        ensure!(
            self.hasher.hash_one(&row.key) == place.hash,
            "the listing {} has been changed",
            self.path.display()
        );
        Ok(row)
    }
}

impl Format {
    /// The format of a file that begins so.
    fn of(begin: &[u8]) -> Self {
        let line = begin.split(|&byte| byte == b'\n').next().unwrap_or(begin);
        match line {
            [b'{', ..] => Self::Manifest,
            _ if line.contains(&b'\t') => Self::Tabs,
            _ => Self::Commas,
        }
    }
}

/// Small, because a single row is read at a time.
const ROW_BUFFER_BYTES: usize = 1024;

impl Format {
    /// The rows and where each begins, from where the file stands.
    fn rows<'a>(
        self,
        file: impl Read + 'a,
        columns: &'a Columns,
    ) -> Box<dyn Iterator<Item = Result<(u64, Row)>> + 'a> {
        match self {
            Self::Manifest => {
                let mut lines = BufReader::with_capacity(ROW_BUFFER_BYTES, file);
                let mut offset = 0;
                Box::new(std::iter::from_fn(move || {
                    let mut line = String::new();
                    let begin = offset;
                    match lines.read_line(&mut line) {
                        Ok(0) => None,
                        Ok(bytes) => {
                            offset += bytes as u64;
                            Some(Row::of_manifest(&line).map(|row| (begin, row)))
                        }
                        Err(error) => Some(Err(error.into())),
                    }
                }))
            }
            _ => Box::new(self.reader(file).into_byte_records().map(move |record| {
                let record = record?;
                let offset = record.position().map_or(0, csv::Position::byte);
                Ok((offset, self.row(&record, columns)?))
            })),
        }
    }

    fn reader<R: Read>(self, file: R) -> csv::Reader<R> {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).buffer_capacity(ROW_BUFFER_BYTES);
        if self == Self::Tabs {
            builder.delimiter(b'\t').quoting(false);
        }
        builder.from_reader(file)
    }

    /// The columns that the header names, and where the rows begin.
    fn columns(self, file: impl Read) -> Result<(Columns, u64)> {
        if self == Self::Manifest {
            return Ok((Columns::default(), 0));
        }
        let mut reader = self.reader(file);
        let mut header = csv::StringRecord::new();
        ensure!(reader.read_record(&mut header)?, "it is empty");
        Ok((Columns::named(&header)?, reader.position().byte()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn listing(text: &str) -> Result<Listing> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        Listing::open(file.path())
    }

    #[test]
    fn listings_of_all_three_databases_say_the_same() {
        let postgresql = format!(
            "disk_directory,disk_filename,filename,content_type,filesize,digest\n\
             2026/11,1_a.pdf,\"a, \"\"b\"\"\tc.pdf\",application/pdf,3,{SHA}\n\
             ,2_old,old,,,\n"
        );
        let sqlite = postgresql.replace('\n', "\r\n");
        let mysql = format!(
            "disk_directory\tdisk_filename\tfilename\tcontent_type\tfilesize\tdigest\n\
             2026/11\t1_a.pdf\ta, \"b\"\\tc.pdf\tapplication/pdf\t3\t{SHA}\n\
             NULL\t2_old\told\tNULL\tNULL\tNULL\n"
        );
        for text in [postgresql, sqlite, mysql] {
            let listing = listing(&text).unwrap();
            assert_eq!(listing.places.len(), 2, "{text}");
            let row = listing.find("2026/11/1_a.pdf").unwrap().unwrap();
            assert_eq!(row.file_name.as_deref(), Some("a, \"b\"\tc.pdf"));
            assert_eq!(row.content_type.as_deref(), Some("application/pdf"));
            assert_eq!(row.size_bytes, Some(3));
            assert_eq!(row.digest.unwrap().to_string(), SHA);
            let old = listing.find("2_old").unwrap().unwrap();
            assert_eq!(
                (old.content_type, old.size_bytes, old.digest),
                (None, None, None)
            );
            assert!(listing.find("2_").unwrap().is_none());
        }
    }

    #[test]
    fn rows_that_share_a_file_are_one_and_the_better_digest_counts() {
        let rows =
            format!("d,f,a.txt,text/plain,3,{MD5}\nd,g,,,1,\nd,f,copy.txt,text/plain,3,{SHA}\n");
        let header = "disk_directory,disk_filename,filename,content_type,filesize,digest\n";
        let listing = listing(&format!("{header}{rows}")).unwrap();
        let row = listing.find("d/f").unwrap().unwrap();
        assert_eq!(row.file_name.as_deref(), Some("a.txt"));
        assert_eq!(row.digest.unwrap().to_string(), SHA);
        let rest: Vec<_> = listing
            .not_asked_for()
            .map(|row| row.unwrap().key)
            .collect();
        assert_eq!(rest, ["d/g"]);
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_its_row() {
        for (text, wrong) in [
            ("", "it is empty"),
            ("id,filename\n1,a\n", "disk_filename"),
            (
                "disk_directory,disk_filename,filesize\na,b,1\na,c,much\n",
                "row 2",
            ),
            ("disk_directory,disk_filename,digest\na,b,xyz\n", "digest"),
            (
                "disk_directory,disk_filename,printed_at\na,b,99999999999\n",
                "printed_at",
            ),
            ("disk_directory,disk_filename\na,b,c\n", "row 1"),
        ] {
            let error = listing(text).map(drop).unwrap_err();
            assert!(format!("{error:#}").contains(wrong), "{text}: {error:#}");
        }
    }

    #[test]
    fn the_manifest_of_an_export_is_a_listing() {
        let line = format!(
            r#"{{"key":"2026/11/1_a","size_bytes":3,"sha256":"{SHA}","content_type":"text/plain","file_name":"ä"}}"#
        );
        let listing = listing(&format!("{line}\n{}\n", line.replace("1_a", "2_b"))).unwrap();
        let row = listing.find("2026/11/2_b").unwrap().unwrap();
        assert_eq!(row.file_name.as_deref(), Some("ä"));
        assert_eq!(row.size_bytes, Some(3));
    }
}
