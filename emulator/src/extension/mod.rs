//! The Extensions API of one environment and the processes behind it.
//!
//! `registry` holds the rules and knows no socket and no process; `api` puts requests to it;
//! `launch` starts the external extensions.
//!
//! docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

pub(crate) mod api;
pub(crate) mod launch;
pub(crate) mod registry;
