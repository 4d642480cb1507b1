//! The tree of objects: the key `a/b/c` is the plain file `objects/a/b/c`.
//!
//! A key is walked segment by segment, each opened relative to the one before
//! and never through a symbolic link, so that no key leads out of the tree.
//! A name appears in one step, by link(2) or rename(2), and is reported only
//! after its directory has been synced. Directories that become empty are
//! removed; who was about to use one makes it again.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::errors::{read_errno, text, write_errno};
use super::staging::StagedFile;
use crate::key::StoreKey;
use crate::resident;
use crate::storage::StoreError;

/// How often a directory may vanish under a writer before it gives up.
const MAX_ATTEMPTS: usize = 100;
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a FIFO would wait for its writer.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The directory of all objects.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    objects: Arc<Path>,
}

/// An open directory and a name in it.
pub(super) struct Place<'key> {
    pub(super) folder: OwnedFd,
    pub(super) name: &'key str,
}

impl Tree {
    pub(super) fn new(objects: &Path) -> Self {
        Self {
            objects: objects.into(),
        }
    }

    /// Opens an object's file for reading.
    pub(super) fn open(&self, key: &StoreKey) -> Result<File, StoreError> {
        let place = self.find(key.as_str())?;
        open_file(&place.folder, place.name).map_err(read_errno)
    }

    /// The same, if it can be done without blocking.
    pub(super) fn open_at_once(&self, key: &StoreKey) -> Option<File> {
        resident::open(&self.objects, key.as_str())
    }

    /// Gives a sealed file the name `key`, which must be free.
    pub(super) fn create(&self, staged: &StagedFile, key: &StoreKey) -> Result<(), StoreError> {
        self.at_new_place(key, |place| {
            fs::linkat(
                CWD,
                staged.path(),
                &place.folder,
                place.name,
                AtFlags::empty(),
            )
        })
    }

    /// Gives a sealed file the name `key`, in place of what has it now.
    pub(super) fn replace(&self, staged: &StagedFile, key: &StoreKey) -> Result<(), StoreError> {
        self.at_new_place(key, |place| {
            fs::renameat(CWD, staged.path(), &place.folder, place.name)
        })
    }

    /// Gives an object a second name. The two share their bytes, which is
    /// safe because a file is never changed once it has a name.
    pub(super) fn copy(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        self.transfer(from, to, link).map(drop)
    }

    /// Gives an object another name.
    pub(super) fn rename(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let source = self.transfer(from, to, move_in_one_step)?;
        fs::fsync(&source.folder).map_err(write_errno)?;
        self.prune(from.as_str());
        Ok(())
    }

    /// Removes those of `keys` that are there and says how many were. All lie
    /// in the same directory, which is synced once.
    pub(super) fn delete(&self, keys: &[&str]) -> Result<u64, StoreError> {
        let Some(first) = keys.first() else {
            return Ok(0);
        };
        let folder = match self.find(first) {
            Err(StoreError::NotFound) => return Ok(0),
            found => found?.folder,
        };
        let mut removed = 0;
        for key in keys {
            let (_, name) = split(key);
            removed += u64::from(unlink(&folder, name).map_err(write_errno)?);
        }
        if removed > 0 {
            fs::fsync(&folder).map_err(write_errno)?;
            self.prune(first);
        }
        Ok(removed)
    }

    /// Opens the directory that `key` lies in.
    pub(super) fn find<'key>(&self, key: &'key str) -> Result<Place<'key>, StoreError> {
        walk(self.open_objects()?, key, open_folder).map_err(read_errno)
    }

    /// Sees whether the directory is still there.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.open_objects().map(drop)
    }

    /// A missing root is trouble with the store, never a missing object.
    fn open_objects(&self) -> Result<OwnedFd, StoreError> {
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        fs::open(&*self.objects, flags, Mode::empty()).map_err(|errno| {
            StoreError::Unavailable(format!("the directory of objects: {}", text(errno)))
        })
    }

    /// Makes `to` appear from the object `from` with `step`; gives back where
    /// `from` is or was.
    fn transfer<'key>(
        &self,
        from: &'key StoreKey,
        to: &StoreKey,
        step: fn(&Place<'_>, &Place<'_>) -> Result<(), Errno>,
    ) -> Result<Place<'key>, StoreError> {
        let source = self.find(from.as_str())?;
        let mut missing = !is_file(&source).map_err(read_errno)?;
        if missing {
            return Err(StoreError::NotFound);
        }
        let moved = self.at_new_place(to, |target| {
            step(&source, target).inspect_err(|_| {
                missing = is_file(&source) == Ok(false);
            })
        });
        match moved {
            Err(StoreError::Unavailable(_)) if missing => Err(StoreError::NotFound),
            moved => moved.map(|()| source),
        }
    }

    /// Makes `key` appear with `act`, and makes that durable.
    fn at_new_place(
        &self,
        key: &StoreKey,
        mut act: impl FnMut(&Place<'_>) -> Result<(), Errno>,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let place = match walk(self.open_objects()?, key.as_str(), make_folder) {
                Err(Errno::NOENT) => continue,
                walked => walked.map_err(write_errno)?,
            };
            match act(&place) {
                Ok(()) => return fs::fsync(&place.folder).map_err(write_errno),
                Err(Errno::NOENT) => {}
                Err(Errno::EXIST) if is_folder(&place) => return Err(StoreError::KeyConflict),
                Err(errno) => return Err(write_errno(errno)),
            }
        }
        Err(StoreError::Unavailable(
            "a directory or the new file vanished".to_owned(),
        ))
    }

    /// Removes the directories that hold nothing more. That a directory is
    /// empty is for the kernel to judge, in the same step.
    fn prune(&self, key: &str) {
        let Ok(objects) = self.open_objects() else {
            return;
        };
        let mut folder = split(key).0;
        while !folder.is_empty() && fs::unlinkat(&objects, folder, AtFlags::REMOVEDIR).is_ok() {
            folder = split(folder).0;
        }
    }
}

/// Opens a file of any kind but a symbolic link.
pub(super) fn open_file(folder: &OwnedFd, name: &str) -> Result<File, Errno> {
    fs::openat(folder, name, FILE, Mode::empty()).map(File::from)
}

pub(super) fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    fs::openat(parent, name, FOLDER, Mode::empty())
}

fn make_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match open_folder(parent, name) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match fs::mkdirat(parent, name, Mode::from(0o777)) {
        // Whoever has made it may not have come to this yet.
        Ok(()) | Err(Errno::EXIST) => fs::fsync(parent)?,
        Err(errno) => return Err(errno),
    }
    open_folder(parent, name)
}

fn walk(
    objects: OwnedFd,
    key: &str,
    step: fn(&OwnedFd, &str) -> Result<OwnedFd, Errno>,
) -> Result<Place<'_>, Errno> {
    let (folders, name) = split(key);
    let mut folder = objects;
    for segment in folders.split_terminator('/') {
        // `StoreKey` rules these out; the kernel would follow them.
        if matches!(segment, "" | "." | "..") {
            return Err(Errno::INVAL);
        }
        folder = step(&folder, segment)?;
    }
    Ok(Place { folder, name })
}

/// The directory of a key (empty at the root) and its last segment.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

fn link(from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
    fs::linkat(
        &from.folder,
        from.name,
        &to.folder,
        to.name,
        AtFlags::empty(),
    )
}

/// One step, so that no other writer's object can take the old name between
/// two and be removed in its stead.
fn move_in_one_step(from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
    let moved = fs::renameat_with(
        &from.folder,
        from.name,
        &to.folder,
        to.name,
        RenameFlags::NOREPLACE,
    );
    match moved {
        // NFS and some others cannot do this.
        Err(Errno::INVAL | Errno::NOSYS) => move_in_two_steps(from, to),
        moved => moved,
    }
}

/// A crash may leave both names, never none.
fn move_in_two_steps(from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
    link(from, to)?;
    fs::fsync(&to.folder)?;
    unlink(&from.folder, from.name).map(drop)
}

/// Removes an object and says whether there was one.
fn unlink(folder: &OwnedFd, name: &str) -> Result<bool, Errno> {
    if file_type(folder, name)? != Some(FileType::RegularFile) {
        return Ok(false);
    }
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(false),
        unlinked => unlinked.map(|()| true),
    }
}

fn is_file(place: &Place<'_>) -> Result<bool, Errno> {
    Ok(file_type(&place.folder, place.name)? == Some(FileType::RegularFile))
}

fn is_folder(place: &Place<'_>) -> bool {
    file_type(&place.folder, place.name) == Ok(Some(FileType::Directory))
}

/// What `name` is; `None` when there is nothing of that name.
pub(super) fn file_type(folder: &OwnedFd, name: &str) -> Result<Option<FileType>, Errno> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FileKey, Layout};

    #[test]
    fn a_move_in_two_steps_leaves_one_name() {
        let root = tempfile::tempdir().unwrap();
        let open = || fs::open(root.path(), FOLDER, Mode::empty()).unwrap();
        std::fs::write(root.path().join("from"), "bytes").unwrap();
        std::fs::write(root.path().join("taken"), "others").unwrap();
        let place = |name| Place {
            folder: open(),
            name,
        };
        let taken = move_in_two_steps(&place("from"), &place("taken"));
        assert_eq!(taken, Err(Errno::EXIST));
        assert_eq!(move_in_two_steps(&place("from"), &place("to")), Ok(()));
        assert!(!root.path().join("from").exists());
        assert_eq!(std::fs::read(root.path().join("to")).unwrap(), b"bytes");
    }

    #[test]
    fn no_key_leads_out_of_the_tree() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::new(root.path());
        for key in ["../a", "a/../../b", "./a", "a//b", "/etc/passwd"] {
            assert!(tree.find(key).is_err(), "{key}");
        }
    }

    #[test]
    fn a_directory_that_vanishes_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new("", None, None).unwrap();
        let key = layout.file(&FileKey::parse("d/e/a").unwrap()).unwrap();
        let mut attempts = 0;
        let made = Tree::new(root.path()).at_new_place(&key, |place| {
            attempts += 1;
            if attempts < 3 {
                std::fs::remove_dir_all(root.path().join("d")).unwrap();
            }
            let flags = OFlags::CREATE | OFlags::WRONLY;
            fs::openat(&place.folder, place.name, flags, Mode::from(0o600)).map(drop)
        });
        made.unwrap();
        assert_eq!(attempts, 3);
        assert!(root.path().join("d/e/a").exists());
    }
}
