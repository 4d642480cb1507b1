//! What an object in a tenant's folders is, by its full key.

use std::fmt;

use super::Layout;

/// What lies in a tenant's folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An attachment.
    File,
    /// A thumbnail.
    Thumbnail,
    /// A CSV file being imported.
    Import,
    /// In the tenant's own folder, and none of Kura's.
    Other,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::File, Self::Thumbnail, Self::Import, Self::Other];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::File => "files",
            Self::Thumbnail => "thumbnails",
            Self::Import => "imports",
            Self::Other => "other",
        })
    }
}

impl Layout {
    /// What the object with this full key is; `None` when it may be another
    /// tenant's, or somebody else's.
    #[must_use]
    pub fn kind_of(&self, full: &str) -> Option<Kind> {
        if self.thumbnail_of(full).is_some() {
            Some(Kind::Thumbnail)
        } else if self.import_of(full).is_some() {
            Some(Kind::Import)
        } else if self.file_of(full).is_some() {
            Some(Kind::File)
        } else {
            full.starts_with(self.folder()).then_some(Kind::Other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THUMBNAIL: &str = "900150983cd24fb0d6963f7d28e17f72_3_100.thumb";

    #[test]
    fn what_is_not_the_tenants_has_no_kind() {
        let own = Layout::new("user001", None, None).unwrap();
        let shared = Layout::new("user001", Some("tmp"), Some("tmp")).unwrap();
        let import = "0123456789abcdef";
        for (layout, key, kind) in [
            (&own, "user001/2026/11/a.pdf", Some(Kind::File)),
            (
                &own,
                &format!("user001/tmp/thumbnails/{THUMBNAIL}"),
                Some(Kind::Thumbnail),
            ),
            (
                &own,
                &format!("user001/tmp/imports/{import}"),
                Some(Kind::Import),
            ),
            (&own, "user001/tmp/else", Some(Kind::Other)),
            (&own, "user001/a//b", Some(Kind::Other)),
            (&own, "user0011/a", None),
            (&own, &format!("tmp/{THUMBNAIL}"), None),
            (&shared, &format!("tmp/{THUMBNAIL}"), Some(Kind::Thumbnail)),
            (&shared, &format!("tmp/{import}"), Some(Kind::Import)),
            (&shared, "tmp/notes.txt", None),
        ] {
            assert_eq!(layout.kind_of(key), kind, "{key}");
        }
    }
}
