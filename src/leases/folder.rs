//! The files themselves, in a directory that other processes read:
//!
//! ```text
//! leases/                        may be passed, not listed
//!   lock                         held by the process that has the directory
//!   boot                         of which start of the machine all this is
//!   tmp/                         what is not complete, or being removed
//!   {tenant}/                    unguessable
//!     {key}{version}/            modified: when the lease expires
//!       261122194501_report.pdf  complete and read-only; modified: as the object
//! ```
//!
//! Nothing is synced: what was written before the machine crashed is not
//! trusted, and removed. Everything here blocks.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::index::{Entry, FileId, Owner, Version};
use crate::cache::place::{Place, make_directory};
use crate::digest::{Digest, Hasher};

/// Others may pass through, to a place that they know, and not look around.
const PASSABLE: u32 = 0o711;
/// The same, of a file that is not current any more. The bit has no other
/// meaning where only one user may write.
const WITHDRAWN: u32 = 0o1711;
/// Everybody who knows the place may read.
const READABLE: u32 = 0o444;
/// Differs with each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The directory of leased files.
#[derive(Debug)]
pub(super) struct Folder(Place);

/// A file that is being written. Dropped, it is gone, unless it has landed.
pub(super) struct Unfinished {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    written_bytes: u64,
}

impl Folder {
    /// Takes the directory, which is made if need be, and finds out what is
    /// there.
    ///
    /// # Errors
    /// When it cannot be used, or another process has it
    /// ([`io::ErrorKind::WouldBlock`]).
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<(Owner, Entry)>)> {
        let root = std::path::absolute(directory)?.join("leases");
        let folder = Self(Place::take(root, PASSABLE)?);
        folder.clear_unless_of_this_boot()?;
        let found = folder.scan();
        Ok((folder, found))
    }

    fn clear_unless_of_this_boot(&self) -> io::Result<()> {
        let boot = boot();
        let noted = fs::read(self.0.root().join("boot")).ok();
        if boot.is_empty() || noted != Some(boot) {
            for (_, path) in tenants_in(self.0.root()) {
                remove_if_there(&path)?;
            }
            self.note_boot()?;
        }
        Ok(())
    }

    fn note_boot(&self) -> io::Result<()> {
        fs::write(self.0.root().join("boot"), boot())
    }

    /// What is there and whole; whatever else is there is removed.
    fn scan(&self) -> Vec<(Owner, Entry)> {
        let mut found = Vec::new();
        for (tenant, path) in tenants_in(self.0.root()) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                match known(tenant, &entry) {
                    Some(file) => found.push(file),
                    None => drop(remove_if_there(&entry.path())),
                }
            }
        }
        found
    }

    fn folder_of(&self, id: FileId) -> PathBuf {
        let FileId { owner, version } = id;
        let tenant = format!("{:032x}", owner.tenant);
        let file = format!("{:032x}{:032x}", owner.key, version.0);
        self.0.root().join(tenant).join(file)
    }

    /// Where a file of that name is, or would be.
    pub(super) fn path(&self, id: FileId, name: &str) -> PathBuf {
        self.folder_of(id).join(name)
    }

    /// True when the file is there, with this size.
    pub(super) fn has(&self, id: FileId, name: &str, size_bytes: u64) -> bool {
        let about = fs::symlink_metadata(self.path(id, name));
        about.is_ok_and(|about| about.is_file() && about.len() == size_bytes)
    }

    /// Begins a file.
    pub(super) fn begin(&self) -> io::Result<Unfinished> {
        let path = self.unfinished_path()?;
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Unfinished {
            path,
            file,
            hasher: Hasher::default(),
            written_bytes: 0,
        })
    }

    /// Gives a complete file its name, in place of one that is there.
    pub(super) fn land(
        &self,
        unfinished: &Unfinished,
        id: FileId,
        name: &str,
        modified: SystemTime,
    ) -> io::Result<()> {
        let (file, folder) = (&unfinished.file, self.folder_of(id));
        // A program that sends the file tells browsers this time.
        file.set_modified(modified)?;
        file.set_permissions(Permissions::from_mode(READABLE))?;
        for path in [folder.parent().unwrap_or(self.0.root()), &folder] {
            make_directory(path, PASSABLE)?;
            fs::set_permissions(path, Permissions::from_mode(PASSABLE))?;
        }
        fs::rename(&unfinished.path, folder.join(name))
    }

    /// Keeps until when a file is leased, for after a restart.
    pub(super) fn extend(&self, id: FileId, until: SystemTime) -> io::Result<()> {
        File::open(self.folder_of(id))?.set_modified(until)
    }

    /// Keeps whether a file is current, for after a restart.
    pub(super) fn mark(&self, id: FileId, current: bool) -> io::Result<()> {
        let mode = if current { PASSABLE } else { WITHDRAWN };
        fs::set_permissions(self.folder_of(id), Permissions::from_mode(mode))
    }

    /// Takes a file away from its place. What comes back is to be removed.
    pub(super) fn take(&self, id: FileId) -> Option<PathBuf> {
        let taken = self.unfinished_path().ok()?;
        fs::rename(self.folder_of(id), &taken).ok()?;
        Some(taken)
    }

    fn unfinished_path(&self) -> io::Result<PathBuf> {
        if self.0.keep()? {
            self.note_boot()?;
        }
        Ok(self.0.begin())
    }
}

impl Unfinished {
    /// Writes more.
    pub(super) fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        for bytes in batch {
            self.hasher.update(bytes);
            self.file.write_all(bytes)?;
            self.written_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// How much has been written, in bytes, and its digest.
    pub(super) fn written(&self) -> (u64, Digest) {
        (self.written_bytes, self.hasher.clone().finish())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has another name when it has landed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes whatever is there, if anything is.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Which start of the machine this is; empty where that cannot be known.
fn boot() -> Vec<u8> {
    fs::read(BOOT_ID).unwrap_or_default()
}

fn tenants_in(root: &Path) -> impl Iterator<Item = (u128, PathBuf)> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let tenant = parse_hash(entry.file_name().to_str()?)?;
        Some((tenant, entry.path()))
    })
}

/// What a folder in a tenant's is, if it is one of ours with its file.
fn known(tenant: u128, folder: &fs::DirEntry) -> Option<(Owner, Entry)> {
    let name = folder.file_name();
    let (key, version) = name.to_str()?.split_at_checked(32)?;
    let (key, version) = (parse_hash(key)?, Version(parse_hash(version)?));
    let about = folder.metadata().ok()?;
    let mut files = fs::read_dir(folder.path()).ok()?;
    let file = files.next()?.ok()?.metadata().ok()?;
    if !file.is_file() || files.next().is_some() {
        return None;
    }
    let entry = Entry {
        version,
        etag: None,
        size_bytes: file.len(),
        expires_at: about.modified().ok()?,
        current: about.permissions().mode() & 0o7777 != WITHDRAWN,
    };
    Some((Owner { tenant, key }, entry))
}

/// 32 lower-case hex digits.
fn parse_hash(text: &str) -> Option<u128> {
    let hash = u128::from_str_radix(text, 16).ok()?;
    (format!("{hash:032x}") == text).then_some(hash)
}
