//! The role of AWS Lambda Web Adapter: an extension that is the client of the Runtime API, beside
//! an HTTP server that the platform starts as the process of the runtime.
//!
//! <https://github.com/aws/aws-lambda-web-adapter>. Its users keep the name of the file,
//! `/opt/extensions/lambda-adapter`, and the command of their image.

use std::sync::atomic::{AtomicBool, Ordering};

use super::hooks;
use super::log;
use crate::shared::endpoint::Endpoint;
use crate::shared::log_record::Level;
use crate::shared::os;

/// The name of the file, by which the platform knows the extension.
pub(crate) const NAME: &str = "lambda-adapter";

static IS_ADAPTER: AtomicBool = AtomicBool::new(false);

/// This process was started under the name.
pub(crate) fn play() {
    IS_ADAPTER.store(true, Ordering::Relaxed);
}

pub(super) fn is_played() -> bool {
    IS_ADAPTER.load(Ordering::Relaxed)
}

/// Registers as the extension that the platform has started. It starts the server after that, and
/// no environment in which an extension has not registered.
pub(super) fn register(api: &Endpoint) {
    let registered = hooks::register_as(NAME, "cannot register as an extension", api);
    if let Err(reason) = registered {
        log::line(Level::Fatal, &reason);
        os::exit(1)
    }
}
