//! Every place that takes bytes from outside, as a function of bytes that panics where it breaks a
//! promise. `fuzz/` makes the bytes; the test below replays those that it kept.
//!
//! A target stands beside what it feeds, in a file `fuzz.rs`. It holds readers against second
//! readers, and reads again what was written.

#![expect(
    clippy::expect_used,
    reason = "a target ends where a promise is broken"
)]

#[cfg(feature = "extension")]
use crate::extension;
use crate::{runtime, shared};

/// A target: a function of an input.
pub type Target = fn(&[u8]);

/// The targets by their names, which are the names of the programs and of the folders with inputs.
pub const TARGETS: &[(&str, Target)] = &[
    ("http_requests", shared::http::fuzz::requests),
    ("http_response", shared::http::fuzz::response),
    ("texts", shared::fuzz::texts),
    ("context", runtime::fuzz::context),
    ("error_report", runtime::fuzz::error_report),
    ("persistent_line", runtime::fuzz::persistent_line),
    ("executable_output", runtime::fuzz::executable_output),
    ("http_event", runtime::fuzz::http_event),
    ("http_reply", runtime::fuzz::http_reply),
    ("runtime_settings", runtime::fuzz::runtime_settings),
    #[cfg(feature = "extension")]
    ("telemetry", extension::fuzz::telemetry),
    #[cfg(feature = "extension")]
    ("extension_api", extension::fuzz::extension_api),
    #[cfg(feature = "extension")]
    ("extension_settings", extension::fuzz::extension_settings),
    #[cfg(feature = "extension")]
    ("otlp_answer", extension::fuzz::otlp_answer),
];

/// Runs a target.
///
/// # Panics
///
/// If there is no target of this name, or if it finds a fault.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("the name of a target");
    target(data);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_found_before_is_no_fault_now() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            testkit::corpus::each(&corpora.join(name), target);
        }
    }
}
