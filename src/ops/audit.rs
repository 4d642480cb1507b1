//! One JSON line on standard error for each change that an operator makes,
//! whatever the log's filter and format are.

use std::time::SystemTime;

use clap::{Arg, ArgMatches};
use serde_json::{Map, Value, json};

use crate::config;
use crate::tenant::TenantId;

/// `--reason` and `--actor`, of every command that is recorded.
#[must_use]
pub fn arguments() -> [Arg; 2] {
    let reason = Arg::new("reason").long("reason").value_name("TEXT");
    let actor = Arg::new("actor").long("actor").value_name("NAME");
    [
        reason.help("Why, for the audit line"),
        actor.help("Who does it, for the audit line [default: $SUDO_USER or $USER]"),
    ]
}

/// A change, by whom and why the command line says, with `details` that hold
/// no secrets.
pub fn record(
    matches: &ArgMatches,
    action: &str,
    tenant: &TenantId,
    mut details: Map<String, Value>,
) {
    let given = |name| matches.get_one::<String>(name).cloned();
    let actor = given("actor").or_else(config::operator);
    for (name, value) in [("actor", actor), ("reason", given("reason"))] {
        details.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    eprintln!("{}", line(SystemTime::now(), action, tenant, details));
}

fn line(when: SystemTime, action: &str, tenant: &TenantId, details: Map<String, Value>) -> Value {
    let mut line = Map::new();
    let timestamp = humantime::format_rfc3339_micros(when).to_string();
    for (name, value) in [
        ("timestamp", json!(timestamp)),
        ("level", json!("INFO")),
        ("message", json!("audit")),
        ("action", json!(action)),
        ("tenant", json!(tenant.as_str())),
    ] {
        line.insert(name.to_owned(), value);
    }
    line.extend(details);
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_when_what_and_whose() {
        let details = Map::from_iter([("reason".to_owned(), json!("unpaid"))]);
        let line = line(
            SystemTime::UNIX_EPOCH,
            "suspend",
            &"site-a".parse().unwrap(),
            details,
        );
        assert_eq!(
            line,
            json!({
                "timestamp": "1970-01-01T00:00:00.000000Z", "level": "INFO", "message": "audit",
                "action": "suspend", "tenant": "site-a", "reason": "unpaid",
            })
        );
    }
}
