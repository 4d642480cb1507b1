//! The arguments that several commands have.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::listing::Listing;
use super::site::Site;
use crate::tenant::{TenantId, TenantSettings};

/// A tenant's id, required.
pub(super) fn tenant() -> Arg {
    Arg::new("tenant")
        .required(true)
        .value_name("TENANT")
        .value_parser(value_parser!(TenantId))
        .help("The tenant's id: its file's name without .yml")
}

/// A tenant's id, or `--all`.
pub(super) fn tenant_or_all() -> [Arg; 2] {
    [
        tenant().required(false).required_unless_present("all"),
        Arg::new("all")
            .long("all")
            .action(ArgAction::SetTrue)
            .conflicts_with("tenant")
            .help("All tenants"),
    ]
}

/// `--listing FILE`.
pub(super) fn listing(help: &'static str) -> Arg {
    Arg::new("listing")
        .long("listing")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

/// `--parallel N`.
pub(super) fn parallel(default: &'static str) -> Arg {
    Arg::new("parallel")
        .long("parallel")
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u16).range(1..=256))
        .help("How many are under way at once")
}

/// `--json`.
pub(super) fn json() -> Arg {
    switch("json", "Print the result as JSON")
}

/// A flag without a value.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// What `--parallel` says.
pub(super) fn parallel_of(matches: &ArgMatches) -> usize {
    matches
        .get_one("parallel")
        .copied()
        .map_or(1, |it: u16| usize::from(it))
}

/// What `--listing` names, read.
///
/// # Errors
/// When it cannot be.
pub(super) async fn listing_of(matches: &ArgMatches) -> Result<Option<Arc<Listing>>> {
    let Some(path) = matches.get_one::<PathBuf>("listing").cloned() else {
        return Ok(None);
    };
    let opened = tokio::task::spawn_blocking(move || Listing::open(&path));
    Ok(Some(Arc::new(opened.await??)))
}

/// The tenant that is named, to work on what it has.
///
/// # Errors
/// When there is none of that id, or any tenant's file cannot be used: which
/// folder that tenant has a running server may know, but nobody can tell from
/// the files, and it might be this one's.
pub(super) fn tenant_of(matches: &ArgMatches, site: &Site) -> Result<TenantSettings> {
    let id: &TenantId = matches.get_one("tenant").context("no tenant is named")?;
    let tenant = site.tenant(id)?;
    all_usable(site)?;
    Ok(tenant)
}

/// The tenant that is named, or all of them.
///
/// # Errors
/// As [`tenant_of`].
pub(super) fn tenants_of(matches: &ArgMatches, site: &Site) -> Result<Vec<TenantSettings>> {
    if !matches.get_flag("all") {
        return Ok(vec![tenant_of(matches, site)?]);
    }
    all_usable(site)?;
    Ok(site.tenants())
}

fn all_usable(site: &Site) -> Result<()> {
    let broken: Vec<_> = site.broken.iter().map(|(stem, _)| stem.as_str()).collect();
    ensure!(
        broken.is_empty(),
        "the files of these tenants cannot be used, and whose folder is whose is not certain \
         until they are mended (`kura tenant list` says why): {}",
        broken.join(", ")
    );
    Ok(())
}

/// Reads a number of bytes, such as `20MB` or `512KiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("the units are KB, MB, GB, KiB, MiB and GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a number is missing")?;
    let bytes = number.checked_mul(unit).ok_or("too large")?;
    (bytes > 0)
        .then_some(bytes)
        .ok_or_else(|| "must be more than 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_units() {
        assert_eq!(bytes("20MB"), Ok(20_000_000));
        assert_eq!(bytes("1 KiB"), Ok(1024));
        assert_eq!(bytes("7"), Ok(7));
        for bad in ["", "MB", "0", "1.5MB", "-1", "20 parsecs", "99999999999GB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
