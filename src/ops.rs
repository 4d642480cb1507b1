//! The operator's commands, beside `kura serve`.

pub mod healthcheck;
pub mod secret;
