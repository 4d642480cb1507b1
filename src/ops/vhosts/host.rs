//! What of a tenant's file has a meaning to a web server, checked: its host
//! name, the networks that may come in, and how downloads go out.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Server;
use super::report::Fault;
use crate::tenant::settings::{Node, Value};

pub(super) const SUB_DOMAIN: &str = "property.sub_domain";
/// A list, even when it names one network only.
pub(in crate::ops) const LIMIT_IPS: &str = "property.limit_ips";
pub(super) const DELIVERY: &str = "kura.delivery";

/// How downloads can reach the browser, and under which servers.
const DELIVERIES: &[(&str, &[Server])] = &[
    ("stream", &[Server::Apache, Server::Nginx]),
    ("ticket", &[Server::Apache, Server::Nginx]),
    ("x_sendfile", &[Server::Apache]),
    ("x_accel", &[Server::Nginx]),
];

/// Whether a host can have this name, and no pattern is in it.
pub(super) fn is_host_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Whether downloads can go out this way under this server.
pub(super) fn is_delivery(name: &str, server: Server) -> bool {
    let known = DELIVERIES.iter().find(|(known, _)| *known == name);
    known.is_some_and(|(_, servers)| servers.contains(&server))
}

/// The name by which the tenant is reached, in lower case: names that differ
/// only in case are one.
pub(super) fn server_name(file: &Node, domain: &str) -> Result<String, Fault> {
    let Some(node) = file.at(SUB_DOMAIN) else {
        return Err(Fault::of_key(SUB_DOMAIN, "required, but missing"));
    };
    let name = node
        .text()
        .map(|sub_domain| format!("{sub_domain}.{domain}"));
    let name = name.filter(|name| is_host_name(name));
    let name = name.ok_or_else(|| {
        let problem = "not a host name: letters, digits, hyphens, and dots between";
        Fault::of_key(SUB_DOMAIN, problem).at(node.line)
    })?;
    Ok(name.to_ascii_lowercase())
}

/// The networks that may come in; none when everybody may.
pub(super) fn limit_ips(file: &Node) -> Result<Vec<String>, Fault> {
    let Some(node) = file.at(LIMIT_IPS) else {
        return Ok(Vec::new());
    };
    let refuse = |node: &Node| {
        let problem = "not an IP address or a network such as 192.168.0.0/24";
        Fault::of_key(LIMIT_IPS, problem).at(node.line)
    };
    match &node.value {
        Value::Nothing => Ok(Vec::new()),
        Value::List(list) => list
            .iter()
            .map(|node| node.text().and_then(network).ok_or_else(|| refuse(node)))
            .collect(),
        _ => Ok(vec![
            node.text().and_then(network).ok_or_else(|| refuse(node))?,
        ]),
    }
}

/// A network without what lies outside of its mask, which servers warn of.
pub(in crate::ops) fn network(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let network: IpNet = text.parse().ok()?;
    Some(network.trunc().to_string())
}

/// How downloads reach the browser, where the file says so.
pub(super) fn delivery(file: &Node, server: Server) -> Result<Option<String>, Fault> {
    let Some(node) = file.at(DELIVERY) else {
        return Ok(None);
    };
    let known = node.text().filter(|name| is_delivery(name, server));
    let known = known.ok_or_else(|| {
        let problem = format!("must be {}", deliveries(server));
        Fault::of_key(DELIVERY, &problem).at(node.line)
    })?;
    Ok(Some(known.to_owned()))
}

/// The ways under a server, in words.
pub(super) fn deliveries(server: Server) -> String {
    let known = DELIVERIES.iter().filter(|(_, on)| on.contains(&server));
    let known: Vec<_> = known.map(|(name, _)| *name).collect();
    known.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::settings::document;

    fn file(property: &str) -> Node {
        document(&format!("property: {{{property}}}")).ok().unwrap()
    }

    #[test]
    fn host_names_are_plain_names_in_lower_case() {
        let name = |text: &str| server_name(&file(text), "example.com");
        assert_eq!(name("sub_domain: SiteA").unwrap(), "sitea.example.com");
        assert_eq!(name("sub_domain: 007").unwrap(), "007.example.com");
        assert_eq!(name("sub_domain: a.b").unwrap(), "a.b.example.com");
        for bad in [
            "'*'", "''", "a b", "a_b", "-a", "a-", ".a", "a.", "a..b", "'a\"b'", "é", "\"a\\n\"",
            "[a]", "",
        ] {
            let fault = name(&format!("sub_domain: {bad}")).unwrap_err();
            assert_eq!(fault.key.as_deref(), Some(SUB_DOMAIN), "{bad}");
        }
        assert!(name("plan: x").is_err());
        assert!(name(&format!("sub_domain: {}", "a".repeat(64))).is_err());
    }

    #[test]
    fn networks_are_addresses_with_a_mask_and_nothing_else() {
        let limits = |text: &str| limit_ips(&file(text));
        for (text, expected) in [
            ("plan: x", &[][..]),
            ("limit_ips:", &[]),
            ("limit_ips: []", &[]),
            ("limit_ips: 10.0.0.1", &["10.0.0.1"]),
            (
                "limit_ips: [192.168.0.7/24, '2001:db8::1/32']",
                &["192.168.0.0/24", "2001:db8::/32"],
            ),
        ] {
            assert_eq!(limits(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.0/a",
            "all",
            "''",
            "1.2.3.4 5.6.7.8",
            "{a: b}",
            "[1.2.3.4]",
            "010.0.0.1",
        ] {
            let fault = limits(&format!("limit_ips: [{bad}, 1.2.3.4]"));
            assert!(fault.is_err(), "{bad}");
        }
        assert!(limits("limit_ips: {a: b}").is_err());
    }

    #[test]
    fn deliveries_are_those_of_the_server() {
        let read = |text: &str, server| {
            let file = document(&format!("kura: {{delivery: {text}}}"))
                .ok()
                .unwrap();
            delivery(&file, server).map_err(|fault| fault.problem)
        };
        assert_eq!(
            read("x_accel", Server::Nginx),
            Ok(Some("x_accel".to_owned()))
        );
        assert_eq!(
            read("x_accel", Server::Apache),
            Err("must be stream, ticket, x_sendfile".to_owned())
        );
    }
}
