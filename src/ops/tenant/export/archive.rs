//! The archive while it is written, and what is kept beside it so that it can
//! be gone on with.
//!
//! A line of the manifest is written only when the member that it describes is
//! durable. Whatever is behind the last line's member is cut off by who goes on.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf as _, Bytes};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use crate::digest::Digest;
use crate::ops::listing::ManifestLine;
use crate::tenant::TenantSettings;

/// Members are whole blocks of so many bytes.
const BLOCK: u64 = 512;
/// Two empty ones.
const END: [u8; 1024] = [0; 1024];
/// So much may have to be fetched again after a kill.
const UNNOTED_BYTES: u64 = 64 << 20;
const UNNOTED_FILES: usize = 1000;

/// A file on its way into the archive.
pub(super) struct Member {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    pub(super) modified: SystemTime,
}

/// An archive that is being written.
pub(super) struct Archive {
    output: Output,
    /// What has been written, and the end of the last whole member.
    position: u64,
    whole: u64,
    noted: u64,
    /// Lines of members that may not be durable.
    unnoted: Vec<String>,
    resumed: (u64, u64),
    /// The digests of the keys that an earlier run has written: servers do
    /// not agree on the order of keys.
    there: HashSet<Digest>,
}

enum Output {
    File {
        file: File,
        manifest: File,
        part: PathBuf,
        manifest_path: PathBuf,
        path: PathBuf,
        /// The line before the manifest's own: what is exported.
        origin: String,
    },
    /// The manifest stays in memory.
    Stream {
        writer: Box<dyn Write + Send>,
        manifest: Vec<u8>,
    },
}

impl Archive {
    pub(super) fn stream(writer: Box<dyn Write + Send>) -> Self {
        Self::new(Output::Stream {
            writer,
            manifest: Vec::new(),
        })
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            position: 0,
            whole: 0,
            noted: 0,
            unnoted: Vec::new(),
            resumed: (0, 0),
            there: HashSet::new(),
        }
    }

    /// Begins, or goes on with, the archive of this tenant.
    pub(super) fn file(path: &Path, tenant: &TenantSettings) -> Result<Self> {
        ensure!(
            path.symlink_metadata().is_err(),
            "{} is there already",
            path.display()
        );
        let beside = |end: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.{end}", tenant.id));
            path.with_file_name(name)
        };
        let (part, manifest_path) = (beside("part"), beside("manifest"));
        let open = |path: &Path| {
            let mut options = File::options();
            let opened = options
                .mode(0o600)
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path);
            opened.with_context(|| format!("{} cannot be written", path.display()))
        };
        let (file, manifest) = (open(&part)?, open(&manifest_path)?);
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("another export to it is under way"),
            locked => locked.map_err(io::Error::from)?,
        }
        let mut archive = Self::new(Output::File {
            file,
            manifest,
            part,
            manifest_path,
            path: path.to_owned(),
            origin: json!({"bucket": tenant.bucket, "folder": tenant.layout.folder()}).to_string()
                + "\n",
        });
        archive.resume()?;
        Ok(archive)
    }

    fn resume(&mut self) -> Result<()> {
        let Output::File {
            file,
            manifest,
            origin,
            ..
        } = &mut self.output
        else {
            return Ok(());
        };
        let mut lines = BufReader::new(&*manifest);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if !line.ends_with('\n') {
            manifest.set_len(0)?;
            manifest.rewind()?;
            manifest.write_all(origin.as_bytes())?;
            return Ok(file.set_len(0)?);
        }
        ensure!(
            line == *origin,
            "the unfinished archive beside it is of another folder: {}. Remove it and its \
             manifest, or name another --output",
            line.trim_end()
        );
        let mut good_bytes = line.len() as u64;
        line.clear();
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let member: ManifestLine = serde_json::from_str(&line)
                .context("the manifest beside the archive is damaged: remove it and the .part")?;
            good_bytes += line.len() as u64;
            self.whole = member.offset + member.size_bytes.next_multiple_of(BLOCK);
            self.resumed.0 += 1;
            self.resumed.1 += member.size_bytes;
            self.there.insert(Digest::of(member.key.as_bytes()));
            line.clear();
        }
        ensure!(
            file.metadata()?.len() >= self.whole,
            "the unfinished archive is shorter than its manifest says: remove both"
        );
        manifest.set_len(good_bytes)?;
        manifest.seek(SeekFrom::Start(good_bytes))?;
        file.set_len(self.whole)?;
        file.seek(SeekFrom::Start(self.whole))?;
        (self.position, self.noted) = (self.whole, self.whole);
        Ok(())
    }

    /// How many files, and bytes of them, an earlier run has written.
    pub(super) fn resumed(&self) -> (u64, u64) {
        self.resumed
    }

    /// The digests of their keys.
    pub(super) fn take_there(&mut self) -> HashSet<Digest> {
        std::mem::take(&mut self.there)
    }

    /// Writes a file, whose bytes end with a `None` when they are whole, and
    /// says where they begin.
    pub(super) fn append(
        &mut self,
        member: &Member,
        chunks: Receiver<Option<Bytes>>,
    ) -> io::Result<u64> {
        let body = Body {
            chunks,
            chunk: Bytes::new(),
            whole: false,
        };
        let name = format!("files/{}", member.key);
        self.append_entry(&name, member.size_bytes, member.modified, body)
    }

    fn append_entry(
        &mut self,
        name: &str,
        size_bytes: u64,
        modified: SystemTime,
        body: impl Read,
    ) -> io::Result<u64> {
        let mut header = tar::Header::new_gnu();
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        header.set_mtime(modified.as_secs());
        header.set_size(size_bytes);
        header.set_mode(0o644);
        // The end of an archive is written by `finish` alone.
        let mut builder = std::mem::ManuallyDrop::new(tar::Builder::new(&mut *self));
        builder.append_data(&mut header, name, body.take(size_bytes.saturating_add(1)))?;
        Ok(self.position - size_bytes.next_multiple_of(BLOCK))
    }

    /// Notes the member that was written last.
    pub(super) fn note(&mut self, line: &ManifestLine) -> Result<()> {
        let end = line.offset + line.size_bytes.next_multiple_of(BLOCK);
        ensure!(
            self.position == end,
            "a file has another size than it was said to have"
        );
        self.whole = self.position;
        self.unnoted.push(serde_json::to_string(line)? + "\n");
        if self.whole - self.noted >= UNNOTED_BYTES || self.unnoted.len() >= UNNOTED_FILES {
            self.note_all()?;
        }
        Ok(())
    }

    fn note_all(&mut self) -> io::Result<()> {
        let lines: String = self.unnoted.drain(..).collect();
        self.noted = self.whole;
        match &mut self.output {
            Output::File { file, manifest, .. } => {
                file.sync_data()?;
                manifest.write_all(lines.as_bytes())?;
                manifest.sync_data()
            }
            Output::Stream { manifest, .. } => manifest.write_all(lines.as_bytes()),
        }
    }

    /// Takes the member back that could not be read to its end.
    pub(super) fn take_back(&mut self) -> Result<()> {
        match &mut self.output {
            Output::File { file, .. } => {
                file.set_len(self.whole)?;
                file.seek(SeekFrom::Start(self.whole))?;
                self.position = self.whole;
                Ok(())
            }
            Output::Stream { .. } => {
                bail!(
                    "a file is damaged, and what has been sent cannot be taken back: export to a file"
                )
            }
        }
    }

    /// Writes the manifest and the end, and gives the archive its name.
    pub(super) fn finish(mut self) -> Result<()> {
        self.note_all()?;
        let (size_bytes, manifest): (u64, Box<dyn Read>) = match &mut self.output {
            Output::File {
                manifest_path,
                origin,
                ..
            } => {
                let mut manifest = File::open(manifest_path)?;
                let begin = manifest.seek(SeekFrom::Start(origin.len() as u64))?;
                (manifest.metadata()?.len() - begin, Box::new(manifest))
            }
            Output::Stream { manifest, .. } => {
                let manifest = std::mem::take(manifest);
                (manifest.len() as u64, Box::new(io::Cursor::new(manifest)))
            }
        };
        self.append_entry("manifest.jsonl", size_bytes, SystemTime::now(), manifest)?;
        self.write_all(&END)?;
        self.flush()?;
        let Output::File {
            file,
            part,
            manifest_path,
            path,
            ..
        } = &self.output
        else {
            return Ok(());
        };
        file.sync_all()?;
        // Fails where somebody has made it meanwhile.
        fs::hard_link(part, path).with_context(|| format!("{}", path.display()))?;
        fs::remove_file(part)?;
        fs::remove_file(manifest_path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

impl Write for Archive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.output {
            Output::File { file, .. } => file.write(bytes)?,
            Output::Stream { writer, .. } => writer.write(bytes)?,
        };
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.output {
            Output::File { .. } => Ok(()),
            Output::Stream { writer, .. } => writer.flush(),
        }
    }
}

/// Chunks as they come from the store.
struct Body {
    chunks: Receiver<Option<Bytes>>,
    chunk: Bytes,
    whole: bool,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.whole {
            match self.chunks.blocking_recv() {
                Some(Some(chunk)) => self.chunk = chunk,
                Some(None) => self.whole = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let taken = self.chunk.len().min(into.len());
        self.chunk.copy_to_slice(&mut into[..taken]);
        Ok(taken)
    }
}
