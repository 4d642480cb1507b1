//! What the system's errors mean to the callers of a store. The texts are the
//! system's own and name no path.

use std::io;

use rustix::io::Errno;

use crate::storage::StoreError;

/// What an error means to who wanted to read a key.
pub(super) fn read_errno(errno: Errno) -> StoreError {
    match errno {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::LOOP
        | Errno::NAMETOOLONG
        // A FIFO, a socket or a device without a driver.
        | Errno::NXIO
        | Errno::INVAL => StoreError::NotFound,
        errno => write_errno(errno),
    }
}

/// What an error means to who wanted to write a key.
pub(super) fn write_errno(errno: Errno) -> StoreError {
    match errno {
        Errno::EXIST => StoreError::AlreadyExists,
        Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG => StoreError::KeyConflict,
        Errno::NOSPC | Errno::DQUOT => StoreError::NoSpace,
        Errno::ACCESS | Errno::PERM => StoreError::Forbidden(text(errno)),
        errno => StoreError::Unavailable(text(errno)),
    }
}

/// As [`write_errno`], for errors from the standard library.
pub(super) fn write_error(error: &io::Error) -> StoreError {
    Errno::from_io_error(error).map_or_else(
        || StoreError::Unavailable(error.kind().to_string()),
        write_errno,
    )
}

/// The system's own words, which name no path.
pub(super) fn text(errno: Errno) -> String {
    io::Error::from(errno).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_meaning() {
        assert!(matches!(write_errno(Errno::NOSPC), StoreError::NoSpace));
        assert!(matches!(write_errno(Errno::DQUOT), StoreError::NoSpace));
        assert!(matches!(
            write_errno(Errno::ACCESS),
            StoreError::Forbidden(_)
        ));
        assert!(matches!(
            read_errno(Errno::ACCESS),
            StoreError::Forbidden(_)
        ));
        assert!(matches!(read_errno(Errno::IO), StoreError::Unavailable(_)));
        assert!(matches!(read_errno(Errno::NOTDIR), StoreError::NotFound));
    }
}
