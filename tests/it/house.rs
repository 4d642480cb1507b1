//! The walls of the house: which module may use which, where a status is
//! chosen, and that the documents list what the code has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kura::config::SETTINGS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The floors, the lowest first. A module uses only its own floor and those
/// below; the modules of one floor do not know each other unless listed here.
const FLOORS: &[&[&str]] = &[
    &["digest", "key"],
    &["tenant"],
    &["budget", "metrics", "resident"],
    &["render", "storage"],
    &["cache"],
    &["leases", "quota", "thumbnails"],
    &["http"],
    &["config", "telemetry"],
    &["deployment"],
    &["ops"],
    &["app"],
];

/// Every source file by its path below `src`.
fn sources() -> BTreeMap<String, String> {
    fn collect(directory: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(format!("{ROOT}/src")).unwrap();
                let text = fs::read_to_string(&path).unwrap();
                into.insert(name.to_str().unwrap().to_owned(), text);
            }
        }
    }
    let mut all = BTreeMap::new();
    collect(&Path::new(ROOT).join("src"), &mut all);
    all
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The code without comments, up to its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_down_the_floors_only() {
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some(floor) = floor_of(module) else {
            continue;
        };
        for used in code(&text).split("crate::").skip(1) {
            let used = used
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            if let Some(other) = floor_of(used) {
                assert!(other <= floor, "{name} uses `{used}`, which lies above it");
            }
        }
    }
}

#[test]
fn each_dependency_stays_behind_its_wall() {
    let walls = [
        ("use aws_", "storage/s3"),
        ("aws_sdk_s3::", "storage/s3"),
        (" StatusCode", "http"),
        ("std::env::var", "config.rs"),
        ("serde_saphyr", "tenant/settings"),
        ("yaml_edit", "tenant/settings"),
    ];
    for (name, text) in sources() {
        // libwebp has one of its own, which is not HTTP's.
        let code = code(&text).replace("VP8StatusCode", "");
        for (word, home) in walls {
            let outside = !name.starts_with(home);
            assert!(!outside || !code.contains(word), "{name} uses `{word}`");
        }
    }
}

#[test]
fn unsafe_code_is_where_it_was_agreed_to_be() {
    let homes = [
        "render/sandbox.rs",
        "render/sandbox/drill.rs",
        "render/decode/png/filter.rs",
        "render/decode/webp/libwebp.rs",
    ];
    for (name, text) in sources() {
        let code = code(&text);
        let safe = !["unsafe ", "unsafe_code"]
            .iter()
            .any(|word| code.contains(word));
        assert!(safe || homes.contains(&name.as_str()), "{name} is unsafe");
    }
}

#[test]
fn only_the_error_module_gives_errors_their_status() {
    for (name, text) in sources() {
        if name.starts_with("http/") && name != "http/error.rs" {
            let code = code(&text);
            for status in [
                "INTERNAL_SERVER_ERROR",
                "BAD_GATEWAY",
                "SERVICE_UNAVAILABLE",
                "CONFLICT",
            ] {
                assert!(!code.contains(status), "{name} chooses {status}");
            }
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        let tests = name.ends_with("tests.rs");
        assert!(tests || lines <= 500, "{name} has {lines} lines");
        assert!(
            tests || text.starts_with("//!"),
            "{name} does not say its job"
        );
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let document = fs::read_to_string(format!("{ROOT}/docs/CONFIGURATION.md")).unwrap();
    for setting in SETTINGS {
        let flag = setting.name.to_lowercase().replace('_', "-");
        let flag = flag.strip_prefix("kura-").unwrap_or(&flag);
        let default = match setting.default {
            "" => "–".to_owned(),
            default => format!("`{default}`"),
        };
        let row = format!(
            "| `{}` | `--{flag}` | {default} | {} |",
            setting.name, setting.help
        );
        assert!(
            document.contains(&row),
            "docs/CONFIGURATION.md lacks the row\n{row}"
        );
    }
}

#[test]
fn every_metric_is_documented() {
    let document = fs::read_to_string(format!("{ROOT}/docs/CONFIGURATION.md")).unwrap();
    let metrics = &sources()["metrics.rs"];
    let names: Vec<&str> = metrics
        .split("all.register")
        .skip(1)
        .filter_map(|call| call.split('"').nth(1))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let documented = document.contains(&format!("`kura_{name}"));
        assert!(documented, "docs/CONFIGURATION.md lacks kura_{name}");
    }
}

#[test]
fn every_error_code_is_documented() {
    let document = fs::read_to_string(format!("{ROOT}/docs/API.md")).unwrap();
    let errors = &sources()["http/error.rs"];
    let codes: Vec<&str> = errors
        .split('"')
        .filter(|text| {
            text.contains('_') && text.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
        })
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(
            document.contains(&format!("`{code}`")),
            "docs/API.md lacks {code}"
        );
    }
}
