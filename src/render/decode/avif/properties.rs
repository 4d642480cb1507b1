//! What the container of an AVIF says about its picture, apart from where it
//! is: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).

use crate::render::picture::Orientation;

/// The properties of the primary item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub orientation: Orientation,
    pub profile: Option<Vec<u8>>,
    /// Matrix coefficients (ISO/IEC 23091-2), and whether the range is full.
    pub matrix: Option<(u16, bool)>,
}

impl Properties {
    /// Reads what can be read; the rest is as if it were not there.
    pub(super) fn of(file: &[u8]) -> Self {
        let mut properties = Self::default();
        let Some(meta) = Boxes(file).find(|found| found.kind == *b"meta") else {
            return properties;
        };
        let children = || Boxes(meta.data.get(4..).unwrap_or_default());
        let child = |kind: &[u8; 4]| children().find(|child| child.kind == *kind);
        let (Some(primary), Some(all)) = (child(b"pitm"), child(b"iprp")) else {
            return properties;
        };
        let Some(id) = primary_id(primary.data) else {
            return properties;
        };
        let Some(container) = Boxes(all.data).find(|child| child.kind == *b"ipco") else {
            return properties;
        };
        let (mut turns, mut mirror) = (0, None);
        let associations = Boxes(all.data).filter(|child| child.kind == *b"ipma");
        for index in associations.flat_map(|child| indices_of(child.data, id)) {
            // They are counted from 1.
            let Some(property) = index
                .checked_sub(1)
                .and_then(|i| Boxes(container.data).nth(i))
            else {
                continue;
            };
            match (&property.kind, property.data) {
                (b"irot", [angle, ..]) => turns = angle & 3,
                (b"imir", [axis, ..]) => mirror = Some(axis & 1),
                (
                    b"colr",
                    [b'p', b'r', b'o', b'f', icc @ ..] | [b'r', b'I', b'C', b'C', icc @ ..],
                ) => {
                    properties.profile = Some(icc.to_vec());
                }
                (b"colr", [b'n', b'c', b'l', b'x', _, _, _, _, high, low, range, ..]) => {
                    let matrix = u16::from_be_bytes([*high, *low]);
                    properties.matrix = Some((matrix, range & 0x80 != 0));
                }
                _ => {}
            }
        }
        properties.orientation = orientation(turns, mirror);
        properties
    }
}

/// Quarter turns counter-clockwise, and what is mirrored after them: top and
/// bottom (0) or left and right (1).
fn orientation(turns: u8, mirror: Option<u8>) -> Orientation {
    use Orientation as To;
    let [not, top_bottom, left_right] = match turns {
        1 => [To::Rotated270, To::Transposed, To::Transversed],
        2 => [To::Rotated180, To::MirroredX, To::MirroredY],
        3 => [To::Rotated90, To::Transversed, To::Transposed],
        _ => [To::Upright, To::MirroredY, To::MirroredX],
    };
    match mirror {
        None => not,
        Some(0) => top_bottom,
        Some(_) => left_right,
    }
}

/// The content of `pitm`.
fn primary_id(data: &[u8]) -> Option<u32> {
    match data {
        [0, _, _, _, high, low, ..] => Some(u16::from_be_bytes([*high, *low]).into()),
        [_, _, _, _, id @ ..] => id.first_chunk().map(|id| u32::from_be_bytes(*id)),
        _ => None,
    }
}

/// The indices that an `ipma` associates with an item.
fn indices_of(data: &[u8], item: u32) -> Vec<usize> {
    let mut reader = Reader(data);
    let mut read = || {
        let version = reader.number(1)?;
        let long = reader.number(3)? & 1 == 1;
        for _ in 0..reader.number(4)? {
            let id = reader.number(if version == 0 { 2 } else { 4 })?;
            let mut indices = Vec::new();
            for _ in 0..reader.number(1)? {
                // The highest bit says that the property is essential.
                indices.push(if long {
                    reader.number(2)? & 0x7fff
                } else {
                    reader.number(1)? & 0x7f
                });
            }
            if id == item {
                return Some(indices);
            }
        }
        None
    };
    let indices = read().unwrap_or_default();
    indices
        .into_iter()
        .filter_map(|index| index.try_into().ok())
        .collect()
}

/// Numbers, the highest byte first.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self, bytes: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(
            number
                .iter()
                .fold(0, |all, &byte| all << 8 | u32::from(byte)),
        )
    }
}

/// The boxes in a box, or in a file.
struct Boxes<'a>(&'a [u8]);

struct Found<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let (size, rest) = self.0.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (header, size) = match u32::from_be_bytes(*size) {
            // It goes to the end.
            0 => (8, self.0.len()),
            1 => (
                16,
                usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            ),
            size => (8, usize::try_from(size).ok()?),
        };
        let data = self.0.get(header..size)?;
        self.0 = &self.0[size..];
        Some(Found { kind: *kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8], data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len() + 8).unwrap();
        [&size.to_be_bytes(), kind, data].concat()
    }

    /// A file whose item 7 has all of these properties, and item 1 the first.
    fn file(properties: &[Vec<u8>], long: bool) -> Vec<u8> {
        let count = u8::try_from(properties.len()).unwrap();
        let mut ipma = vec![0, 0, 0, u8::from(long), 0, 0, 0, 2];
        let index = |index: u8| {
            if long {
                vec![0x80, index]
            } else {
                vec![0x80 | index]
            }
        };
        ipma.extend([&[0, 1, 1][..], &index(1), &[0, 7, count]].concat());
        ipma.extend((1..=count).flat_map(index));
        let iprp = [boxed(b"ipco", &properties.concat()), boxed(b"ipma", &ipma)].concat();
        let meta = [
            vec![0; 4],
            boxed(b"pitm", &[0, 0, 0, 0, 0, 7]),
            boxed(b"iprp", &iprp),
        ];
        [boxed(b"ftyp", b"avif"), boxed(b"meta", &meta.concat())].concat()
    }

    #[test]
    fn turning_mirroring_and_colours_are_read() {
        let properties = [
            boxed(b"irot", &[3]),
            boxed(b"imir", &[0]),
            boxed(b"colr", b"profabc"),
            boxed(b"colr", b"nclx\0\x01\0\x0d\0\x09\x80"),
        ];
        let expected = Properties {
            orientation: Orientation::Transversed,
            profile: Some(b"abc".to_vec()),
            matrix: Some((9, true)),
        };
        assert_eq!(Properties::of(&file(&properties, false)), expected);
        assert_eq!(Properties::of(&file(&properties, true)), expected);
    }

    #[test]
    fn turns_and_mirrors_add_up() {
        // Where (x, y) of 2 × 2 goes, turned counter-clockwise and mirrored.
        for turns in 0..4 {
            for mirror in [None, Some(0), Some(1)] {
                let place = |(mut x, mut y): (u8, u8)| {
                    for _ in 0..turns {
                        (x, y) = (y, 1 - x);
                    }
                    match mirror {
                        Some(0) => (x, 1 - y),
                        Some(_) => (1 - x, y),
                        None => (x, y),
                    }
                };
                let expected = match (place((0, 0)), place((1, 0))) {
                    ((0, 0), (1, 0)) => Orientation::Upright,
                    ((1, 0), (0, 0)) => Orientation::MirroredX,
                    ((1, 1), (0, 1)) => Orientation::Rotated180,
                    ((0, 1), (1, 1)) => Orientation::MirroredY,
                    ((0, 0), (0, 1)) => Orientation::Transposed,
                    ((1, 0), (1, 1)) => Orientation::Rotated90,
                    ((1, 1), (1, 0)) => Orientation::Transversed,
                    _ => Orientation::Rotated270,
                };
                assert_eq!(orientation(turns, mirror), expected, "{turns} {mirror:?}");
            }
        }
    }

    #[test]
    fn broken_containers_say_nothing() {
        let whole = file(&[boxed(b"irot", &[1])], false);
        for length in 0..whole.len() {
            assert_eq!(Properties::of(&whole[..length]), Properties::default());
        }
        let mut endless = whole.clone();
        let at = endless.len() - 8;
        endless[at..].fill(0xff);
        assert_eq!(Properties::of(&endless), Properties::default());
    }
}
