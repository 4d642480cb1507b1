//! Listing the tree in the byte order of the keys, as S3 does.
//!
//! A directory's entries are visited in the order of the keys that they begin
//! with, for which a directory counts as its name and a slash: `b.x` comes
//! before `b/x`, and that before `b0`. Only directories that can hold keys of
//! the page are read, and symbolic links are not followed.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::errors;
use super::record::Record;
use super::tree::{self, Tree};
use crate::digest::Digest;
use crate::storage::{Entry, Page, StoreError};

/// No key is longer, on S3 or here. It also bounds how deep a listing goes.
const MAX_KEY_BYTES: usize = 1024;

/// Lists up to `limit` objects whose keys begin with `prefix`, behind `after`.
pub(super) fn list(
    tree: &Tree,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, StoreError> {
    let place = match tree.find(prefix) {
        Err(StoreError::NotFound) => return Ok(Page::default()),
        found => found?,
    };
    let mut listing = Listing {
        prefix,
        after,
        // One more shows whether there is more.
        wanted: limit.saturating_add(1),
        entries: Vec::new(),
    };
    let path = prefix.strip_suffix(place.name).unwrap_or(prefix);
    listing
        .visit(&place.folder, path)
        .map_err(errors::write_errno)?;
    let mut entries = listing.entries;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Page { entries, more })
}

struct Listing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    wanted: usize,
    entries: Vec<Entry>,
}

impl Listing<'_> {
    /// Lists what lies in `folder`, whose keys all begin with `path`.
    fn visit(&mut self, folder: &OwnedFd, path: &str) -> Result<(), Errno> {
        for child in self.children(folder, path)? {
            if self.entries.len() >= self.wanted {
                break;
            }
            let name = &child[path.len()..];
            match name.strip_suffix('/') {
                None => self.entries.extend(entry(folder, name, &child)?),
                Some(name) => match tree::open_folder(folder, name) {
                    // It vanished, or is something else by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    opened => self.visit(&opened?, &child)?,
                },
            }
        }
        Ok(())
    }

    /// What can be a key of the page or, ending with a slash, begin some, in
    /// the order of the keys.
    fn children(&self, folder: &OwnedFd, path: &str) -> Result<Vec<String>, Errno> {
        let mut children = Vec::new();
        for found in Dir::read_from(folder)? {
            let found = found?;
            // A name that is not UTF-8 cannot be any key's.
            let Ok(name) = found.file_name().to_str() else {
                continue;
            };
            let slash = match kind(folder, name, found.file_type())? {
                Some(FileType::RegularFile) => "",
                Some(FileType::Directory) if name != "." && name != ".." => "/",
                _ => continue,
            };
            let child = format!("{path}{name}{slash}");
            if child.len() <= MAX_KEY_BYTES && self.wants(&child) {
                children.push(child);
            }
        }
        children.sort_unstable();
        Ok(children)
    }

    fn wants(&self, child: &str) -> bool {
        let is_folder = child.ends_with('/');
        let in_prefix =
            child.starts_with(self.prefix) || (is_folder && self.prefix.starts_with(child));
        let behind = self
            .after
            .is_none_or(|after| child > after || (is_folder && after.starts_with(child)));
        in_prefix && behind
    }
}

/// Some file systems do not say in the directory what an entry is.
fn kind(folder: &OwnedFd, name: &str, listed: FileType) -> Result<Option<FileType>, Errno> {
    match listed {
        FileType::Unknown => tree::file_type(folder, name),
        known => Ok(Some(known)),
    }
}

fn entry(folder: &OwnedFd, name: &str, key: &str) -> Result<Option<Entry>, Errno> {
    let stat = match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    Ok(Some(Entry {
        key: key.to_owned(),
        size_bytes: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: modified(&stat),
        digest: digest(folder, name),
    }))
}

/// The digest, where it can be read: a damaged or unreadable file is listed
/// all the same, so that whoever audits the store comes upon it.
fn digest(folder: &OwnedFd, name: &str) -> Option<Digest> {
    let file = tree::open_file(folder, name).ok()?;
    Some(Record::read(&file).ok()??.digest)
}

fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.st_mtime_nsec)
}
