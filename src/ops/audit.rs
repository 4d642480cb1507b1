//! One JSON line on standard error for each change that an operator makes,
//! whatever the log's filter and format are.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::tenant::TenantId;

/// A change, with `details` that hold no secrets.
pub fn record(action: &str, tenant: &TenantId, details: Map<String, Value>) {
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
