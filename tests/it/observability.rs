//! What ships for operators to look at Kura with: it must know Kura as it is.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).unwrap()
}

/// The full names of all metrics, as the documentation has them; that it has
/// all is held in `house.rs`.
fn documented() -> BTreeSet<String> {
    let document = read("docs/CONFIGURATION.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
    names.filter(|name| is_metric(name)).collect()
}

fn is_metric(word: &str) -> bool {
    (word.starts_with("kura_") || word.starts_with("process_")) && word != "process_"
}

/// The metrics that an expression asks for.
fn used(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| is_metric(word)).map(|word| {
        // A histogram is asked for by its buckets.
        word.strip_suffix("_bucket").unwrap_or(word).to_owned()
    });
    names.collect()
}

/// The texts under a key, wherever it stands.
fn all(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text.clone()),
                    value => all(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

#[tokio::test]
async fn documented_metrics_are_those_that_a_server_has() {
    let app = crate::support::app::TestApp::directory().await;
    let url = format!("{}/metrics", app.url);
    let text = app
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    // Those with labels say nothing before something has happened.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let full = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        assert!(documented().contains(&full), "{full} is not documented");
    }
    assert!(text.contains("process_resident_memory_bytes ") && text.ends_with("# EOF\n"));
}

#[test]
fn every_panel_of_the_dashboard_shows_a_metric_that_there_is() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/kura.json")).unwrap();
    let mut expressions = Vec::new();
    all(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 30);
    let (documented, mut shown) = (documented(), BTreeSet::new());
    for expression in &expressions {
        let used = used(expression);
        assert!(
            !used.is_empty() && used.is_subset(&documented),
            "{expression}"
        );
        shown.extend(used);
    }
    let hidden: Vec<_> = documented.difference(&shown).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}

#[test]
fn every_alert_asks_for_metrics_that_there_are_and_leads_to_a_runbook() {
    let rules: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let (documented, runbooks) = (documented(), read("docs/OPERATIONS.md"));
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 10);
    for rule in rules {
        let (alert, expr) = (
            &rule["alert"].as_str().unwrap(),
            rule["expr"].as_str().unwrap(),
        );
        let used = used(expr);
        assert!(used.is_subset(&documented), "{alert}: {expr}");
        assert!(
            !used.is_empty() || expr.starts_with("up{"),
            "{alert}: {expr}"
        );
        let anchor = format!("docs/OPERATIONS.md#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], anchor);
        assert!(
            runbooks.contains(&format!("\n#### {alert}\n")),
            "{alert} has no runbook"
        );
    }
}

#[test]
fn prometheus_itself_takes_the_alerts() {
    let path = format!("{ROOT}/deploy/prometheus/prometheus.yml");
    match Command::new("promtool")
        .args(["check", "config", &path])
        .output()
    {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => {
            println!(
                "SKIPPED: promtool cannot be started ({error}); Debian has it in `prometheus`"
            );
        }
    }
}

/// The parsers themselves cannot be had from Debian, PyPI or npm; that the log
/// has what these formats say is held in `logs.rs`.
#[test]
fn collectors_are_told_the_format_of_the_logs_timestamps() {
    // The fraction is %L to Fluent Bit, whatever its length, and %N to fluentd.
    for (path, format) in [
        ("parsers.conf", "Time_Format %Y-%m-%dT%H:%M:%S.%LZ"),
        ("fluent.conf", "time_format %Y-%m-%dT%H:%M:%S.%NZ"),
    ] {
        let text = read(&format!("deploy/fluentd/{path}"));
        assert!(text.contains(format), "{path}");
        assert!(text.to_lowercase().contains("timestamp"), "{path}");
    }
}
