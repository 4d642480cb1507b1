//! `kura migrate`: between Redmine's directory and the store, with the real
//! binary, killed in the middle and run again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use kura::digest::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::{BUCKET, FOLDER};
use crate::support::operator::Operator;
use crate::support::pattern;
use crate::support::s3_server::S3Server;
use crate::support::stand::eventually;

/// A Redmine's files, as `tree` has them: by key.
fn disk(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (key, bytes) in files {
        let path = root.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    root
}

fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap();
                all.insert(key.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn report(output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// What was skipped, by file.
fn skipped(report: &Value) -> BTreeMap<&str, &str> {
    let skipped = report["skipped"].as_array().unwrap().iter();
    skipped
        .map(|it| (it["file"].as_str().unwrap(), it["why"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_to_the_store_with_the_headers_of_the_listing_and_come_back() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let large = pattern(1, 20 << 20);
    let files = disk(&[
        ("2026/11/261122194501_a.pdf", b"abc"),
        ("2026/11/261122194502_0f.png", b""),
        ("old.txt", b"from an old Redmine"),
        ("2026/12/261201000000_large.bin", &large),
    ]);
    let listing = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        listing.path(),
        format!(
            "disk_directory,disk_filename,filename,content_type,filesize,digest\n\
             2026/11,261122194501_a.pdf,\u{898b}\u{7a4d} a.pdf,application/pdf,3,{}\n\
             2026/11,261122194502_0f.png,b.png,image/png,0,\n\
             ,old.txt,old.txt,,19,{}\n",
            Digest::of(b"abc"),
            "2e84b8a0d2d0a6c1a4be8a4f5d2c9a11",
        ),
    )
    .unwrap();
    let files_at = files.path().to_str().unwrap();
    let listing_at = listing.path().to_str().unwrap();
    let to_kura = [
        "migrate", "to-kura", "default", "--json", "--files", files_at,
    ];

    let output = operator.run(&[&to_kura[..], &["--listing", listing_at]].concat());
    let sent = report(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(sent["moved"]["files"], 3);
    let why = skipped(&sent);
    assert_eq!(why["old.txt"], "its digest is not that of the listing");
    let pdf = format!("{FOLDER}/2026/11/261122194501_a.pdf");
    let object = server.object(BUCKET, &pdf).unwrap();
    assert_eq!(object.content_type(), Some("application/pdf"));
    assert_eq!(
        object.content_disposition(),
        Some("inline; filename=%E8%A6%8B%E7%A9%8D%20a.pdf")
    );
    assert_eq!(
        object.metadata("digest"),
        Some(Digest::of(b"abc").to_string().as_str())
    );

    // Without the wrong row it is taken, and the others are there already.
    let output = operator.run(&to_kura);
    let again = report(&output);
    assert_eq!(output.status.code(), Some(0), "{again}");
    assert_eq!(
        (
            again["moved"]["files"].as_u64(),
            again["there"]["files"].as_u64()
        ),
        (Some(1), Some(3))
    );

    let stored = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    server.set_modified(BUCKET, &pdf, stored);
    let back = tempfile::tempdir().unwrap();
    let back_at = back.path().to_str().unwrap();
    let output = operator.run(&["migrate", "to-disk", "default", "--files", back_at]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tree(back.path()), tree(files.path()));
    let metadata = fs::metadata(back.path().join("2026/11/261122194501_a.pdf")).unwrap();
    assert_eq!(metadata.modified().unwrap(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_told_one_by_one_and_nothing_is_overwritten() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let files = disk(&[
        ("delete.me", b""),
        ("2026/11/taken", b"mine"),
        ("2026/11/same", b"same"),
        ("tmp/thumbs", b"reserved"),
        ("2026/11/line\nend", b"x"),
    ]);
    symlink("taken", files.path().join("2026/11/link")).unwrap();
    let held = |key: &str, body: &'static [u8]| {
        let key = format!("{FOLDER}/2026/11/{key}");
        server.put_object(BUCKET, &key, Bytes::from_static(body), &[]);
    };
    held("taken", b"ours");
    held("same", b"same");
    let files_at = files.path().to_str().unwrap();
    let arguments = [
        "migrate",
        "to-kura",
        "default",
        "--json",
        "--remove-source",
        "--files",
        files_at,
    ];
    let output = operator.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    let why = skipped(&report);
    assert_eq!(why.len(), 4, "{report}");
    assert_eq!(
        why["2026/11/taken"],
        "another file has its name at the destination"
    );
    assert_eq!(why["2026/11/link"], "it is a symbolic link");
    assert!(why["tmp/thumbs"].contains("kept for thumbnails"));
    assert!(why["2026/11/line\nend"].contains("control character"));
    assert_eq!(report["left_out"][0]["file"], "delete.me");
    assert_eq!(report["there"]["files"], 1);
    let left: Vec<_> = tree(files.path()).into_keys().collect();
    assert!(
        !left.contains(&"2026/11/same".to_owned()),
        "the copy was read back: {left:?}"
    );
    assert!(left.contains(&"2026/11/taken".to_owned()));
    let object = server
        .object(BUCKET, &format!("{FOLDER}/2026/11/taken"))
        .unwrap();
    assert_eq!(object.bytes(), Bytes::from_static(b"ours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_migration_goes_on_in_either_direction() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let bodies: Vec<_> = (0..40).map(|n| pattern(n, 100_000)).collect();
    let names: Vec<_> = (0..40)
        .map(|n| format!("2026/11/2611221945{n:02}_a"))
        .collect();
    let all: Vec<_> = names
        .iter()
        .map(String::as_str)
        .zip(bodies.iter().map(|it| &it[..]))
        .collect();
    let files = disk(&all);
    let back = tempfile::tempdir().unwrap();
    let to = |direction, root: &TempDir, more: &[&str]| {
        let root = root.path().to_str().unwrap().to_owned();
        let arguments = ["migrate", direction, "default", "--json", "--files", &root];
        operator.command(&[&arguments[..], more].concat())
    };
    let slowly = ["--bandwidth", "1MB", "--parallel", "4"];

    let mut killed = to("to-kura", &files, &slowly)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("some are stored", || server.keys(BUCKET).len() > 5).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(server.keys(BUCKET).len() < 40);
    let sent = report(&to("to-kura", &files, &[]).output().unwrap());
    assert!(sent["there"]["files"].as_u64() > Some(0), "{sent}");
    assert_eq!(server.keys(BUCKET).len(), 40);

    let mut killed = to("to-disk", &back, &slowly)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let placed = || fs::read_dir(back.path().join("2026/11")).map_or(0, Iterator::count);
    eventually("some are written", || placed() > 5).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(placed() < 40);
    let output = to("to-disk", &back, &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tree(back.path()), tree(files.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_called_like_the_folder_for_unfinished_ones_is_not_lost() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let key = format!("{FOLDER}/.kura-migrate/7");
    server.put_object(BUCKET, &key, Bytes::from_static(b"x"), &[]);
    let root = disk(&[(".kura-migrate/kept", b"kept"), ("d/.kura-migrate/8", b"y")]);
    let to = |direction| {
        let root = root.path().to_str().unwrap();
        let arguments = ["migrate", direction, "default", "--json", "--files", root];
        report(&operator.run(&[&arguments[..], &["--remove-source"]].concat()))
    };
    let back = to("to-disk");
    let why = skipped(&back)[".kura-migrate/7"];
    assert!(why.contains("unfinished files"), "{why}");
    assert!(server.object(BUCKET, &key).is_some());
    let left: Vec<_> = tree(root.path()).into_keys().collect();
    assert_eq!(left, [".kura-migrate/kept", "d/.kura-migrate/8"]);
    let sent = to("to-kura");
    assert_eq!(sent["moved"]["files"], 1, "{sent}");
    let nested = format!("{FOLDER}/d/.kura-migrate/8");
    assert!(server.object(BUCKET, &nested).is_some());
}
