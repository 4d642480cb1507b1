//! Fonts for text whose own is not embedded in the document.
//!
//! `hayro` brings fonts for Latin text. Japanese, Chinese and Korean text would
//! silently be missing: for these there is the [`FallbackFont`] of the system.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayro::hayro_interpret::FontResolverFn;
use hayro::hayro_interpret::font::{FontData, FontQuery};

/// Where systems have their fonts.
const DIRECTORIES: [&str; 2] = ["/usr/local/share/fonts", "/usr/share/fonts"];
/// Directories are searched so deep,
const MAX_DEPTH: u32 = 4;
/// and so many entries of them.
const MAX_ENTRIES: u32 = 20_000;
/// Fonts that have all of Japanese, the best first. `hayro` reads all of a font
/// for each document that needs it, which makes a font of 20 MB cost more than
/// the rest of a page: large ones come after small ones, and then those without
/// Latin letters. Of the collections, the first face is the Japanese one.
const KNOWN_FILES: [&str; 14] = [
    "ipaexg.ttf",
    "VL-Gothic-Regular.ttf",
    "ipag.ttf",
    "TakaoGothic.ttf",
    "NotoSansJP-Regular.otf",
    "NotoSansJP-Regular.ttf",
    "SourceHanSansJP-Regular.otf",
    "NotoSansCJKjp-Regular.otf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-VF.otf",
    "NotoSansCJK-VF.ttc",
    "ipaexm.ttf",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
];

/// The font for text whose own is not embedded.
#[derive(Clone)]
pub struct FallbackFont {
    bytes: FontData,
    face: u32,
}

impl FallbackFont {
    /// A font file, perhaps mapped, and which face of a collection is meant.
    #[must_use]
    pub fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>, face: u32) -> Self {
        Self { bytes, face }
    }

    /// The file to use and the face in it: the one named, or the best there is
    /// in the usual directories.
    #[must_use]
    pub fn find(explicit: Option<&Path>) -> Option<(PathBuf, u32)> {
        let file = match explicit {
            Some(file) => file.is_file().then(|| file.to_owned()),
            None => best_of(&DIRECTORIES.map(Path::new)),
        };
        file.map(|file| (file, 0))
    }
}

impl fmt::Debug for FallbackFont {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFont")
            .field("face", &self.face)
            .finish_non_exhaustive()
    }
}

/// The best known file below directories.
fn best_of(directories: &[&Path]) -> Option<PathBuf> {
    let mut best: Option<(usize, PathBuf)> = None;
    let mut entries = 0;
    let mut unread: Vec<(u32, PathBuf)> = directories
        .iter()
        .map(|&directory| (0, directory.to_owned()))
        .collect();
    while let Some((depth, directory)) = unread.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            entries += 1;
            if entries > MAX_ENTRIES {
                return best.map(|(_, file)| file);
            }
            let path = entry.path();
            let name = entry.file_name();
            let rank = KNOWN_FILES.iter().position(|&known| name == *known);
            if let Some(rank) = rank
                && best.as_ref().is_none_or(|(best, _)| rank < *best)
                && path.is_file()
            {
                best = Some((rank, path));
            } else if depth < MAX_DEPTH && path.is_dir() {
                unread.push((depth + 1, path));
            }
        }
    }
    best.map(|(_, file)| file)
}

/// Answers which font is used for one that is not embedded.
pub(super) fn resolver(font: Option<&FallbackFont>) -> FontResolverFn {
    let font = font.cloned();
    Arc::new(move |query| match (query, &font) {
        // Only composite fonts are of a collection, and hardly any for Latin.
        (FontQuery::Fallback(query), Some(font)) if query.character_collection.is_some() => {
            Some((Arc::clone(&font.bytes), font.face))
        }
        (FontQuery::Fallback(query), _) => Some(query.pick_standard_font().get_font_data()),
        (FontQuery::Standard(standard), _) => Some(standard.get_font_data()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_font_is_found_whatever_lies_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let below = |path: &str| directory.path().join(path);
        assert_eq!(best_of(&[directory.path(), &below("missing")]), None);
        for folder in ["opentype/noto", "truetype/ipaexg.ttf", "a/b/c/d/e"] {
            fs::create_dir_all(below(folder)).unwrap();
        }
        for file in [
            "truetype/Arial.ttf",
            "truetype/DroidSansFallback.ttf",
            "opentype/noto/NotoSansCJK-Regular.ttc",
            "a/b/c/d/e/VL-Gothic-Regular.ttf",
        ] {
            fs::write(below(file), "").unwrap();
        }
        let noto = below("opentype/noto/NotoSansCJK-Regular.ttc");
        assert_eq!(best_of(&[directory.path()]), Some(noto));
        fs::write(below("a/b/c/d/ipag.ttf"), "").unwrap();
        let ipa = below("a/b/c/d/ipag.ttf");
        assert_eq!(best_of(&[directory.path()]), Some(ipa));
    }

    #[test]
    fn a_font_that_is_named_is_used_and_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = FallbackFont::find(Some(file.path()));
        assert_eq!(found, Some((file.path().to_owned(), 0)));
        assert_eq!(FallbackFont::find(Some(Path::new("/missing.ttf"))), None);
    }
}
