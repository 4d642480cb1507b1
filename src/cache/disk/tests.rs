use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;
use crate::cache::tests::key;

const MAX: u64 = 1 << 20;

fn open_with(directory: &TempDir, max_bytes: u64) -> Arc<DiskCache> {
    let cache = DiskCache::open(directory.path(), max_bytes, &Metrics::default()).unwrap();
    Arc::new(cache)
}

fn open(directory: &TempDir) -> Arc<DiskCache> {
    open_with(directory, MAX)
}

fn path_of(cache: &DiskCache, key: &CacheKey) -> PathBuf {
    cache.path(EntryId::of(key))
}

fn thumbnail(number: u8) -> Bytes {
    Bytes::from(vec![number; 5000])
}

#[tokio::test]
async fn thumbnail_is_there_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let key = key("a", 1, 100);
    let cache = open(&directory);
    assert_eq!(cache.get(&key).await, None);
    cache.put(&key, &thumbnail(1)).await;
    assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
    drop(cache);

    let cache = open(&directory);
    // Also before it is known what is there.
    assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
    assert_eq!(cache.scan(), (1, 8192));
    assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
    assert_eq!(cache.metrics.bytes.get(), 8192);
}

#[tokio::test]
async fn what_was_used_last_stays_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<_> = (0..4).map(|number| key("a", number, 100)).collect();
    let cache = open(&directory);
    for key in &keys {
        cache.put(key, &thumbnail(1)).await;
    }
    for (key, age) in keys.iter().zip([10, 40, 30, 20]) {
        let file = File::options().write(true).open(path_of(&cache, key));
        let modified = SystemTime::now() - Duration::from_secs(age);
        file.unwrap().set_modified(modified).unwrap();
    }
    drop(cache);

    let cache = open_with(&directory, 3 * 8192 + 1000);
    cache.scan();
    assert_eq!(cache.get(&keys[1]).await, None);
    assert_eq!(cache.get(&keys[2]).await, Some(thumbnail(1)));
    cache.put(&keys[1], &thumbnail(2)).await;
    assert_eq!(cache.get(&keys[3]).await, None);
    assert!(!path_of(&cache, &keys[3]).exists());
    assert_eq!(cache.metrics.entries.get(), 3);
    assert_eq!(cache.metrics.evictions.get(), 2);
}

#[tokio::test]
async fn file_tells_within_an_hour_when_it_was_used() {
    let directory = tempfile::tempdir().unwrap();
    let key = key("a", 1, 100);
    let cache = open(&directory);
    cache.put(&key, &thumbnail(1)).await;
    let file = File::options().write(true).open(path_of(&cache, &key));
    let file = file.unwrap();
    for (age, is_set) in [(USE_INTERVAL / 2, false), (USE_INTERVAL * 2, true)] {
        let used = SystemTime::now() - age;
        file.set_modified(used).unwrap();
        assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
        let modified = file.metadata().unwrap().modified().unwrap();
        assert_eq!(modified > used + USE_INTERVAL, is_set);
    }
}

#[tokio::test]
async fn only_what_is_as_it_should_be_is_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let key = key("a", 1, 100);
    let cache = open(&directory);
    let at_once = || cache.read_at_once(EntryId::of(&key), &key);
    cache.put(&key, &thumbnail(1)).await;
    let read = cache.resident.then(|| thumbnail(1));
    assert_eq!(at_once(), read);
    fs::write(path_of(&cache, &key), b"damaged").unwrap();
    assert_eq!(at_once(), None);
    fs::remove_file(path_of(&cache, &key)).unwrap();
    assert_eq!(at_once(), None);
    assert!(cache.lock().contains(EntryId::of(&key)));
}

#[tokio::test]
async fn damaged_files_are_noticed_counted_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (mine, other) = (key("a", 1, 100), key("b", 1, 100));
    let cache = open(&directory);
    let whole = {
        cache.put(&other, &thumbnail(2)).await;
        fs::read(path_of(&cache, &other)).unwrap()
    };
    cache.put(&mine, &thumbnail(1)).await;
    let path = path_of(&cache, &mine);
    let intact = fs::read(&path).unwrap();
    let mut flipped = intact.clone();
    flipped[1000] ^= 1;
    let damages = [&flipped[..], &intact[..intact.len() - 1], b"", &whole];
    for (count, damaged) in (1..).zip(damages) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, damaged).unwrap();
        cache.lock().note(EntryId::of(&mine), 1);
        assert_eq!(cache.get(&mine).await, None);
        assert!(!path.exists());
        assert_eq!(cache.corrupt.get(), count);
    }
    assert_eq!(cache.get(&other).await, Some(thumbnail(2)));
    assert_eq!(cache.metrics.entries.get(), 1);
}

#[tokio::test]
async fn removing_concerns_one_tenant_and_if_wanted_one_original() {
    for scanned in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let keys = [
            key("a", 1, 100),
            key("a", 1, 200),
            key("a", 2, 100),
            key("b", 1, 100),
        ];
        let cache = open(&directory);
        for key in &keys {
            cache.put(key, &thumbnail(1)).await;
        }
        drop(cache);
        let cache = open(&directory);
        if scanned {
            cache.scan();
        }
        let there = async || {
            let mut there = Vec::new();
            for key in &keys {
                there.push(cache.get(key).await.is_some());
            }
            there
        };
        let (tenant, original) = (&keys[0].tenant, keys[0].thumbnail.original());
        cache.remove(tenant, Some(original)).await;
        assert_eq!(there().await, [false, false, true, true]);
        cache.remove(tenant, None).await;
        assert_eq!(there().await, [false, false, false, true]);
        assert_eq!(cache.scan(), (1, 8192));
    }
}

#[test]
fn only_one_process_has_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory);
    let second = DiskCache::open(directory.path(), MAX, &Metrics::default());
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    open(&directory);
}

#[tokio::test]
async fn nobody_else_may_read_it_and_nothing_unfinished_stays() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory);
    let key = key("a", 1, 100);
    cache.put(&key, &thumbnail(1)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let path = path_of(&cache, &key);
    assert_eq!(mode(cache.place.root()), 0o700);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    let unfinished = cache.place.root().join("tmp").join("7");
    fs::write(&unfinished, b"x").unwrap();
    drop(cache);
    open(&directory);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn trouble_with_the_disk_is_as_if_there_were_none() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory);
    let key = key("a", 1, 100);
    // A file where a directory belongs fails every write, also root's.
    fs::remove_dir(cache.place.root().join("tmp")).unwrap();
    fs::write(cache.place.root().join("tmp"), b"x").unwrap();
    cache.put(&key, &thumbnail(1)).await;
    assert_eq!(cache.get(&key).await, None);
    assert!(cache.complained.lock().unwrap().is_some());
    fs::remove_file(cache.place.root().join("tmp")).unwrap();
    fs::create_dir(cache.place.root().join("tmp")).unwrap();
    cache.put(&key, &thumbnail(1)).await;
    assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
}

#[tokio::test]
async fn directory_that_somebody_removes_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory);
    let keys = [key("a", 1, 100), key("a", 2, 100)];
    for gone in ["", "tmp", "lock"] {
        cache.put(&keys[0], &thumbnail(1)).await;
        let gone = cache.place.root().join(gone);
        let _ = fs::remove_dir_all(&gone).or_else(|_| fs::remove_file(&gone));
        cache.put(&keys[1], &thumbnail(2)).await;
        assert_eq!(cache.get(&keys[1]).await, Some(thumbnail(2)));
        let second = DiskCache::open(directory.path(), MAX, &Metrics::default());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    assert!(cache.complained.lock().unwrap().is_none());
}

#[tokio::test]
async fn directory_that_another_process_has_made_again_is_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory);
    let key = key("a", 1, 100);
    fs::remove_dir_all(cache.place.root()).unwrap();
    let other = open(&directory);
    cache.put(&key, &thumbnail(1)).await;
    assert!(cache.complained.lock().unwrap().is_some());
    assert_eq!(other.scan(), (0, 0));
    // Until that one has gone.
    drop(other);
    cache.put(&key, &thumbnail(1)).await;
    assert_eq!(cache.get(&key).await, Some(thumbnail(1)));
}
