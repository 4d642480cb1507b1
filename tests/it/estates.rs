//! `kura tenant usage`, `export` and `delete`: all that a tenant has, and
//! nothing of the others.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};

use bytes::Bytes;
use kura::digest::Digest;
use serde_json::Value;

use crate::support::app::BUCKET;
use crate::support::operator::Operator;
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::seaweed::Seaweed;
use crate::support::stand::eventually;
use crate::support::task::TenantFiles;

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// The line that tells of the change.
fn audit(output: &std::process::Output) -> Value {
    let lines = String::from_utf8_lossy(&output.stderr);
    let mut lines = lines.lines().filter(|line| line.contains(r#""audit""#));
    let line = lines.next().unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(line).unwrap()
}

/// What a tar archive has.
fn members(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(std::fs::File::open(archive).unwrap());
    let entries = archive.entries().unwrap();
    let members = entries.map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    });
    members.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_by_kind_with_one_request_for_each_tenant() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let tenants = TenantFiles::with_folders(["a", "ab"]);
    let operator = Operator::s3(&server).with("KURA_TENANTS", &tenants.source());
    let thumbnail = format!("a/tmp/thumbnails/{}_3_100.thumb", Digest::of(b"abc"));
    for key in [
        "a/2026/11/x",
        "a/old",
        &thumbnail,
        "a/tmp/imports/0123456789abcdef",
        "a/tmp/else",
        "ab/x",
    ] {
        server.put_object(BUCKET, key, Bytes::from_static(b"abc"), &[]);
    }
    server.reset_counts();
    let output = operator.run(&["tenant", "usage", "--all", "--json"]);
    let all = json(&output);
    let of = |kind: &str| {
        (
            all[0][kind]["objects"].as_u64(),
            all[0][kind]["bytes"].as_u64(),
        )
    };
    assert_eq!(all[0]["tenant"], "a");
    assert_eq!(of("files"), (Some(2), Some(6)));
    for kind in ["thumbnails", "imports", "other"] {
        assert_eq!(of(kind), (Some(1), Some(3)), "{kind}");
    }
    assert_eq!(all[1]["total"]["objects"], 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_export_goes_on_and_the_archive_can_be_moved_back() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let tenants = TenantFiles::with_folders(["a", "b"]);
    let operator = Operator::s3(&server).with("KURA_TENANTS", &tenants.source());
    // So many that a part of the manifest is durable before the last.
    let keys: Vec<_> = (0..1100).map(|n| format!("2026/11/{n:04}_a")).collect();
    for (n, key) in (0..).zip(&keys) {
        let headers = [
            ("content-disposition", "inline; filename=%C3%A4"),
            ("content-type", "text/x"),
        ];
        server.put_object(BUCKET, &format!("a/{key}"), pattern(n, 100), &headers);
    }
    server.put_object(BUCKET, "b/secret", Bytes::from_static(b"b's"), &[]);
    server.fail(FaultRule {
        operation: Some("GetObject"),
        key_contains: Some("1050_a".to_owned()),
        skip: 0,
        times: 1,
        fault: Fault::StallRequest,
    });
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let arguments = [
        "tenant",
        "export",
        "a",
        "--output",
        archive.to_str().unwrap(),
    ];
    let mut killed = operator
        .command(&arguments)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let manifest = folder.path().join("a.tar.a.manifest");
    eventually("a part is durable", || {
        manifest.metadata().is_ok_and(|it| it.len() > 1000)
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!archive.exists());

    tenants.write("a", &format!("s3: {{bucket: {BUCKET}, folder: other}}\n"));
    let output = operator.run(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("of another folder"), "{error}");
    tenants.write("a", &format!("s3: {{bucket: {BUCKET}, folder: a}}\n"));

    server.reset_counts();
    let output = operator.run(&[&arguments[..], &["--reason", "moves out"]].concat());
    assert!(output.status.success(), "{output:?}");
    let audit = audit(&output);
    assert_eq!(
        (&audit["action"], &audit["tenant"]),
        (&"export".into(), &"a".into())
    );
    assert_eq!(audit["files"], keys.len());
    assert_eq!(audit["reason"], "moves out");
    assert!(
        server.count("GetObject") < 200,
        "{}",
        server.count("GetObject")
    );
    let mut members = members(&archive);
    let manifest = String::from_utf8(members.remove("manifest.jsonl").unwrap()).unwrap();
    assert_eq!(manifest.lines().count(), keys.len());
    assert_eq!(members.len(), keys.len());
    for (n, key) in (0..).zip(&keys) {
        assert_eq!(members[&format!("files/{key}")], pattern(n, 100), "{key}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing beside it"
    );

    tar::Archive::new(std::fs::File::open(&archive).unwrap())
        .unpack(folder.path())
        .unwrap();
    let (files, listing) = (
        folder.path().join("files"),
        folder.path().join("manifest.jsonl"),
    );
    let output = operator.run(&[
        "migrate",
        "to-kura",
        "b",
        "--files",
        files.to_str().unwrap(),
        "--listing",
        listing.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let object = server.object(BUCKET, "b/2026/11/0007_a").unwrap();
    assert_eq!(object.bytes(), pattern(7, 100));
    assert_eq!(
        object.content_disposition(),
        Some("inline; filename=%C3%A4")
    );
    assert_eq!(object.content_type(), Some("text/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_deletion_goes_on_and_its_record_tells_of_all() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let yaml = |id: &str| {
        format!(
            "s3: {{bucket: {BUCKET}, folder: {id}}}\nkura: {{state: suspended, thumb_folder: tmp}}\n"
        )
    };
    let tenants = TenantFiles::new([("a", yaml("a")), ("b", yaml("b"))]);
    let operator = Operator::s3(&server)
        .with("KURA_TENANTS", &tenants.source())
        .with("KURA_TENANTS_REFRESH_SECONDS", "1");
    for n in 0..1500 {
        server.put_object(
            BUCKET,
            &format!("a/2026/11/{n}"),
            Bytes::from_static(b"a"),
            &[],
        );
    }
    let own = Digest::of(b"abc").to_string();
    server.put_object(
        BUCKET,
        "a/pic",
        Bytes::from_static(b"abc"),
        &[("x-amz-meta-digest", &own)],
    );
    let others = [
        format!("tmp/{}_3_100.thumb", Digest::of(b"x")),
        "b/x".to_owned(),
        "ab/x".to_owned(),
    ];
    let ours = format!("tmp/{own}_3_100.thumb");
    for key in others.iter().chain([&ours]) {
        server.put_object(BUCKET, key, Bytes::from_static(b"abc"), &[]);
    }
    let output = operator.run(&["tenant", "delete", "a", "--json"]);
    assert_eq!(json(&output)["files"]["objects"], 1501);
    assert_eq!(server.keys(BUCKET).len(), 1505, "a dry run");
    let output = operator.run(&["tenant", "delete", "a", "--confirm", "b"]);
    assert_eq!(output.status.code(), Some(1));

    server.fail(FaultRule {
        operation: Some("DeleteObjects"),
        key_contains: None,
        skip: 2,
        times: 1,
        fault: Fault::StallRequest,
    });
    let erase = ["tenant", "delete", "a", "--confirm", "a"];
    let mut killed = operator
        .command(&erase)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("some are erased", || server.keys(BUCKET).len() < 600).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let output = operator.run(&erase);
    assert!(output.status.success(), "{output:?}");
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(server.keys(BUCKET), expected);
    let folder = tenants.path();
    let record: Value =
        serde_json::from_slice(&std::fs::read(folder.join("erased-a.json")).unwrap()).unwrap();
    assert_eq!(record["erased"]["files"]["objects"], 1501);
    assert!(record["ended_at"].is_string());
    assert!(!folder.join("a.yml").exists() && folder.join("b.yml").exists());
}

/// Starts a deletion, and comes back when it waits for servers to follow.
fn begin_deletion(operator: &Operator) -> (Child, impl std::io::Read) {
    let mut deletion = operator
        .command(&["tenant", "delete", "a", "--confirm", "a"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(deletion.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("waiting"), "{line}");
    (deletion, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_until_servers_have_followed_is_erased_too_and_nothing_of_who_is_resumed() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let yaml = |state| format!("s3: {{bucket: {BUCKET}, folder: a}}\nkura: {{state: {state}}}\n");
    let tenants = TenantFiles::new([("a", yaml("suspended"))]);
    let operator = Operator::s3(&server)
        .with("KURA_TENANTS", &tenants.source())
        .with("KURA_TENANTS_REFRESH_SECONDS", "1");
    let hold = |key: &str| server.put_object(BUCKET, key, Bytes::from_static(b"a"), &[]);
    hold("a/early");
    let (mut deletion, mut told) = begin_deletion(&operator);
    tenants.write("a", &yaml("active"));
    let mut error = String::new();
    told.read_to_string(&mut error).unwrap();
    assert_eq!(deletion.wait().unwrap().code(), Some(1), "{error}");
    assert!(error.contains("has been changed meanwhile"), "{error}");
    assert_eq!(server.keys(BUCKET), ["a/early"]);

    tenants.write("a", &yaml("suspended"));
    let (mut deletion, mut told) = begin_deletion(&operator);
    hold("a/late");
    told.read_to_string(&mut error).unwrap();
    assert!(deletion.wait().unwrap().success(), "{error}");
    assert_eq!(server.keys(BUCKET), [""; 0]);
    let record = tenants.path().join("erased-a.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(record["erased"]["files"]["objects"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_of_one_deletion_which_goes_on_until_the_tenants_file_is_gone() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let tenants = TenantFiles::with_folders(["a", "b"]);
    let operator = Operator::s3(&server).with("KURA_TENANTS", &tenants.source());
    for key in ["a/x", "a/y", "b/x"] {
        server.put_object(BUCKET, key, Bytes::from_static(b"a"), &[]);
    }
    let record = tenants.path().join("record.json");
    let erase = |id| {
        let record = record.to_str().unwrap();
        let delete = ["tenant", "delete", id, "--confirm", id, "--even-active"];
        operator.run(&[&delete[..], &["--record", record, "--actor", "keiko"]].concat())
    };
    let recorded =
        || -> Value { serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap() };
    server.fail(FaultRule::once(
        "DeleteObjects",
        Fault::status(403, "AccessDenied"),
    ));
    assert_eq!(erase("a").status.code(), Some(1));
    assert_eq!(recorded()["ended_at"], Value::Null);
    let output = erase("b");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("of another deletion"), "{error}");
    assert_eq!(server.keys(BUCKET).len(), 3);

    // Files that are links are not removed.
    let (file, elsewhere) = (tenants.path().join("a.yml"), tenants.path().join("a"));
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let output = erase("a");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let audit = audit(&output);
    assert_eq!(
        (&audit["action"], &audit["actor"]),
        (&"delete".into(), &"keiko".into())
    );
    assert_eq!(audit["files"]["objects"], 2);
    let ended = recorded();
    assert!(ended["ended_at"].is_string(), "{ended}");
    std::fs::rename(&elsewhere, &file).unwrap();
    let output = erase("a");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(recorded(), ended);
    assert!(!file.exists());
    assert_eq!(server.keys(BUCKET), ["b/x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_tenant_is_not_erased_by_mistake() {
    let root = tempfile::tempdir().unwrap();
    let tenants = TenantFiles::with_folders(["a"]);
    let operator =
        Operator::directory(root.path().to_str().unwrap()).with("KURA_TENANTS", &tenants.source());
    let output = operator.run(&["tenant", "delete", "a", "--confirm", "a"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("suspend it first"), "{error}");
    let output = operator.run(&["tenant", "delete", "a", "--confirm", "a", "--even-active"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn root_makes_no_folders_in_the_store_of_another_user() {
    let root = tempfile::tempdir().unwrap();
    let objects = root.path().join(BUCKET).join("objects");
    std::fs::create_dir_all(&objects).unwrap();
    if std::os::unix::fs::chown(&objects, Some(1234), None).is_err() {
        return; // Only root can give a folder away.
    }
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.txt"), "abc").unwrap();
    let operator = Operator::directory(root.path().to_str().unwrap());
    let files = files.path().to_str().unwrap();
    let output = operator.run(&["migrate", "to-kura", "--files", files, "default"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("sudo -u '#1234' kura"), "{error}");
    assert_eq!(std::fs::read_dir(&objects).unwrap().count(), 0);
}

#[test]
fn nothing_is_taken_from_a_folder_that_two_tenants_claim() {
    let root = tempfile::tempdir().unwrap();
    let yaml = |folder: &str| format!("s3: {{bucket: {BUCKET}, folder: {folder}}}\n");
    let tenants = TenantFiles::new([("siteb", yaml("users/siteb"))]);
    let operator =
        Operator::directory(root.path().to_str().unwrap()).with("KURA_TENANTS", &tenants.source());
    let folder = root.path().join("from");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "of siteb").unwrap();
    let folder = folder.to_str().unwrap();
    let arguments = ["migrate", "to-kura", "--files", folder, "siteb"];
    let output = operator.run(&arguments);
    assert!(output.status.success(), "{output:?}");

    // A running server goes on to serve siteb, a new one would serve sitea.
    tenants.write("sitea", &yaml("users"));
    for arguments in [
        &["migrate", "to-disk", "--files", folder, "--remove-source"][..],
        &["gc", "--remove"],
        &["tenant", "export", "--output", "-"],
        &["tenant", "delete"],
        &["verify"],
    ] {
        let output = operator.run(&[arguments, &["sitea"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("until they are mended"), "{error}");
        assert!(output.stdout.is_empty());
    }
    let file = root.path().join(BUCKET).join("objects/users/siteb/a.txt");
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_with_the_tenant_files_in_its_folder_can_neither_be_served_nor_erased() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let yaml = |folder: &str| format!("s3: {{bucket: {BUCKET}, folder: {folder}}}\n");
    for (id, folder) in [
        ("a", "conf"),
        ("b", "conf/tenants"),
        ("c", "conf/tenants/c"),
    ] {
        let key = format!("conf/tenants/{id}.yml");
        server.put_object(BUCKET, &key, yaml(folder), &[]);
    }
    let before = server.keys(BUCKET);
    let operator =
        Operator::s3(&server).with("KURA_TENANTS", &format!("s3://{BUCKET}/conf/tenants"));
    for id in ["a", "b"] {
        let erase = ["tenant", "delete", id, "--confirm", id, "--even-active"];
        let output = operator.run(&erase);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("lie in its folder: move them"), "{error}");
    }
    let output = operator.run(&["tenant", "set", "c", "s3.folder=conf"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(server.keys(BUCKET), before);
    let output = operator.run(&["tenant", "list", "--json"]);
    let listed = json(&output).to_string();
    assert!(listed.contains("conf/tenants/c/"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_and_delete_markers_are_erased_too() {
    let bucket = "versions";
    let seaweed = Seaweed::shared();
    seaweed.bucket(bucket).await;
    let client = seaweed.client();
    let enabled = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let versioning = client.put_bucket_versioning().bucket(bucket);
    versioning
        .versioning_configuration(enabled)
        .send()
        .await
        .unwrap();
    for key in ["user001/d/a", "user001/d/a", "user001/d/b", "user0011/kept"] {
        let body = Bytes::from_static(b"abc").into();
        client
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(body)
            .send()
            .await
            .unwrap();
    }
    client
        .delete_object()
        .bucket(bucket)
        .key("user001/d/b")
        .send()
        .await
        .unwrap();
    let operator = Operator::seaweed(bucket);
    let found = json(&operator.run(&["tenant", "delete", "default", "--json"]));
    assert_eq!(found["files"]["objects"], 1, "{found}");
    assert_eq!(found["old_versions"]["objects"], 2, "{found}");
    assert_eq!(found["delete_markers"], 1, "{found}");
    let record = tempfile::tempdir().unwrap();
    let record = record.path().join("record.json");
    let output = operator.run(&[
        "tenant",
        "delete",
        "default",
        "--confirm",
        "default",
        "--even-active",
        "--record",
        record.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let left = client
        .list_object_versions()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    let keys: Vec<_> = left.versions().iter().filter_map(|it| it.key()).collect();
    assert_eq!(keys, ["user0011/kept"]);
    assert!(left.delete_markers().is_empty());
}
