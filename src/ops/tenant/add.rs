//! `kura tenant add`: a new tenant's file.

use anyhow::Result;
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::assignments::{assignments, db_password, given, limit_ip};
use super::change::{self, Change};
use crate::config::Values;
use crate::ops::vhosts::LIMIT_IPS;
use crate::ops::{OperatorCommand, arguments};
use crate::tenant::settings::edit::{Key, Wanted};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

/// The flags that are keys of the file, in its order.
const FLAGS: &[(&str, &str, &str)] = &[
    ("db-host", "db.host", "Host of the tenant's database"),
    ("db-name", "db.name", "Name of the tenant's database"),
    ("db-user", "db.user", "User of the tenant's database"),
    (
        "bucket",
        "s3.bucket",
        "Bucket of its files [default: that of S3_BUCKET_NAME]",
    ),
    (
        "folder",
        "s3.folder",
        "Folder of its files in the bucket, no other tenant's",
    ),
    (
        "sub-domain",
        "property.sub_domain",
        "Name of its site, before the domain",
    ),
];

fn describe() -> Command {
    let flags = FLAGS.iter().map(|(flag, _, help)| {
        let required = *flag == "folder";
        Arg::new(*flag)
            .long(*flag)
            .value_name("VALUE")
            .required(required)
            .help(*help)
    });
    let networks = Arg::new("limit-ip").long("limit-ip").value_name("NETWORK");
    let set = assignments(Arg::new("set").long("set"));
    Command::new("add")
        .about("Adds a tenant")
        .after_help("`kura token TENANT` then prints the token for its Redmine.")
        .arg(arguments::tenant())
        .args(flags)
        .arg(
            networks
                .action(ArgAction::Append)
                .value_parser(ValueParser::new(limit_ip))
                .help(
                    "Network that may reach its site, such as 192.168.0.0/24; for several, again",
                ),
        )
        .arg(db_password())
        .arg(set.help("Any other key of the file"))
        .args(change::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let mut edits: Vec<(Key, Wanted)> = Vec::new();
    for (flag, key, _) in FLAGS {
        if let Some(value) = matches.get_one::<String>(flag) {
            edits.push((key.parse()?, Wanted::Text(value.clone())));
        }
    }
    let networks = matches.get_many::<String>("limit-ip");
    let networks: Vec<_> = networks.into_iter().flatten().cloned().collect();
    if !networks.is_empty() {
        edits.push((LIMIT_IPS.parse()?, Wanted::List(networks)));
    }
    edits.extend(given(matches, "set")?);
    let change = Change {
        action: "add",
        is_new: true,
        edits,
    };
    change::run(matches, values, &change)
}
