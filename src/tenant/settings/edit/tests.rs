//! Files in the styles that operators write, changed.

use proptest::prelude::*;

use super::*;

fn set(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    let value = Wanted::Text(value.to_owned());
    edit(text, &key.parse().unwrap(), &value)
}

fn unset(text: &str, key: &str) -> Result<String, EditError> {
    edit(text, &key.parse().unwrap(), &Wanted::Nothing)
}

/// As in the contract.
const OPERATORS_OWN: &str = "\
# Site A
db:       {name: redmine_a, user: a, password: secret}   # not Kura's
s3:       {bucket: files, folder: user001}
property: {sub_domain: sitea, limit_ips: ['192.168.0.0/24']}
";

#[test]
fn flow_and_block_style_are_kept() {
    let suspended = set(OPERATORS_OWN, "kura.state", "suspended").unwrap();
    let section = "kura:\n  state: suspended\n";
    assert_eq!(suspended, format!("{OPERATORS_OWN}{section}"));
    let moved = set(OPERATORS_OWN, "s3.folder", "001").unwrap();
    let expected = OPERATORS_OWN.replace("user001", "'001'");
    assert_eq!(moved, expected);

    let block = "---\n# head\ns3:\n    bucket: files   # the bucket\n    folder: '001'\n\n\
                 kura:\n  # why\n  state: active # yes\n# tail";
    let changed = set(block, "kura.state", "suspended").unwrap();
    assert_eq!(changed, block.replace("active", "suspended"));
    let added = set(block, "s3.region", "us-east-1").unwrap();
    let line = "    folder: '001'\n    region: us-east-1\n";
    assert_eq!(added, block.replace("    folder: '001'\n", line));
}

#[test]
fn lists_are_written_and_keys_taken_out() {
    let key = "property.limit_ips".parse().unwrap();
    let ips = ["10.0.0.0/8", "::1"].map(str::to_owned).to_vec();
    let changed = edit(OPERATORS_OWN, &key, &Wanted::List(ips)).unwrap();
    let found = contents(&changed).unwrap();
    assert_eq!(
        found["property"]["limit_ips"],
        serde_json::json!(["10.0.0.0/8", "::1"])
    );
    let without = unset(OPERATORS_OWN, "property.limit_ips").unwrap();
    assert_eq!(
        without,
        OPERATORS_OWN.replace(", limit_ips: ['192.168.0.0/24']", "")
    );
    let absent = EditError::Key("kura.state".into(), Obstacle::Absent);
    assert_eq!(unset(OPERATORS_OWN, "kura.state"), Err(absent));
}

#[test]
fn empty_file_gets_its_first_keys() {
    let mut text = String::new();
    for (key, value) in [
        ("s3.bucket", "files"),
        ("s3.folder", "007"),
        ("kura.state", "active"),
    ] {
        text = set(&text, key, value).unwrap();
    }
    let expected = "s3:\n  bucket: files\n  folder: '007'\nkura:\n  state: active\n";
    assert_eq!(text, expected);
}

#[test]
fn what_cannot_be_changed_alone_is_refused() {
    let shared = "s3: &s3 {folder: a}\nother: *s3\n";
    for (text, key) in [
        (shared, "s3.folder"),
        ("s3: {folder: &f a}\nother: *f\n", "s3.folder"),
        ("base: &b {folder: a}\ns3:\n  <<: *b\n", "base.folder"),
    ] {
        assert_eq!(
            set(text, key, "b"),
            Err(EditError::Key(key.into(), Obstacle::Entangled)),
            "{text}"
        );
    }
    let through = EditError::Key("other.folder".into(), Obstacle::Shared);
    assert_eq!(set(shared, "other.folder", "b"), Err(through));
    for key in ["s3", "s3.folder.deeper"] {
        let shape = EditError::Key(key.into(), Obstacle::Shape);
        assert_eq!(set(OPERATORS_OWN, key, "b"), Err(shape));
    }
    let control = set(OPERATORS_OWN, "s3.folder", "a\nb");
    let in_the_way = EditError::Key("s3.folder".into(), Obstacle::ControlCharacter);
    assert_eq!(control, Err(in_the_way));
    assert!(matches!(
        set("a: [", "s3.folder", "b"),
        Err(EditError::File(_))
    ));
}

#[test]
fn key_is_a_path_of_plain_names() {
    for good in ["state", "s3.folder", "db.pass-word", "_a.b1"] {
        assert_eq!(good.parse::<Key>().unwrap().as_str(), good);
    }
    for bad in [
        "", ".", "a.", ".a", "a..b", "a b", "a[0]", "1", "a.0", "a\n", "é", "<<",
    ] {
        assert_eq!(bad.parse::<Key>(), Err(InvalidKey), "{bad:?}");
    }
}

const COMMENTS: [&str; 2] = ["# note: {x}", "# 'q!"];

/// A value as it may be written in a file.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_/]{0,8}",
        "0[0-9]{1,4}",
        "'[a-z #:{}]{0,8}'",
        "\"[a-z #:'é]{0,8}\"",
        Just("~".to_owned()),
        Just("true".to_owned()),
    ]
}

/// A section of one to three keys in a style, with comments.
fn section(name: &'static str) -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(vec!["alpha", "beta", "gamma"], 1..=3);
    let values = prop::collection::vec(scalar(), 3);
    let comment = prop_oneof![Just(""), Just(COMMENTS[0]), Just(COMMENTS[1])];
    (keys, values, comment, 0..4_usize).prop_map(move |(keys, values, comment, style)| {
        let comment = if comment.is_empty() {
            String::new()
        } else {
            format!("  {comment}")
        };
        let pairs = keys.iter().zip(values);
        let pairs: Vec<_> = pairs
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        match style {
            0 => format!("{name}: {{{}}}{comment}\n", pairs.join(", ")),
            1 => format!("{name}:   {{ {} }}{comment}\n", pairs.join(" , ")),
            2 => format!(
                "{name}:{comment}\n  {}{comment}\n",
                pairs.join(&format!("{comment}\n  "))
            ),
            _ => format!("{name}:\n    # above\n    {}\n\n", pairs.join("\n    ")),
        }
    })
}

fn file() -> impl Strategy<Value = String> {
    let start = prop_oneof![Just(""), Just("---\n"), Just("# head\n\n")];
    let end = prop_oneof![
        Just(""),
        Just("# tail\n"),
        Just("list:\n  - a\n  # b\n  - 'c'\n")
    ];
    (
        start,
        section("one"),
        section("two"),
        section("six"),
        end,
        any::<bool>(),
    )
        .prop_map(|(start, one, two, six, end, crlf)| {
            let text = [start, &one, &two, &six, end].concat();
            if crlf {
                text.replace('\n', "\r\n")
            } else {
                text
            }
        })
}

proptest! {
    #[test]
    fn only_the_lines_of_the_changed_key_change(
        text in file(),
        section in prop::sample::select(vec!["one", "two", "six", "new"]),
        name in prop::sample::select(vec!["alpha", "gamma", "delta"]),
        value in "[ -~éü]{0,12}",
        remove in any::<bool>(),
    ) {
        let key: Key = format!("{section}.{name}").parse().unwrap();
        let wanted = if remove { Wanted::Nothing } else { Wanted::Text(value.clone()) };
        let changed = match edit(&text, &key, &wanted) {
            Err(EditError::Key(_, Obstacle::Absent)) if remove => return Ok(()),
            changed => changed.unwrap(),
        };
        let found = contents(&changed).unwrap();
        let found = found[section].get(name).and_then(Value::as_str);
        prop_assert_eq!(found, (!remove).then_some(value.as_str()));
        // One run of lines is another, and all before and after it the same.
        let (old, new): (Vec<_>, Vec<_>) =
            (text.split_inclusive('\n').collect(), changed.split_inclusive('\n').collect());
        let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let after = old[before..].iter().rev().zip(new[before..].iter().rev());
        let after = after.take_while(|(old, new)| old == new).count();
        let lost = &old[before..old.len() - after];
        // The last key of a section leaves `{}`.
        prop_assert!(lost.len() <= 1 + usize::from(remove), "{lost:?} lost of\n{text}\nto\n{changed}");
        prop_assert!(new.len() - before - after <= 2, "more lines than need be in\n{changed}");
        for line in lost {
            let is_its = line.contains(name) || line.starts_with(section) || !line.ends_with('\n');
            prop_assert!(is_its, "{line:?} was none of its business");
        }
        if !remove {
            for comment in COMMENTS {
                let count = |text: &str| text.matches(comment).count();
                prop_assert_eq!(count(&text), count(&changed), "{} is lost", comment);
            }
        }
    }
}
