//! What the registry promises, tried on a source in memory and on files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex as StdMutex, MutexGuard};

use async_trait::async_trait;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::tenant::State;
use crate::tenant::source::{DirectorySource, Listed, TenantFile, WriteError};

/// A source in memory that counts and can fail.
#[derive(Debug, Default)]
struct Shelf {
    files: StdMutex<BTreeMap<String, (u64, String)>>,
    version: AtomicUsize,
    list_fails: AtomicBool,
    read_fails: AtomicBool,
    reads: AtomicUsize,
    passes: AtomicUsize,
    reading: AtomicUsize,
    most_reading: AtomicUsize,
    listing: AtomicUsize,
    most_listing: AtomicUsize,
}

impl Shelf {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, (u64, String)>> {
        self.files.lock().unwrap()
    }

    fn put(&self, file_name: &str, text: impl Into<String>) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) as u64;
        self.files()
            .insert(file_name.to_owned(), (version, text.into()));
    }

    fn remove(&self, file_name: &str) {
        self.files().remove(file_name).unwrap();
    }

    fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl TenantSource for Shelf {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        let listing = self.listing.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_listing.fetch_max(listing, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.listing.fetch_sub(1, Ordering::Relaxed);
        if self.list_fails.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable("no route".to_owned()));
        }
        let files = self.files();
        let listed = files
            .iter()
            .filter_map(|(name, (version, _))| Listed::new(name, version.to_string()));
        Ok(listed.rev().collect())
    }

    async fn read(&self, file_name: &str) -> Result<TenantFile, SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let reading = self.reading.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_reading.fetch_max(reading, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.reading.fetch_sub(1, Ordering::Relaxed);
        if self.read_fails.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable("no route".to_owned()));
        }
        let files = self.files();
        let (version, text) = files.get(file_name).ok_or(SourceError::NotFound)?;
        Ok(TenantFile {
            text: text.clone(),
            version: version.to_string(),
        })
    }

    async fn write(&self, _: &str, _: &str, _: Option<&TenantFile>) -> Result<String, WriteError> {
        unreachable!("the registry only reads")
    }

    async fn remove(&self, _: &str, _: &TenantFile) -> Result<(), WriteError> {
        unreachable!("the registry only reads")
    }
}

/// What stands for a store here: the folder that it was opened for.
type Opened = String;

fn registry(source: impl TenantSource) -> Registry<Opened> {
    shared_registry(Arc::new(source))
}

fn shared_registry(source: Arc<dyn TenantSource>) -> Registry<Opened> {
    Registry::from_source(source, Some("files"), |settings| {
        Ok(settings.layout.folder().to_owned())
    })
}

fn shelf_with(tenants: &[(&str, &str)]) -> Arc<Shelf> {
    let shelf = Arc::new(Shelf::default());
    for (id, folder) in tenants {
        shelf.put(&format!("{id}.yml"), of(folder));
    }
    shelf
}

/// A settings file for this folder.
fn of(folder: &str) -> String {
    format!("s3: {{folder: {folder}}}\n")
}

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn ids(texts: &[&str]) -> Vec<TenantId> {
    texts.iter().map(|text| id(text)).collect()
}

fn folder(registry: &Registry<Opened>, text: &str) -> Option<String> {
    registry.get(&id(text)).map(|tenant| tenant.inner.clone())
}

fn broken(summary: &Summary) -> Vec<&str> {
    summary
        .broken
        .iter()
        .map(|(name, _)| name.as_str())
        .collect()
}

#[tokio::test]
async fn single_tenant_is_there_from_the_start_and_stays() {
    let settings = TenantSettings {
        id: id("default"),
        bucket: "files".to_owned(),
        layout: crate::key::Layout::new("", None, None).unwrap(),
        state: State::Active,
        role: crate::tenant::role::RoleChoice::default(),
        quota_bytes: None,
    };
    let registry = Registry::single(settings, 7);
    assert!(registry.is_loaded());
    assert_eq!(registry.refresh().await, Ok(Summary::default()));
    assert_eq!(registry.get(&id("default")).unwrap().inner, 7);
    assert!(registry.get(&id("other")).is_none());
    Arc::new(registry)
        .run(
            Duration::from_secs(1),
            async |_| {},
            CancellationToken::new(),
        )
        .await;
}

#[tokio::test]
async fn registry_is_loaded_once_a_listing_has_succeeded() {
    let shelf = shelf_with(&[("a", "a")]);
    let registry = shared_registry(shelf.clone());
    assert!(!registry.is_loaded() && registry.is_empty());
    shelf.list_fails.store(true, Ordering::Relaxed);
    assert!(registry.refresh().await.is_err());
    assert!(!registry.is_loaded());
    shelf.list_fails.store(false, Ordering::Relaxed);
    let summary = registry.refresh().await.unwrap();
    assert_eq!(summary.added, ids(&["a"]));
    assert!(registry.is_loaded());
    assert_eq!(registry.len(), 1);
}

#[tokio::test]
async fn nine_hundred_files_are_read_once_and_no_more_than_sixteen_at_a_time() {
    let shelf = Arc::new(Shelf::default());
    for n in 0..900 {
        shelf.put(&format!("site{n:03}.yml"), of(&format!("user{n:03}")));
    }
    let registry = shared_registry(shelf.clone());
    assert_eq!(registry.refresh().await.unwrap().added.len(), 900);
    assert_eq!(shelf.reads(), 900);
    assert_eq!(shelf.most_reading.load(Ordering::Relaxed), 16);
    assert_eq!(registry.refresh().await, Ok(Summary::default()));
    assert_eq!(shelf.reads(), 0);
    shelf.put("site500.yml", of("elsewhere"));
    assert_eq!(registry.refresh().await.unwrap().changed, ids(&["site500"]));
    assert_eq!(shelf.reads(), 1);
    assert_eq!(folder(&registry, "site500").unwrap(), "elsewhere/");
    assert_eq!(folder(&registry, "site899").unwrap(), "user899/");
}

#[tokio::test]
async fn nine_hundred_files_of_a_directory_are_picked_up_as_they_change() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for n in 0..900 {
        let text = format!(
            "db: {{name: redmine_{n}, user: u{n}, password: 'p: {{{n}'}}\n\
             s3: {{bucket: files, folder: {n:03}}}\n\
             property: {{sub_domain: site{n}, limit_ips: ['192.168.0.0/24']}}\n"
        );
        fs::write(path(&format!("site{n}.yml")), text).unwrap();
    }
    let registry = registry(DirectorySource::new(root.path()));
    assert_eq!(registry.refresh().await.unwrap().added.len(), 900);
    assert_eq!(folder(&registry, "site7").unwrap(), "007/");

    fs::remove_file(path("site1.yml")).unwrap();
    fs::write(path("site2.yml"), "s3: {folder: a-new-folder}").unwrap();
    fs::write(path("site3.yml"), b"s3: {folder: \xff}").unwrap();
    fs::write(path("new.yaml"), of("001")).unwrap();
    let summary = registry.refresh().await.unwrap();
    assert_eq!(summary.added, ids(&["new"]));
    assert_eq!(summary.changed, ids(&["site2"]));
    assert_eq!(summary.removed, ids(&["site1"]));
    assert_eq!(broken(&summary), ["site3"]);
    assert_eq!(registry.len(), 900);
    assert_eq!(folder(&registry, "site3").unwrap(), "003/");
}

#[tokio::test]
async fn broken_file_keeps_the_last_good_version_and_disturbs_nobody() {
    let shelf = shelf_with(&[("a", "a"), ("b", "b")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    let before = registry.get(&id("a")).unwrap();
    shelf.put("a.yml", "s3: {folder: [secret");
    shelf.put("b.yml", of("b2"));
    shelf.put("c.yml", "kura: {state: gone}");
    let summary = registry.refresh().await.unwrap();
    assert_eq!(broken(&summary), ["a", "c"]);
    assert!(!format!("{summary:?}").contains("secret"));
    assert!(Arc::ptr_eq(&before, &registry.get(&id("a")).unwrap()));
    assert_eq!(folder(&registry, "b").unwrap(), "b2/");
    assert!(registry.get(&id("c")).is_none());

    shelf.reads();
    assert_eq!(broken(&registry.refresh().await.unwrap()), ["a", "c"]);
    assert_eq!(shelf.reads(), 0, "a version that is broken stays so");
    shelf.put("a.yml", of("a2"));
    shelf.remove("c.yml");
    let summary = registry.refresh().await.unwrap();
    assert_eq!((summary.changed, summary.broken), (ids(&["a"]), vec![]));
}

#[tokio::test]
async fn file_that_cannot_be_read_is_tried_again() {
    let shelf = shelf_with(&[("a", "a")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    shelf.put("a.yml", of("a2"));
    shelf.read_fails.store(true, Ordering::Relaxed);
    assert_eq!(broken(&registry.refresh().await.unwrap()), ["a"]);
    assert_eq!(folder(&registry, "a").unwrap(), "a/");
    shelf.read_fails.store(false, Ordering::Relaxed);
    assert_eq!(registry.refresh().await.unwrap().changed, ids(&["a"]));
    assert_eq!(folder(&registry, "a").unwrap(), "a2/");
}

#[tokio::test]
async fn failing_listing_keeps_everything_in_force() {
    let shelf = shelf_with(&[("a", "a"), ("b", "b")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    shelf.remove("a.yml");
    shelf.list_fails.store(true, Ordering::Relaxed);
    assert!(registry.refresh().await.is_err());
    assert_eq!(registry.len(), 2);
    shelf.list_fails.store(false, Ordering::Relaxed);
    assert_eq!(registry.refresh().await.unwrap().removed, ids(&["a"]));
    assert_eq!(registry.len(), 1);
}

#[tokio::test]
async fn tenant_stays_the_same_object_while_its_settings_do() {
    let shelf = shelf_with(&[("a", "a")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    let before = registry.get(&id("a")).unwrap();
    shelf.put("a.yml", format!("db: {{password: rotated}}\n{}", of("a")));
    assert_eq!(registry.refresh().await, Ok(Summary::default()));
    assert!(Arc::ptr_eq(&before, &registry.get(&id("a")).unwrap()));

    shelf.put("a.yml", format!("{}kura: {{state: suspended}}", of("a")));
    assert_eq!(registry.refresh().await.unwrap().changed, ids(&["a"]));
    let after = registry.get(&id("a")).unwrap();
    assert_eq!(after.settings.state, State::Suspended);
    assert_eq!(before.settings.state, State::Active);
}

#[tokio::test]
async fn ids_that_differ_in_case_are_two_tenants() {
    let registry = shared_registry(shelf_with(&[("site", "a"), ("Site", "A")]));
    registry.refresh().await.unwrap();
    assert_eq!(folder(&registry, "site").unwrap(), "a/");
    assert_eq!(folder(&registry, "Site").unwrap(), "A/");
}

#[tokio::test]
async fn two_files_for_one_tenant_are_an_error_of_that_tenant() {
    let shelf = shelf_with(&[("a", "a"), ("b", "b")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    shelf.put("a.yaml", of("other"));
    let summary = registry.refresh().await.unwrap();
    let error = "there are two files for this tenant, `a.yaml` and `a.yml`";
    assert_eq!(summary.broken, [("a".to_owned(), error.to_owned())]);
    assert_eq!(folder(&registry, "a").unwrap(), "a/");
    shelf.remove("a.yml");
    assert_eq!(registry.refresh().await.unwrap().changed, ids(&["a"]));
    assert_eq!(folder(&registry, "a").unwrap(), "other/");
}

#[tokio::test]
async fn file_name_that_gives_no_id_is_reported() {
    let registry = shared_registry(shelf_with(&[("site a", "a"), ("-b", "b"), ("c", "c")]));
    let summary = registry.refresh().await.unwrap();
    assert_eq!(broken(&summary), ["-b", "site a"]);
    assert_eq!(summary.added, ids(&["c"]));
}

#[tokio::test]
async fn of_new_tenants_with_overlapping_folders_the_first_wins() {
    let registry = shared_registry(shelf_with(&[
        ("b", "x"),
        ("a", "x/y"),
        ("c", "x"),
        ("d", "z"),
    ]));
    let summary = registry.refresh().await.unwrap();
    assert_eq!(summary.added, ids(&["a", "d"]));
    assert_eq!(broken(&summary), ["b", "c"]);
    assert!(
        summary
            .broken
            .iter()
            .all(|(_, error)| error.contains("`a`"))
    );
}

#[tokio::test]
async fn the_same_folder_of_another_bucket_is_free() {
    let shelf = shelf_with(&[("a", "x")]);
    shelf.put("b.yml", "s3: {bucket: other, folder: x}");
    let summary = shared_registry(shelf).refresh().await.unwrap();
    assert_eq!(summary.added, ids(&["a", "b"]));
}

#[tokio::test]
async fn tenant_in_force_keeps_its_folder_until_it_leaves_it() {
    let shelf = shelf_with(&[("m", "x"), ("n", "n")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    shelf.put("a.yml", of("x/a"));
    shelf.put("n.yml", of("x"));
    assert_eq!(broken(&registry.refresh().await.unwrap()), ["a", "n"]);
    assert_eq!(folder(&registry, "m").unwrap(), "x/");
    assert_eq!(folder(&registry, "n").unwrap(), "n/");

    shelf.put("m.yml", of("y"));
    shelf.remove("n.yml");
    let summary = registry.refresh().await.unwrap();
    assert_eq!(summary.changed, ids(&["m"]));
    assert_eq!(
        summary.added,
        ids(&["a"]),
        "although its file has not changed"
    );
    assert_eq!(summary.removed, ids(&["n"]));
    assert_eq!(broken(&summary), [""; 0]);
}

#[tokio::test]
async fn renamed_file_moves_the_folder_to_the_new_tenant_at_once() {
    let shelf = shelf_with(&[("old", "x")]);
    let registry = shared_registry(shelf.clone());
    registry.refresh().await.unwrap();
    shelf.remove("old.yml");
    shelf.put("new.yml", of("x"));
    let summary = registry.refresh().await.unwrap();
    assert_eq!(
        (summary.added, summary.removed),
        (ids(&["new"]), ids(&["old"]))
    );
    assert_eq!(summary.broken, []);
}

#[tokio::test]
async fn tenant_that_cannot_be_opened_is_tried_again() {
    let works = Arc::new(AtomicBool::new(false));
    let opens = works.clone();
    let registry = Registry::from_source(shelf_with(&[("a", "a")]), Some("files"), move |_| {
        opens
            .load(Ordering::Relaxed)
            .then_some(())
            .ok_or("no role".to_owned())
    });
    let summary = registry.refresh().await.unwrap();
    let error = "the tenant cannot be opened: no role";
    assert_eq!(summary.broken, [("a".to_owned(), error.to_owned())]);
    works.store(true, Ordering::Relaxed);
    assert_eq!(registry.refresh().await.unwrap().added, ids(&["a"]));
}

#[tokio::test]
async fn refreshes_are_one_after_the_other() {
    let shelf = shelf_with(&[("a", "a"), ("b", "b")]);
    let registry = shared_registry(shelf.clone());
    let (one, other) = tokio::join!(registry.refresh(), registry.refresh());
    assert_eq!(one.unwrap().added, ids(&["a", "b"]));
    assert_eq!(other, Ok(Summary::default()));
    assert_eq!(shelf.most_listing.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn refresh_that_is_dropped_has_done_nothing() {
    let shelf = shelf_with(&[("a", "a")]);
    let registry = shared_registry(shelf);
    for polls in 0..2 {
        let mut refresh = Box::pin(registry.refresh());
        for _ in 0..=polls {
            assert!(futures_util::poll!(&mut refresh).is_pending());
        }
        drop(refresh);
        assert!(registry.is_empty() && !registry.is_loaded());
    }
    assert_eq!(registry.refresh().await.unwrap().added, ids(&["a"]));
}

#[tokio::test]
async fn running_registry_refreshes_at_once_and_again_until_cancelled() {
    let shelf = shelf_with(&[("a", "a")]);
    shelf.list_fails.store(true, Ordering::Relaxed);
    let registry = Arc::new(shared_registry(shelf.clone()));
    let cancel = CancellationToken::new();
    let running = tokio::spawn(registry.clone().run(
        Duration::from_millis(1),
        async |_| {},
        cancel.clone(),
    ));
    while shelf.passes.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!registry.is_loaded());
    shelf.list_fails.store(false, Ordering::Relaxed);
    while !registry.is_loaded() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    running.await.unwrap();
    assert_eq!(folder(&registry, "a").unwrap(), "a/");
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(Arc<StdMutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_change_and_each_fault_is_logged_once() {
    let log = Log::default();
    let format = tracing_subscriber::fmt().with_ansi(false).without_time();
    let subscriber = format.with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, an event that another test's thread comes to
    // first would be taken for one that nobody wants, here too.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let shelf = shelf_with(&[("a", "a"), ("b", "[secret")]);
    let registry = shared_registry(shelf.clone());
    let mut told = String::new();
    let refresh = async |told: &mut String| {
        let _ = registry.refresh().await;
        writeln!(told, "{}--", log.take()).unwrap();
    };
    refresh(&mut told).await;
    refresh(&mut told).await;
    shelf.put("b.yml", of("a/b"));
    shelf.put("a.yml", of("a/"));
    refresh(&mut told).await;
    refresh(&mut told).await;
    shelf.list_fails.store(true, Ordering::Relaxed);
    refresh(&mut told).await;
    refresh(&mut told).await;
    shelf.list_fails.store(false, Ordering::Relaxed);
    shelf.read_fails.store(true, Ordering::Relaxed);
    shelf.put("b.yml", of("b"));
    refresh(&mut told).await;
    refresh(&mut told).await;
    shelf.read_fails.store(false, Ordering::Relaxed);
    shelf.remove("a.yml");
    refresh(&mut told).await;
    let expected = [
        " INFO kura::tenant::registry: tenant added tenant=a",
        "ERROR kura::tenant::files: tenant file is broken tenant=\"b\" error=s3.folder: a mapping where text is expected, or the other way round (line 1, column 14)",
        "--",
        "--",
        "ERROR kura::tenant::files: tenant file is broken tenant=\"b\" error=its folder contains, or lies in, the folder of tenant `a` in the same bucket",
        "--",
        "--",
        "ERROR kura::tenant::files: tenant files cannot be listed error=the tenant files cannot be read: no route",
        "--",
        "--",
        " INFO kura::tenant::files: tenant files can be listed again",
        "ERROR kura::tenant::files: tenant file is broken tenant=\"b\" error=the tenant files cannot be read: no route",
        "--",
        "--",
        " INFO kura::tenant::registry: tenant added tenant=b",
        " INFO kura::tenant::registry: tenant removed tenant=a",
        "--",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}
