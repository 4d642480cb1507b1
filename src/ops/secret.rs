//! The secret that tokens are derived from. A directory store has one of its
//! own: made at first start and kept beside the objects, readable by nobody
//! else.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{StoreConfig, Values};
use crate::storage::names::nonce;
use crate::tenant::Secrets;

/// No bucket can have this name.
const FILE_NAME: &str = ".secret";

/// The secrets that the settings name, or that their directory store keeps.
///
/// # Errors
/// When there are none.
pub fn of(values: &Values) -> Result<Secrets> {
    match (values.secrets()?, values.store()?) {
        (Some(secrets), _) => Ok(secrets),
        (None, StoreConfig::Directory(root)) => read(&root),
        (None, StoreConfig::S3(_)) => bail!("KURA_SECRET is not set"),
    }
}

/// The secret kept in the directory store at `root`; made if there is none.
///
/// # Errors
/// When the file can neither be read nor made.
pub fn kept_in(root: &Path) -> Result<Secrets> {
    let path = root.join(FILE_NAME);
    if !path.exists() {
        make(root, &path)?;
    }
    read(root)
}

/// The secret kept in the directory store at `root`.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn read(root: &Path) -> Result<Secrets> {
    let path = root.join(FILE_NAME);
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read (it is made when the server first starts)",
            path.display()
        )
    })?;
    Secrets::parse(text.trim()).with_context(|| format!("{} cannot be used", path.display()))
}

/// Another process may be doing the same: whoever links first has made it.
fn make(root: &Path, path: &Path) -> Result<()> {
    let context = || format!("{} cannot be made", path.display());
    fs::create_dir_all(root).with_context(context)?;
    let temporary = root.join(format!("{FILE_NAME}-{}", nonce()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(context)?;
    let secret = Secrets::generate().context("no randomness")?;
    let made = writeln!(file, "{secret}")
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary).with_context(context)?;
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => {
            // Tokens that have been given out must survive a power loss.
            let sync = || fs::File::open(root)?.sync_all();
            made.and_then(|()| sync()).with_context(context)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secret_is_made_once_and_only_its_owner_can_read_it() {
        let root = tempfile::tempdir().unwrap();
        let id = "default".parse().unwrap();
        let first = kept_in(root.path()).unwrap().token(&id);
        assert_eq!(kept_in(root.path()).unwrap().token(&id), first);
        let mode = fs::metadata(root.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
