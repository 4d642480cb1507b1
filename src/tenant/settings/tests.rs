//! Settings files as operators write them, and as nobody should.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const OPERATORS_OWN: &str = "\
db:       {name: redmine_a, user: a, password: secret}
s3:       {bucket: files, folder: user001}
property: {sub_domain: sitea, limit_ips: ['192.168.0.0/24']}
";

fn read(text: &str) -> Result<TenantSettings, SettingsError> {
    parse("sitea".parse().unwrap(), text, Some("shared"))
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn layout(folder: &str) -> Layout {
    Layout::new(folder, None, None).unwrap()
}

#[test]
fn the_operators_own_format_is_read() {
    let settings = read(OPERATORS_OWN).unwrap();
    assert_eq!(settings.id.as_str(), "sitea");
    assert_eq!(settings.bucket, "files");
    assert_eq!(settings.layout, layout("user001"));
    assert_eq!(settings.state, State::Active);
}

#[test]
fn kuras_own_section_is_read() {
    let settings = read(&format!(
        "{OPERATORS_OWN}kura: {{state: suspended, thumb_folder: tmp, import_folder: tmp}}\n"
    ))
    .unwrap();
    assert_eq!(settings.state, State::Suspended);
    let old = Layout::new("user001", Some("tmp"), Some("tmp")).unwrap();
    assert_eq!(settings.layout, old);
}

#[test]
fn block_style_comments_anchors_and_windows_line_ends_are_read() {
    let text = "# ours\r\ndefaults: &files\r\n  bucket: files\r\ns3:\r\n  <<: *files\r\n  folder: user001\r\nkura:\r\n";
    let settings = read(text).unwrap();
    assert_eq!(settings.bucket, "files");
    assert_eq!(settings.layout, layout("user001"));
}

#[test]
fn unknown_keys_are_skipped_everywhere() {
    let text = "s3.folder: x\nfolder: y\n7: [1, {a: b}]\ns3: {folder: a, kura: {folder: b}, s3: 1}\nkura: {quota: 5, role: [x]}\n";
    assert_eq!(read(text).unwrap().layout, layout("a"));
}

#[test]
fn folder_keeps_its_text_when_yaml_would_see_a_number_or_a_truth_value() {
    for text in [
        "001",
        "1_000",
        "0x1F",
        "1e3",
        "1.50",
        "true",
        "no",
        "2026-11-22",
        "'07'",
    ] {
        let settings = read(&format!("s3: {{folder: {text}}}")).unwrap();
        assert_eq!(settings.layout, layout(text.trim_matches('\'')), "{text}");
    }
}

#[test]
fn bucket_may_be_left_to_the_default() {
    let (text, id) = ("s3: {folder: a, bucket: }", "a".parse().unwrap());
    assert_eq!(read(text).unwrap().bucket, "shared");
    let error = parse(id, text, None).unwrap_err();
    assert_eq!(error.to_string(), "s3.bucket: required, but missing");
}

#[test]
fn missing_folder_is_refused() {
    for text in [
        "",
        "---\n",
        "~",
        "s3:",
        "s3: {}",
        "s3: {folder: ~}",
        "s3: {folder: }",
    ] {
        assert_eq!(
            refused(text),
            "s3.folder: required, but missing",
            "{text:?}"
        );
    }
}

#[test]
fn errors_name_the_key_the_fault_and_the_place() {
    for (text, error) in [
        (
            "s3: {folder: ''}",
            "s3.folder: must name a folder, not the whole bucket (line 1, column 14)",
        ),
        (
            "s3: {folder: /}",
            "s3.folder: must name a folder, not the whole bucket (line 1, column 14)",
        ),
        (
            "s3:\n  folder: a/../b",
            "s3.folder: the key has a `.` or `..` segment (line 2, column 11)",
        ),
        (
            "s3:\n  folder: [a]",
            "s3.folder: a mapping where text is expected, or the other way round (line 2, column 11)",
        ),
        (
            "s3:\n  folder: {a: b}",
            "s3.folder: a mapping where text is expected, or the other way round (line 2, column 11)",
        ),
        (
            "s3: user001",
            "s3: a mapping where text is expected, or the other way round (line 1, column 5)",
        ),
        (
            "- s3",
            "a mapping where text is expected, or the other way round (line 1, column 1)",
        ),
        (
            "s3: {folder: a, bucket: a/b}",
            "s3.bucket: not a bucket's name (line 1, column 25)",
        ),
        (
            "s3: {folder: a, bucket: ..}",
            "s3.bucket: not a bucket's name (line 1, column 25)",
        ),
        (
            "s3: {folder: a}\nkura: {state: Active}",
            "kura.state: must be `active` or `suspended` (line 2, column 15)",
        ),
        (
            "s3: {folder: a}\nkura: {quota_bytes: 10GB}",
            "kura.quota_bytes: must be a number of bytes, such as 10000000000 (line 2, column 21)",
        ),
        (
            "s3: {folder: a}\nkura: {thumb_folder: ''}",
            "kura.thumb_folder: must name a folder, not the whole bucket (line 2, column 22)",
        ),
        (
            "s3: {folder: a}\nkura: {import_folder: ../b}",
            "kura.import_folder: the key has a `.` or `..` segment (line 2, column 23)",
        ),
        (
            "s3: {folder: a}\nkura: {import_folder: a/}",
            "kura.import_folder: must not contain the tenant's own folder (line 2, column 23)",
        ),
        (
            "s3: {folder: t/a}\nkura: {thumb_folder: t}",
            "kura.thumb_folder: must not contain the tenant's own folder (line 2, column 22)",
        ),
    ] {
        assert_eq!(refused(text), error, "{text:?}");
    }
}

#[test]
fn duplicate_keys_are_refused() {
    for (text, key) in [
        ("s3: {folder: a, folder: b}", Some("s3")),
        ("s3: {folder: a}\ns3: {folder: b}", None),
        (
            "s3: {folder: a}\nkura: {state: active, state: suspended}",
            Some("kura"),
        ),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!((error.key, error.problem), (key, Problem::DuplicateKey));
    }
}

#[test]
fn broken_yaml_is_refused() {
    for text in [
        "s3:\n\tfolder: a",
        "s3: {folder: a",
        "s3: {folder: 'a}",
        "s3: {folder: *nowhere}",
        "s3: {folder: a}\n---\ns3: {folder: b}",
        "s3: {folder: a}\n...\n---\n{",
        "\0",
        "%YAML 9",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let aliases = |from: &str| [from; 9].join(",");
    let mut laughs = "l0: &l0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let below = aliases(&format!("*l{}", level - 1));
        writeln!(laughs, "l{level}: &l{level} [{below}]").unwrap();
    }
    let begin = Instant::now();
    for bomb in [
        format!("{laughs}s3: {{folder: a}}"),
        format!("s3: {{folder: {}", "[".repeat(60_000)),
        format!("a: {}", "{a: ".repeat(15_000)),
        format!("a: &a [{}", "*a,".repeat(20_000)),
        "? ".repeat(30_000),
        "- ".repeat(30_000),
        "&a ".repeat(20_000),
        "x: 1\n".repeat(13_000),
    ] {
        assert!(read(&bomb).is_err(), "{}", &bomb[..40]);
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn file_over_the_cap_is_not_parsed() {
    let text = format!("s3: {{folder: a}}\n#{}", "x".repeat(MAX_FILE_BYTES));
    assert_eq!(read(&text).unwrap_err().problem, Problem::TooLarge);
    assert!(read(&text[..MAX_FILE_BYTES]).is_ok());
}

#[test]
fn errors_never_show_what_the_file_says() {
    for text in [
        "db: {password: hunter2",
        "db: {password: hunter2, password: hunter2}\ns3: {folder: 'a/../hunter2'}",
        "db: {password: *hunter2}",
        "hunter2: {hunter2: &hunter2 [*hunter2]}\nhunter2: 1",
        "s3: {folder: a, bucket: 'hunter2!'}",
        "s3: hunter2",
        "s3: !!int hunter2",
        "s3: {folder: !!int hunter2}",
        "s3: {folder: a}\nkura: {state: hunter2}",
    ] {
        let error = read(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9:{}\\[\\]\\-*&!?|>'\"#%@,. \\t\\r\\n\\\\é~<]{0,120}") {
        let _ = read(&text);
        let _ = read(&format!("{OPERATORS_OWN}kura:\n  {text}"));
    }

    #[test]
    fn every_folder_read_is_the_tenants_own(folder in "\\PC{0,20}") {
        let quoted = folder.replace('\'', "''");
        if let Ok(settings) = read(&format!("s3: {{folder: '{quoted}'}}")) {
            prop_assert_eq!(settings.layout.folder().trim_end_matches('/'), folder.trim_end_matches('/'));
            prop_assert!(!settings.layout.folder().is_empty());
        }
    }
}
