//! Settings files in one directory of the local file system.
//!
//! A file is replaced by renaming, whole and synced. Writers wait for each
//! other by a lock on the directory, which editors do not know of.

use std::fs::{self, DirEntry, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;

use super::{Listed, SourceError, TenantFile, TenantSource, WriteError};
use crate::tenant::settings::MAX_FILE_BYTES;

/// Settings files in one directory of the local file system.
///
/// Symbolic links are followed to read: Kubernetes shows the files of a
/// `ConfigMap` so. They are not replaced.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    directory: PathBuf,
}

impl DirectorySource {
    /// The files directly inside `directory`; it is first looked at when it is
    /// listed.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

#[async_trait]
impl TenantSource for DirectorySource {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let directory = self.directory.clone();
        blocking(move || list_directory(&directory)).await
    }

    async fn read(&self, file_name: &str) -> Result<TenantFile, SourceError> {
        let path = self.directory.join(file_name);
        blocking(move || read_file(&path)).await
    }

    async fn write(
        &self,
        file_name: &str,
        text: &str,
        read: Option<&TenantFile>,
    ) -> Result<String, WriteError> {
        let (name, text) = (file_name.to_owned(), text.to_owned());
        let (directory, read) = (self.directory.clone(), read.cloned());
        blocking(move || match read {
            Some(read) => Locked::of(&directory)?.replace(&name, &text, &read),
            None => Locked::of(&directory)?.create(&name, &text),
        })
        .await
    }

    async fn remove(&self, file_name: &str, read: &TenantFile) -> Result<(), WriteError> {
        let (directory, name) = (self.directory.clone(), file_name.to_owned());
        let read = read.clone();
        blocking(move || Locked::of(&directory)?.remove(&name, &read)).await
    }
}

async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// The directory while no other Kura changes files in it.
struct Locked<'a> {
    path: &'a Path,
    /// Unlocked when it is closed.
    handle: File,
}

impl<'a> Locked<'a> {
    fn of(path: &'a Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        handle.lock()?;
        Ok(Self { path, handle })
    }

    /// The new file is readable for whom the directory is.
    fn create(&self, name: &str, text: &str) -> Result<String, WriteError> {
        let path = self.path.join(name);
        let written = self.unfinished(name, text, &self.handle.metadata()?)?;
        // Fails when somebody has made the file, were it past the lock.
        let linked = fs::hard_link(&written, &path);
        fs::remove_file(&written)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(WriteError::Exists);
            }
            linked => linked?,
        }
        self.handle.sync_all()?;
        Ok(version_of(&fs::metadata(path)?))
    }

    fn replace(&self, name: &str, text: &str, read: &TenantFile) -> Result<String, WriteError> {
        let path = self.path.join(name);
        let written = self.unfinished(name, text, &unchanged(&path, read)?)?;
        fs::rename(&written, &path)?;
        self.handle.sync_all()?;
        Ok(version_of(&fs::metadata(path)?))
    }

    fn remove(&self, name: &str, read: &TenantFile) -> Result<(), WriteError> {
        let path = self.path.join(name);
        unchanged(&path, read)?;
        fs::remove_file(path)?;
        Ok(self.handle.sync_all()?)
    }

    /// A complete file under a name that is not listed, as readable as `model`
    /// and of the same owner.
    fn unfinished(&self, name: &str, text: &str, model: &Metadata) -> Result<PathBuf, WriteError> {
        let path = self.path.join(format!(".{name}.new"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let written = write_as(&mut file, text, model);
        written.inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(path)
    }
}

fn write_as(file: &mut File, text: &str, model: &Metadata) -> Result<(), WriteError> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
        let owner = |error: io::Error| WriteError::Owner(error.to_string());
        fchown(&*file, Some(model.uid()), Some(model.gid())).map_err(owner)?;
    }
    file.set_permissions(Permissions::from_mode(model.mode() & 0o666))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// What the file system says of the file, if it is still as it was read.
fn unchanged(path: &Path, read: &TenantFile) -> Result<Metadata, WriteError> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(WriteError::Changed),
        about => about?,
    };
    if about.is_symlink() {
        return Err(WriteError::Link);
    }
    match read_file(path) {
        Ok(now) if now.text == read.text => Ok(about),
        Err(SourceError::Unavailable(error)) => Err(WriteError::Unavailable(error)),
        _ => Err(WriteError::Changed),
    }
}

fn list_directory(directory: &Path) -> Result<Vec<Listed>, SourceError> {
    // A missing directory is not an empty one: the volume may not be mounted.
    let unavailable = |error: io::Error| SourceError::Unavailable(error.to_string());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unavailable)? {
        files.extend(list_entry(&entry.map_err(unavailable)?));
    }
    Ok(files)
}

fn list_entry(entry: &DirEntry) -> Option<Listed> {
    // A name that is not UTF-8 becomes one that no tenant can have, and is
    // reported as such.
    let name = entry.file_name().to_string_lossy().into_owned();
    let version = match fs::metadata(entry.path()) {
        Ok(metadata) if metadata.is_file() => version_of(&metadata),
        Ok(_) => return None,
        Err(_) if is_gone(entry) => return None,
        // Only this file is broken: reading it will tell how.
        Err(error) => error.to_string(),
    };
    Listed::new(&name, version)
}

/// True when the entry was removed while the directory was being listed. A
/// link to nothing is still there.
fn is_gone(entry: &DirEntry) -> bool {
    fs::symlink_metadata(entry.path()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The inode tells a file apart from the one that it replaced by renaming.
fn version_of(metadata: &Metadata) -> String {
    format!(
        "{}.{:09}-{}-{}",
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len(),
        metadata.ino()
    )
}

fn read_file(path: &Path) -> Result<TenantFile, SourceError> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    let file = File::open(path)?;
    // Before the text: a change that comes between shows in the next listing.
    let metadata = file.metadata()?;
    let version = version_of(&metadata);
    // Not the time of its text, which a copy may have from elsewhere.
    let seconds = u64::try_from(metadata.ctime()).map(Duration::from_secs);
    let changed = seconds.ok().map(|seconds| UNIX_EPOCH + seconds);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SourceError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| SourceError::NotText)?;
    Ok(TenantFile {
        text,
        version,
        changed,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn listed_ids(directory: &Path) -> Vec<String> {
        let listed = DirectorySource::new(directory).list().await.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|file| file.file_name).collect();
        names.sort();
        names
    }

    async fn version(directory: &Path) -> String {
        let listed = DirectorySource::new(directory).list().await.unwrap();
        listed[0].version.clone()
    }

    #[tokio::test]
    async fn directory_lists_files_and_links_but_neither_folders_nor_what_is_in_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("folder.yml")).unwrap();
        fs::write(root.path().join("folder.yml/inner.yml"), "").unwrap();
        for name in ["a.yml", "b.yaml", "README.md", ".c.yml"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        symlink(root.path().join("README.md"), root.path().join("d.yml")).unwrap();
        assert_eq!(listed_ids(root.path()).await, ["a.yml", "b.yaml", "d.yml"]);
    }

    #[tokio::test]
    async fn link_to_nothing_is_listed_and_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        symlink("nowhere", root.path().join("a.yml")).unwrap();
        assert_eq!(listed_ids(root.path()).await, ["a.yml"]);
        let read = DirectorySource::new(root.path()).read("a.yml").await;
        assert_eq!(read, Err(SourceError::NotFound));
    }

    #[tokio::test]
    async fn version_changes_with_the_file_and_not_by_itself() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yml");
        fs::write(&path, "one").unwrap();
        let first = version(root.path()).await;
        assert_eq!(version(root.path()).await, first);
        fs::write(&path, "three").unwrap();
        let second = version(root.path()).await;
        assert_ne!(second, first);

        // As long as before and as old, but another file.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let other = root.path().join("other");
        fs::write(&other, "seven").unwrap();
        let file = File::options().write(true).open(&other).unwrap();
        file.set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(version(root.path()).await, second);
    }

    #[tokio::test]
    async fn text_is_read_as_it_is_and_anything_else_refused() {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(root.path());
        for (bytes, expected) in [
            ("s3: é".as_bytes().to_vec(), Ok("s3: é".to_owned())),
            (b"s3: \xff".to_vec(), Err(SourceError::NotText)),
            (
                "s3".encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .chain([0xff])
                    .collect(),
                Err(SourceError::NotText),
            ),
            (vec![b'x'; MAX_FILE_BYTES + 1], Err(SourceError::TooLarge)),
            (vec![b'x'; MAX_FILE_BYTES], Ok("x".repeat(MAX_FILE_BYTES))),
        ] {
            fs::write(root.path().join("a.yml"), bytes).unwrap();
            let read = source.read("a.yml").await.map(|file| file.text);
            assert_eq!(read, expected);
        }
        assert_eq!(source.read("b.yml").await, Err(SourceError::NotFound));
    }

    #[tokio::test]
    async fn missing_directory_is_unavailable_rather_than_empty() {
        let root = tempfile::tempdir().unwrap();
        let listed = DirectorySource::new(root.path().join("nowhere"))
            .list()
            .await;
        assert!(matches!(listed, Err(SourceError::Unavailable(_))));
    }

    #[tokio::test]
    async fn file_is_replaced_only_as_it_was_read_and_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(root.path());
        let path = root.path().join("a.yml");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let read = source.read("a.yml").await.unwrap();
        // What a crash has left.
        fs::write(root.path().join(".a.yml.new"), "unfinished").unwrap();

        let version = source.write("a.yml", "two", Some(&read)).await.unwrap();
        let now = source.read("a.yml").await.unwrap();
        assert_eq!((now.text.as_str(), &now.version), ("two", &version));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        let late = source.write("a.yml", "three", Some(&read)).await;
        assert_eq!(late, Err(WriteError::Changed));
        assert_eq!(
            source.remove("a.yml", &read).await,
            Err(WriteError::Changed)
        );
        assert_eq!(source.read("a.yml").await.unwrap(), now);
        source.remove("a.yml", &now).await.unwrap();
        assert_eq!(source.remove("a.yml", &now).await, Err(WriteError::Changed));
        let gone = source.write("a.yml", "three", Some(&now)).await;
        assert_eq!(gone, Err(WriteError::Changed));
    }

    #[tokio::test]
    async fn new_file_takes_nobodys_place_and_is_as_open_as_its_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o750)).unwrap();
        let source = DirectorySource::new(root.path());
        source.write("a.yml", "one", None).await.unwrap();
        let mode = fs::metadata(root.path().join("a.yml")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640);
        let second = source.write("a.yml", "two", None).await;
        assert_eq!(second, Err(WriteError::Exists));
        assert_eq!(source.read("a.yml").await.unwrap().text, "one");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn link_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(root.path());
        fs::write(root.path().join("data"), "one").unwrap();
        symlink("data", root.path().join("a.yml")).unwrap();
        let read = source.read("a.yml").await.unwrap();
        let written = source.write("a.yml", "two", Some(&read)).await;
        assert_eq!(written, Err(WriteError::Link));
        assert_eq!(source.remove("a.yml", &read).await, Err(WriteError::Link));
        assert_eq!(fs::read(root.path().join("data")).unwrap(), b"one");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_who_write_at_once_one_does() {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(root.path());
        let mut read = None;
        for text in ["first", "second"] {
            let writers = (0..16).map(|number| {
                let (source, read) = (source.clone(), read.clone());
                tokio::spawn(async move {
                    let text = format!("{text} {number}");
                    source
                        .write("a.yml", &text, read.as_ref())
                        .await
                        .map(|_| text)
                })
            });
            let outcomes = futures_util::future::join_all(writers).await;
            let written: Vec<_> = outcomes
                .into_iter()
                .filter_map(|it| it.unwrap().ok())
                .collect();
            let now = source.read("a.yml").await.unwrap();
            assert_eq!(written, std::slice::from_ref(&now.text));
            read = Some(now);
        }
    }
}
