//! Listing: the byte order of the keys, page by page.

use super::{Bench, cases};
use crate::digest::Digest;
use crate::key::StoreKey;
use crate::storage::Entry;

/// In byte order. A directory store cannot keep `b` beside `b/x`, hence not
/// both are here; what sorts about the slash is.
const NAMES: [&str; 18] = [
    " leading space",
    "100% + 5 = a&b?c#d.txt",
    "A",
    "a",
    "a-/x",
    "a.b",
    "a0",
    "b-",
    "b.x",
    "b/x",
    "b/x.y/z",
    "b/xy",
    "b/日本",
    "b0",
    "c/d/e/f",
    "~",
    "日本語/添付 ファイル.txt",
    "日本語0",
];

cases![
    list_is_in_the_byte_order_of_keys,
    list_pages_meet_without_gap_or_overlap,
    list_keeps_to_the_prefix,
    list_starts_behind_a_key_that_is_not_there,
    list_describes_the_objects,
    list_of_nothing_is_empty,
];

async fn fill(bench: &Bench) {
    for name in NAMES.iter().rev() {
        bench.put(&bench.key(name), name.as_bytes()).await;
    }
}

async fn list_is_in_the_byte_order_of_keys(bench: Bench) {
    fill(&bench).await;
    assert_eq!(bench.names().await, NAMES);
}

async fn list_pages_meet_without_gap_or_overlap(bench: Bench) {
    fill(&bench).await;
    for limit in 1..=NAMES.len() + 1 {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.key.as_str());
            let page = bench.store.list(&bench.folder(), after, limit).await;
            let page = page.unwrap();
            assert!(page.entries.len() <= limit);
            assert!(!page.more || !page.entries.is_empty());
            entries.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let mut keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        keys.sort_unstable();
        let expected = NAMES.map(|name| bench.key(name));
        assert_eq!(
            keys,
            expected.each_ref().map(StoreKey::as_str),
            "pages of {limit}"
        );
    }
}

async fn list_keeps_to_the_prefix(bench: Bench) {
    fill(&bench).await;
    for prefix in [
        "b",
        "b/",
        "b/x",
        "b/x/",
        "b-",
        "c/d/",
        "日",
        "日本語/",
        "a",
        "z",
    ] {
        let expected = NAMES.into_iter().filter(|name| name.starts_with(prefix));
        let expected: Vec<&str> = expected.collect();
        let mut listed = listed(&bench, prefix, None).await;
        listed.sort_unstable();
        assert_eq!(listed, expected, "{prefix}");
    }
}

async fn list_starts_behind_a_key_that_is_not_there(bench: Bench) {
    fill(&bench).await;
    for after in [
        "", "a-", "a-/", "b", "b/", "b/x", "b/x.y/", "b/zz", "b//", "~~", "鷹",
    ] {
        for prefix in ["", "b/"] {
            let expected = NAMES.into_iter().filter(|name| name.starts_with(prefix));
            let expected: Vec<&str> = expected.filter(|name| *name > after).collect();
            let names = listed(&bench, prefix, Some(after)).await;
            assert_eq!(names, expected, "{prefix} behind {after}");
        }
    }
}

async fn listed(bench: &Bench, prefix: &str, after: Option<&str>) -> Vec<String> {
    let folder = bench.folder();
    let after = after.map(|after| format!("{folder}{after}"));
    let page = bench
        .store
        .list(&format!("{folder}{prefix}"), after.as_deref(), 1000)
        .await
        .unwrap();
    let keys = page.entries.iter();
    keys.map(|entry| entry.key.strip_prefix(&folder).unwrap().to_owned())
        .collect()
}

async fn list_describes_the_objects(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"abc").await;
    let page = bench.store.list(&bench.folder(), None, 1).await.unwrap();
    let info = bench.store.head(&key).await.unwrap();
    let [entry] = page.entries.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!((entry.key.as_str(), entry.size_bytes), (key.as_str(), 3));
    assert!(entry.digest.is_none_or(|it| it == Digest::of(b"abc")));
    // S3 gives the fraction of a second in one answer and not in the other.
    let seconds = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_secs()
    };
    assert_eq!(seconds(entry.modified), seconds(info.modified));
    assert!(!page.more);
}

async fn list_of_nothing_is_empty(bench: Bench) {
    for prefix in ["", "a", "a/b/c/"] {
        assert!(listed(&bench, prefix, None).await.is_empty());
    }
}
