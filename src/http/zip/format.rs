//! The records of a ZIP archive, by PKWARE's APPNOTE.TXT 6.3.10.
//!
//! How long a record is depends on the name, the size, the time and the place
//! of its entry, and never on the bytes inside. The length of an archive can
//! be known before any of them are, and the CRC-32 filled in later.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_END_LOCATOR: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// Bit 3: CRC and sizes follow the bytes. Bit 11: names are UTF-8 (§4.4.4).
const FLAGS: u16 = (1 << 3) | (1 << 11);
const STORED: u16 = 0;
/// PKZIP 2.0, the least that readers have been at for decades, and 4.5, which
/// brought ZIP64 (§4.4.3.2).
const VERSION_PLAIN: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// "Made by Unix" (§4.4.2): the attributes below then hold a mode.
const MADE_BY: u16 = (3 << 8) | VERSION_ZIP64;
/// A regular file with mode 0644, in the upper half (as Info-ZIP keeps it).
const EXTERNAL_ATTRIBUTES: u32 = 0o100_644 << 16;

const ZIP64_EXTRA: u16 = 0x0001;
/// Info-ZIP's "extended timestamp": UTC, where the DOS fields have no zone and
/// are taken for local time.
const TIMESTAMP_EXTRA: u16 = 0x5455;
const TIMESTAMP_HAS_MODIFIED: u8 = 1;

/// The DOS fields hold 1980-01-01T00:00:00 to 2107-12-31T23:59:58.
const DOS_FIRST: u64 = 315_532_800;
const DOS_LAST: u64 = 4_354_819_198;
const SECONDS_PER_DAY: u64 = 86_400;

/// One entry and its place in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) modified: SystemTime,
    /// Of its local header, from the start of the archive.
    pub(super) offset: u64,
}

impl Entry {
    /// What stands before the bytes of the entry (§4.3.7).
    ///
    /// A ZIP64 field without sizes announces that the descriptor's are eight
    /// bytes long (§4.3.9.2).
    pub(super) fn put_local_header(&self, out: &mut BytesMut) {
        let zip64: &[u64] = if self.is_large() { &[0, 0] } else { &[] };
        let announced = if self.is_large() { u32::MAX } else { 0 };
        let extra = self.extra(zip64);
        out.put_u32_le(LOCAL_HEADER);
        self.put_common(zip64, 0, announced, &extra, out);
        out.put_slice(self.name.as_bytes());
        out.put_slice(&extra);
    }

    /// What follows the bytes of the entry (§4.3.9).
    pub(super) fn put_descriptor(&self, crc32: u32, out: &mut BytesMut) {
        out.put_u32_le(DATA_DESCRIPTOR);
        out.put_u32_le(crc32);
        // Nothing is compressed, so that both sizes are the same.
        for _ in 0..2 {
            if self.is_large() {
                out.put_u64_le(self.size_bytes);
            } else {
                out.put_u32_le(or_ones_u32(self.size_bytes));
            }
        }
    }

    /// The entry's line in the central directory (§4.3.12).
    pub(super) fn put_central_header(&self, crc32: u32, out: &mut BytesMut) {
        // Only what did not fit its own field, in this order (§4.5.3).
        let mut zip64 = Vec::new();
        if self.is_large() {
            zip64.extend([self.size_bytes, self.size_bytes]);
        }
        if self.offset >= u64::from(u32::MAX) {
            zip64.push(self.offset);
        }
        let extra = self.extra(&zip64);
        out.put_u32_le(CENTRAL_HEADER);
        out.put_u16_le(MADE_BY);
        self.put_common(&zip64, crc32, or_ones_u32(self.size_bytes), &extra, out);
        out.put_bytes(0, 6); // No comment, first disk, no internal attributes.
        out.put_u32_le(EXTERNAL_ATTRIBUTES);
        out.put_u32_le(or_ones_u32(self.offset));
        out.put_slice(self.name.as_bytes());
        out.put_slice(&extra);
    }

    /// What both headers share, from the version needed to the lengths.
    fn put_common(&self, zip64: &[u64], crc32: u32, size: u32, extra: &[u8], out: &mut BytesMut) {
        let (time, date) = dos_timestamp(self.modified);
        out.put_u16_le(if zip64.is_empty() {
            VERSION_PLAIN
        } else {
            VERSION_ZIP64
        });
        out.put_u16_le(FLAGS);
        out.put_u16_le(STORED);
        out.put_u16_le(time);
        out.put_u16_le(date);
        out.put_u32_le(crc32);
        out.put_u32_le(size);
        out.put_u32_le(size);
        out.put_u16_le(or_ones_u16(self.name.len() as u64));
        out.put_u16_le(or_ones_u16(extra.len() as u64));
    }

    fn extra(&self, zip64: &[u64]) -> Vec<u8> {
        let mut extra = Vec::with_capacity(40);
        if !zip64.is_empty() {
            extra.put_u16_le(ZIP64_EXTRA);
            extra.put_u16_le(or_ones_u16(size_of_val(zip64) as u64));
            for &value in zip64 {
                extra.put_u64_le(value);
            }
        }
        // The field is signed and ends in 2038; later times go without it.
        if let Ok(seconds) = i32::try_from(unix_seconds(self.modified)) {
            extra.put_u16_le(TIMESTAMP_EXTRA);
            extra.put_u16_le(5);
            extra.put_u8(TIMESTAMP_HAS_MODIFIED);
            extra.put_i32_le(seconds);
        }
        extra
    }

    fn is_large(&self) -> bool {
        self.size_bytes >= u64::from(u32::MAX)
    }
}

/// Where the central directory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
}

impl Directory {
    /// What follows the central directory and ends the archive: the end
    /// record (§4.3.16), and the two of ZIP64 (§4.3.14, §4.3.15) before it
    /// when a number does not fit.
    pub(super) fn put_end(&self, out: &mut BytesMut) {
        if self.is_large() {
            self.put_zip64_end(out);
        }
        out.put_u32_le(END);
        out.put_bytes(0, 4); // One disk, whose number is 0.
        out.put_u16_le(or_ones_u16(self.entries));
        out.put_u16_le(or_ones_u16(self.entries));
        out.put_u32_le(or_ones_u32(self.size_bytes));
        out.put_u32_le(or_ones_u32(self.offset));
        out.put_u16_le(0); // No comment.
    }

    fn put_zip64_end(&self, out: &mut BytesMut) {
        out.put_u32_le(ZIP64_END);
        out.put_u64_le(44); // What follows this field.
        out.put_u16_le(MADE_BY);
        out.put_u16_le(VERSION_ZIP64);
        out.put_bytes(0, 8); // One disk, whose number is 0.
        out.put_u64_le(self.entries);
        out.put_u64_le(self.entries);
        out.put_u64_le(self.size_bytes);
        out.put_u64_le(self.offset);

        out.put_u32_le(ZIP64_END_LOCATOR);
        out.put_u32_le(0);
        out.put_u64_le(self.offset.saturating_add(self.size_bytes));
        out.put_u32_le(1); // Disks in all.
    }

    fn is_large(&self) -> bool {
        self.entries >= u64::from(u16::MAX)
            || self.size_bytes >= u64::from(u32::MAX)
            || self.offset >= u64::from(u32::MAX)
    }
}

/// All ones say that the number is in a ZIP64 field (§4.4.1.4).
fn or_ones_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn or_ones_u16(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The time and date fields, in UTC (§4.4.6).
fn dos_timestamp(time: SystemTime) -> (u16, u16) {
    let seconds = unix_seconds(time).clamp(DOS_FIRST, DOS_LAST);
    let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    (
        or_ones_u16((hour << 11) | (minute << 5) | (second / 2)),
        or_ones_u16(((year - 1980) << 9) | (month << 5) | day),
    )
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01:
/// `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms". Years begin in March there, so that the leap day comes last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn entry(size_bytes: u64, offset: u64) -> Entry {
        Entry {
            name: "a".into(),
            size_bytes,
            modified: UNIX_EPOCH,
            offset,
        }
    }

    fn written(put: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        put(&mut out);
        out
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn zip64_begins_where_all_ones_would_be_the_size() {
        for (size_bytes, local, descriptor, central) in [
            (0xffff_fffe, 30 + 1 + 9, 16, 46 + 1 + 9),
            (0xffff_ffff, 30 + 1 + 9 + 20, 24, 46 + 1 + 9 + 20),
            (5 * GIB, 30 + 1 + 9 + 20, 24, 46 + 1 + 9 + 20),
        ] {
            let entry = entry(size_bytes, 0);
            assert_eq!(written(|out| entry.put_local_header(out)).len(), local);
            assert_eq!(
                written(|out| entry.put_descriptor(1, out)).len(),
                descriptor
            );
            assert_eq!(
                written(|out| entry.put_central_header(1, out)).len(),
                central
            );
        }
    }

    #[test]
    fn offset_that_does_not_fit_stands_alone_in_its_zip64_field() {
        let header = written(|out| entry(7, 5 * GIB).put_central_header(1, out));
        assert_eq!(header[6], 45, "the version needed");
        assert_eq!(u32_at(&header, 20), 7, "the size still fits");
        assert_eq!(u32_at(&header, 42), u32::MAX);
        assert_eq!(header[47..51], [1, 0, 8, 0]);
        assert_eq!(u64_at(&header, 51), 5 * GIB);
        let fits = written(|out| entry(7, 0xffff_fffe).put_central_header(1, out));
        assert_eq!(u32_at(&fits, 42), 0xffff_fffe);
        assert_eq!(fits.len(), header.len() - 12);
    }

    #[test]
    fn large_entry_has_its_numbers_in_the_zip64_fields() {
        let entry = entry(5 * GIB, 6 * GIB);
        let local = written(|out| entry.put_local_header(out));
        assert_eq!(
            (u32_at(&local, 18), u32_at(&local, 22)),
            (u32::MAX, u32::MAX)
        );
        let descriptor = written(|out| entry.put_descriptor(0xabcd, out));
        assert_eq!(u32_at(&descriptor, 4), 0xabcd);
        assert_eq!(u64_at(&descriptor, 8), 5 * GIB);
        assert_eq!(u64_at(&descriptor, 16), 5 * GIB);
        let central = written(|out| entry.put_central_header(0xabcd, out));
        assert_eq!(central[47..51], [1, 0, 24, 0]);
        let numbers = [51, 59, 67].map(|at| u64_at(&central, at));
        assert_eq!(numbers, [5 * GIB, 5 * GIB, 6 * GIB]);
    }

    #[test]
    fn end_is_of_zip64_when_any_number_does_not_fit() {
        let end = |entries, offset, size_bytes| {
            let directory = Directory {
                entries,
                offset,
                size_bytes,
            };
            written(|out| directory.put_end(out)).len()
        };
        assert_eq!(end(65_534, 0xffff_fffe, 0xffff_fffe), 22);
        assert_eq!(end(65_535, 0, 0), 56 + 20 + 22);
        assert_eq!(end(1, 0xffff_ffff, 0), 56 + 20 + 22);
        assert_eq!(end(1, 0, 0xffff_ffff), 56 + 20 + 22);
    }

    #[test]
    fn zip64_end_record_says_how_long_it_is_and_where_it_lies() {
        let directory = Directory {
            entries: 70_000,
            offset: 5 * GIB,
            size_bytes: 9,
        };
        let end = written(|out| directory.put_end(out));
        let locator = end.len() - 22 - 20;
        assert_eq!(u64_at(&end, 4), locator as u64 - 12);
        assert_eq!(u32_at(&end, locator), ZIP64_END_LOCATOR);
        assert_eq!(u64_at(&end, locator + 8), 5 * GIB + 9);
        assert_eq!([24, 32].map(|at| u64_at(&end, at)), [70_000; 2]);
        assert_eq!([40, 48].map(|at| u64_at(&end, at)), [9, 5 * GIB]);
    }

    #[test]
    fn dos_timestamps_are_utc_and_clamped() {
        let at = |seconds| dos_timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        let fields = |(y, mo, d): (u16, u16, u16), (h, mi, s): (u16, u16, u16)| {
            (
                (h << 11) | (mi << 5) | (s / 2),
                ((y - 1980) << 9) | (mo << 5) | d,
            )
        };
        for (seconds, date, time) in [
            (0, (1980, 1, 1), (0, 0, 0)),
            (315_532_800, (1980, 1, 1), (0, 0, 0)),
            (951_782_400, (2000, 2, 29), (0, 0, 0)),
            (1_709_251_199, (2024, 2, 29), (23, 59, 59)),
            (1_709_251_200, (2024, 3, 1), (0, 0, 0)),
            (4_107_542_400, (2100, 3, 1), (0, 0, 0)),
            (u64::from(u32::MAX) * 2, (2107, 12, 31), (23, 59, 58)),
        ] {
            assert_eq!(at(seconds), fields(date, time), "{seconds}");
        }
        let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(dos_timestamp(before_1970), at(0));
    }

    #[test]
    fn utc_time_is_kept_to_the_second_until_2038() {
        let mut late = entry(0, 0);
        late.modified = UNIX_EPOCH + Duration::from_secs(0x7fff_fffe);
        let header = written(|out| late.put_local_header(out));
        assert_eq!(header[31..], *b"UT\x05\0\x01\xfe\xff\xff\x7f");
        late.modified = UNIX_EPOCH + Duration::from_secs(1 << 31);
        assert_eq!(written(|out| late.put_local_header(out)).len(), 31);
    }
}
