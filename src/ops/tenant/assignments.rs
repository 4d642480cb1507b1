//! `KEY=VALUE` on the command line, and a password on standard input.

use std::io::{self, Read as _};

use anyhow::{Result, ensure};
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};

use crate::ops::vhosts::{LIMIT_IPS, network};
use crate::tenant::settings::edit::{InvalidKey, Key, Wanted};

/// The flag for a password on standard input.
pub(super) const PASSWORD: &str = "db-password-stdin";
const DB_PASSWORD: &str = "db.password";
/// More is no password.
const MAX_PASSWORD_BYTES: u64 = 1024;

/// Makes an argument one that takes `KEY=VALUE`, any number of times.
pub(super) fn assignments(argument: Arg) -> Arg {
    argument
        .value_name("KEY=VALUE")
        .action(ArgAction::Append)
        .value_parser(ValueParser::new(assignment))
}

/// `--db-password-stdin`.
pub(super) fn db_password() -> Arg {
    Arg::new(PASSWORD)
        .long(PASSWORD)
        .action(ArgAction::SetTrue)
        .help("Read db.password from standard input: others can see the command line")
}

/// What was given to [`assignments`] and [`db_password`].
///
/// # Errors
/// When standard input has no password.
pub(super) fn given(matches: &ArgMatches, name: &str) -> Result<Vec<(Key, Wanted)>> {
    let all = matches.get_many::<(Key, Wanted)>(name);
    let mut all: Vec<_> = all.into_iter().flatten().cloned().collect();
    if matches.get_flag(PASSWORD) {
        let mut password = String::new();
        let stdin = io::stdin().lock();
        stdin
            .take(MAX_PASSWORD_BYTES)
            .read_to_string(&mut password)?;
        let password = password.trim_end_matches(['\r', '\n']);
        ensure!(!password.is_empty(), "standard input has no password");
        all.push((DB_PASSWORD.parse()?, Wanted::Text(password.to_owned())));
    }
    Ok(all)
}

/// `[a, b]` is a list, and so is whatever `property.limit_ips` is set to.
fn assignment(text: &str) -> Result<(Key, Wanted), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key: Key = key.parse().map_err(|error: InvalidKey| error.to_string())?;
    let value = value.trim();
    let bare = value.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let wanted = match bare {
        Some(list) => Wanted::List(items(list)),
        None if key.as_str() == LIMIT_IPS => Wanted::List(items(value)),
        None => Wanted::Text(value.to_owned()),
    };
    if let Wanted::List(networks) = &wanted
        && key.as_str() == LIMIT_IPS
    {
        networks.iter().try_for_each(|it| limit_ip(it).map(drop))?;
        if networks.is_empty() {
            return Err(format!("to let everybody in, --unset {LIMIT_IPS}"));
        }
    }
    Ok((key, wanted))
}

/// A network that may come in, as a web server will take it.
pub(super) fn limit_ip(text: &str) -> Result<String, String> {
    network(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| format!("{text}: not an IP address or a network such as 192.168.0.0/24"))
}

fn items(list: &str) -> Vec<String> {
    let items = list.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_or_lists() {
        let wanted = |text| assignment(text).map(|(_, wanted)| wanted);
        let text = |text: &str| Ok(Wanted::Text(text.to_owned()));
        let list = |items: &[&str]| Ok(Wanted::List(items.iter().map(|&it| it.into()).collect()));
        assert_eq!(wanted("s3.folder=a=b"), text("a=b"));
        assert_eq!(wanted("db.name="), text(""));
        assert_eq!(wanted("a.b=[x, y]"), list(&["x", "y"]));
        assert_eq!(wanted("property.limit_ips=::1"), list(&["::1"]));
        assert_eq!(
            wanted("property.limit_ips=::1,10.0.0.0/8"),
            list(&["::1", "10.0.0.0/8"])
        );
        for bad in [
            "property.limit_ips=",
            "property.limit_ips=[]",
            "property.limit_ips=10.0.0.0/99",
            "property.limit_ips=::1,all",
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
        assert!(wanted("s3.folder").is_err());
        assert!(wanted("s3..folder=x").is_err());
    }
}
