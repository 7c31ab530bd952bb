//! The emulator's readers as a function of bytes that panics where a promise is broken. `fuzz/`
//! makes the bytes; the test replays those that it kept.
//!
//! HTTP itself is hyper's; here is what the emulator makes of it.

use crate::{api, process, telemetry};

/// What a caller, a function, a runtime or an extension sends.
pub fn emulator(data: &[u8]) {
    api::fuzz::request(data);
    api::fuzz::response(data);
    api::fuzz::prelude(data);
    api::fuzz::error_report(data);
    api::fuzz::registration(data);
    process::fuzz::output(data);
    telemetry::fuzz::subscription(data);
    telemetry::fuzz::log_line(data);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_found_before_is_no_fault_now() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/emulator");
        testkit::corpus::each(&corpus, emulator);
    }
}
