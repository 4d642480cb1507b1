//! Archives are read back by Python's `zipfile`, a reader that is not ours.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::ready;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Prints name, size, CRC-32, time and mode of each entry. Checks besides what
/// `zipfile` does not look at: that headers, contents and descriptors lie
/// without a gap, and that each descriptor says what the directory does. The
/// contents of entries over a GiB are not read.
const READ_BACK: &str = r"
import json, struct, sys, zipfile
path = sys.argv[1]
with zipfile.ZipFile(path) as archive, open(path, 'rb') as raw:
    listed, position = [], 0
    for entry in archive.infolist():
        assert entry.header_offset == position, entry
        assert entry.flag_bits == 0x808 and entry.compress_type == 0, entry
        raw.seek(position + 26)
        position += 30 + sum(struct.unpack('<HH', raw.read(4))) + entry.file_size
        if entry.file_size < 1 << 30:
            archive.read(entry)
        raw.seek(position)
        descriptor = '<IIQQ' if entry.file_size >= 0xffffffff else '<IIII'
        position += struct.calcsize(descriptor)
        size = entry.file_size
        expected = (0x08074b50, entry.CRC, size, size)
        assert struct.unpack(descriptor, raw.read(struct.calcsize(descriptor))) == expected, entry
        mode = entry.external_attr >> 16
        listed.append([entry.filename, size, entry.CRC, list(entry.date_time), mode])
    assert archive.start_dir == position
print(json.dumps(listed))
";

fn read_back(path: &Path) -> Vec<Value> {
    let python = Command::new("python3")
        .args(["-c", READ_BACK])
        .arg(path)
        .output()
        .expect("these tests need python3");
    let complaint = String::from_utf8_lossy(&python.stderr);
    assert!(python.status.success(), "{complaint}");
    serde_json::from_slice(&python.stdout).unwrap()
}

fn plan_entry(name: &str, size_bytes: u64) -> PlanEntry {
    PlanEntry {
        name: name.to_owned(),
        size_bytes,
        modified: UNIX_EPOCH + Duration::from_secs(1_790_000_001),
    }
}

/// Contents that come in chunks as given, or an error.
type Chunks = Vec<Result<Bytes, &'static str>>;

/// Streams an archive of these contents; every part of it is ready at once.
fn emitted(plan: Plan, contents: &[Chunks]) -> Vec<Result<Bytes, ArchiveError<&'static str>>> {
    let open = |index: usize| ready(Ok(stream::iter(contents[index].clone()).boxed()));
    let archive = stream(plan, open);
    assert_is_sendable(&archive);
    archive.collect().now_or_never().unwrap()
}

/// A response's body moves between the threads of the server.
fn assert_is_sendable<T: Send>(_: &T) {}

fn written(plan: Plan, contents: &[Chunks]) -> Vec<u8> {
    let mut archive = Vec::new();
    for chunk in emitted(plan, contents) {
        archive.extend_from_slice(&chunk.unwrap());
    }
    archive
}

fn saved(archive: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(archive).unwrap();
    file
}

fn chunks(parts: &[Vec<u8>]) -> Chunks {
    let parts = parts.iter();
    parts.map(|part| Ok(Bytes::from(part.clone()))).collect()
}

#[test]
fn empty_archive_is_an_end_record_alone() {
    let plan = Plan::new(Vec::new());
    assert_eq!(plan.total_bytes(), 22);
    let archive = written(plan, &[]);
    assert_eq!(archive.len(), 22);
    assert!(read_back(saved(&archive).path()).is_empty());
}

#[test]
fn entry_keeps_its_name_time_and_mode() {
    let plan = Plan::new(vec![plan_entry("見積.txt", 9)]);
    let archive = written(plan, &[chunks(&[b"1234".to_vec(), b"56789".to_vec()])]);
    let expected = serde_json::json!([
        "見積.txt",
        9,
        0xcbf4_3926_u32,
        [2026, 9, 21, 14, 13, 20],
        0o100_644
    ]);
    assert_eq!(read_back(saved(&archive).path()), [expected]);
}

#[test]
fn body_that_is_not_as_long_as_announced_ends_the_archive_with_an_error() {
    for (content, passed_bytes) in [(b"12".to_vec(), 2), (b"1234".to_vec(), 0)] {
        let plan = Plan::new(vec![plan_entry("a", 3), plan_entry("b", 0)]);
        let header_bytes = length_of(|out| plan.entries[0].put_local_header(out));
        let mut items = emitted(plan, &[chunks(&[content]), Vec::new()]);
        let last = items.pop().unwrap();
        assert!(matches!(last, Err(ArchiveError::WrongSize { index: 0 })));
        let passed = items.into_iter().map(|item| item.unwrap().len() as u64);
        assert_eq!(passed.sum::<u64>(), header_bytes + passed_bytes);
    }
}

#[test]
fn body_that_breaks_ends_the_archive_with_its_error() {
    let plan = Plan::new(vec![plan_entry("a", 0), plan_entry("b", 3)]);
    let broken = vec![Ok(Bytes::from_static(b"12")), Err("broken")];
    let mut items = emitted(plan, &[Vec::new(), broken]);
    let Some(Err(ArchiveError::Unread { index, reason })) = items.pop() else {
        panic!("the archive went on");
    };
    assert_eq!((index, reason), (1, "broken"));
    assert!(items.iter().all(Result::is_ok));
}

#[test]
fn entry_that_cannot_be_opened_leaves_no_trace_but_the_error() {
    let plan = Plan::new(vec![plan_entry("a", 1)]);
    let open = |_| ready(Err::<BoxStream<'static, _>, _>("gone"));
    let items: Vec<Result<Bytes, _>> = stream(plan, open).collect().now_or_never().unwrap();
    assert!(matches!(
        items[..],
        [Err(ArchiveError::Unread {
            index: 0,
            reason: "gone"
        })]
    ));
}

#[test]
fn seventy_thousand_entries_are_read_back() {
    let count = 70_000;
    let plan = Plan::new(vec![plan_entry("a.txt", 1); count]);
    let total = plan.total_bytes();
    let contents = vec![chunks(&[b"x".to_vec()]); count];
    let items = emitted(plan, &contents);
    let longest = items.iter().map(|item| item.as_ref().unwrap().len()).max();
    assert!(longest < Some(DIRECTORY_CHUNK_BYTES + 1024), "{longest:?}");

    let archive: Vec<u8> = items.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(archive.len() as u64, total);
    let listed = read_back(saved(&archive).path());
    assert_eq!(listed.len(), count);
    assert_eq!(listed[0][0], "a.txt");
    assert_eq!(listed[count - 1][0], format!("a({}).txt", count - 1));
}

/// The contents are holes in a sparse file, and their CRC-32 is put together
/// from that of a MiB, so that nothing of the five GiB is computed or stored.
#[test]
fn archive_over_four_gib_is_read_back() {
    const SIZE_BYTES: u64 = 5 << 30;
    let plan = Plan::new(vec![plan_entry("zeros", SIZE_BYTES), plan_entry("none", 0)]);
    let checksums = [crc32_of_zeros(SIZE_BYTES), 0];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (entry, crc32) in plan.entries.iter().zip(checksums) {
        file.write_all(&record(|out| entry.put_local_header(out)))
            .unwrap();
        let hole = SeekFrom::Current(entry.size_bytes.try_into().unwrap());
        file.seek(hole).unwrap();
        file.write_all(&record(|out| entry.put_descriptor(crc32, out)))
            .unwrap();
    }
    let (directory, None) = plan.directory_chunk(0, &checksums) else {
        panic!("two entries did not fit one piece");
    };
    file.write_all(&directory).unwrap();
    assert_eq!(file.stream_position().unwrap(), plan.total_bytes());

    let listed = read_back(file.path());
    assert_eq!(listed[0][0], "zeros");
    assert_eq!(listed[0][1], SIZE_BYTES);
    assert_eq!(listed[1][0], "none");
}

fn crc32_of_zeros(size_bytes: u64) -> u32 {
    static PIECE: [u8; 1 << 20] = [0; 1 << 20];
    let mut piece = crc32fast::Hasher::new();
    piece.update(&PIECE);
    let mut whole = crc32fast::Hasher::new();
    for _ in 0..size_bytes / PIECE.len() as u64 {
        whole.combine(&piece);
    }
    whole.finalize()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_archive_has_the_planned_length_and_is_read_back(
        files in proptest::collection::vec(
            (
                prop_oneof!["[ab]{1,2}[.]txt", "\\PC{0,12}"],
                0_u64..5_000_000_000,
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..4),
            ),
            0..20,
        ),
    ) {
        let entries = files.iter().map(|(name, seconds, parts)| PlanEntry {
            name: name.clone(),
            size_bytes: parts.concat().len() as u64,
            modified: UNIX_EPOCH + Duration::from_secs(*seconds),
        });
        let plan = Plan::new(entries.collect());
        let total = plan.total_bytes();
        let contents: Vec<_> = files.iter().map(|(_, _, parts)| chunks(parts)).collect();
        let archive = written(plan, &contents);
        prop_assert_eq!(archive.len() as u64, total);

        let listed = read_back(saved(&archive).path());
        let names = unique_names(files.iter().map(|(name, ..)| name.clone()).collect());
        prop_assert_eq!(listed.len(), names.len());
        for ((entry, name), (_, _, parts)) in listed.iter().zip(names).zip(&files) {
            prop_assert_eq!(&entry[0], &name);
            prop_assert_eq!(&entry[2], crc32fast::hash(&parts.concat()));
        }
    }
}
