//! Reads that cannot block, of what the kernel has in memory.
//!
//! To hand a read to a thread that may block costs several times what reading a
//! small file does, so it is tried here first. What cannot be had so is `None`
//! and left to such a thread: names and bytes that are not in memory, large
//! files, and whatever the kernel, the container or the file system lacks.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Copying more at once takes longer than handing it over.
pub const MAX_BYTES: u64 = 64 << 10;
/// While names change, the kernel may miss some that it has.
const MAX_PROBES: usize = 8;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// To note when the file was read, or to wait for a FIFO's writer, would block.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOATIME)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::CACHED
    .union(ResolveFlags::BENEATH)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);

/// True when files below `root` can be read so at all, as far as they lie on
/// its file system and are our own; `sample` is one. Has to be known before: on
/// a network, opening may block whatever is asked for. Blocks.
#[must_use]
pub fn is_possible(root: &Path, sample: &str) -> bool {
    let probe = || read_at_once(&open_at_once(root, sample)?, &mut [0], 0);
    let mut probes = std::iter::repeat_with(probe).take(MAX_PROBES);
    probes
        .find(|probed| *probed != Err(Errno::AGAIN))
        .is_some_and(|probed| probed.is_ok())
}

/// Opens a file below `root`. Neither links nor mounts are followed from there.
#[must_use]
pub fn open(root: &Path, path: &str) -> Option<File> {
    open_at_once(root, path).ok()
}

/// Reads so many bytes from `offset`, no fewer.
#[must_use]
pub fn read(file: &File, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let bytes = (bytes <= MAX_BYTES).then_some(bytes)?;
    let mut buffer = vec![0; usize::try_from(bytes).ok()?];
    let read = read_at_once(file, &mut buffer, offset).ok()?;
    (read == buffer.len()).then_some(buffer)
}

fn open_at_once(root: &Path, path: &str) -> Result<File, Errno> {
    let root = openat2(CWD, root, FOLDER, Mode::empty(), ResolveFlags::CACHED)?;
    openat2(root, path, FILE, Mode::empty(), INSIDE).map(File::from)
}

fn read_at_once(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut buffers = [IoSliceMut::new(buffer)];
    preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn file_is_read_whole_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("folder/file"), b"bytes").unwrap();
        // tmpfs, for one, has no such reads.
        if !is_possible(root, "folder/file") {
            return;
        }
        let file = open(root, "folder/file").unwrap();
        assert_eq!(read(&file, 0, 5).unwrap(), b"bytes");
        assert_eq!(read(&file, 3, 2).unwrap(), b"es");
        assert_eq!(read(&file, 0, 6), None);
        symlink("folder", root.join("link")).unwrap();
        symlink("file", root.join("folder/link")).unwrap();
        for path in [
            "link/file",
            "folder/link",
            "folder/../../file",
            "/etc/passwd",
        ] {
            assert!(open(root, path).is_none(), "{path}");
        }
        fs::write(root.join("folder/file"), vec![1; (64 << 10) + 1]).unwrap();
        assert!(read(&file, 1, MAX_BYTES).is_some());
        assert_eq!(read(&file, 0, MAX_BYTES + 1), None);
    }

    #[test]
    fn it_is_known_where_there_are_no_such_reads() {
        assert!(!is_possible(Path::new("/proc/self"), "status"));
        assert!(!is_possible(Path::new("/nowhere"), "file"));
    }
}
