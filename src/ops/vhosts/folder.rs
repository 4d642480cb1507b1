//! The directory of configurations: a file for each tenant, replaced as a
//! whole, and nobody else's touched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

/// What our files begin with, under both servers.
const MARK: &str = "# Made by kura vhosts ";
const EXTENSION: &str = ".conf";
/// There while the web server has not been told of what has changed.
const PENDING: &str = ".kura-vhosts-changed";
/// Far more than we write; what is larger is not ours.
const MAX_BYTES: u64 = 1024 * 1024;

/// The first line of a tenant's file.
pub(super) fn mark(file_name: &str) -> String {
    format!("{MARK}from {file_name}. What is changed here is lost.\n")
}

/// The directory.
pub(super) struct Folder {
    path: PathBuf,
    mode: u32,
    /// Two that write at the same time wait for each other.
    _lock: Option<File>,
}

/// What lies under a tenant's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Absent,
    /// One of ours, with its mode.
    Ours(String, u32),
    Foreign,
}

impl Folder {
    /// Opens the directory to look at it.
    pub(super) fn look(path: &Path, mode: u32) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            _lock: None,
        }
    }

    /// Makes the directory if need be, and opens it to write to it.
    pub(super) fn open(path: &Path, mode: u32) -> Result<Self> {
        let context = || format!("{} cannot be written to", path.display());
        fs::create_dir_all(path).with_context(context)?;
        let lock = File::open(path).with_context(context)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(context)?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::look(path, mode)
        })
    }

    pub(super) fn path_of(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}{EXTENSION}"))
    }

    pub(super) fn existing(&self, id: &str) -> Result<Existing> {
        let path = self.path_of(id);
        let found = read(&path);
        found.with_context(|| format!("{} cannot be read", path.display()))
    }

    /// The ids of all files that are ours.
    pub(super) fn ours(&self) -> Result<Vec<String>> {
        let context = || format!("{} cannot be listed", self.path.display());
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(context)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.with_context(context)?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(EXTENSION)) else {
                continue;
            };
            if matches!(self.existing(id)?, Existing::Ours(..)) {
                ids.push(id.to_owned());
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Puts the text under the tenant's name, durably and at once.
    pub(super) fn write(&self, id: &str, text: &str) -> Result<()> {
        let path = self.path_of(id);
        // Hidden, so that no `Include` takes it for one.
        let unfinished = self.path.join(format!(".{id}.new"));
        let written = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true);
            let mut file = options.mode(0o600).open(&unfinished)?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        written().with_context(|| format!("{} cannot be written", path.display()))
    }

    pub(super) fn remove(&self, id: &str) -> Result<()> {
        let path = self.path_of(id);
        fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))
    }

    /// Notes that the web server has to be told, so that a next run tells it
    /// if this one does not come to it.
    pub(super) fn set_pending(&self) -> Result<()> {
        let path = self.path.join(PENDING);
        let noted = File::create(&path);
        noted.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(())
    }

    /// Notes that it has been told.
    pub(super) fn unset_pending(&self) -> Result<()> {
        let path = self.path.join(PENDING);
        fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))
    }

    pub(super) fn is_pending(&self) -> bool {
        self.path.join(PENDING).exists()
    }
}

fn read(path: &Path) -> io::Result<Existing> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Existing::Absent),
        file => file?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Existing::Foreign);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.starts_with(MARK) => Existing::Ours(text, mode),
        _ => Existing::Foreign,
    })
}
