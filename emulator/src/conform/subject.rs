//! The program under test.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

/// The program under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// How it is started. Its extensions are left out: rules of the runtime run without.
    pub config: Config,
    /// The extension under test, if it is one that is tested; the runtime is only its neighbour.
    pub extension: Option<PathBuf>,
    /// An event that the function takes.
    pub event: Vec<u8>,
    /// The limit of each init, invocation and other wait: longer than a busy machine needs.
    pub patience: Duration,
    /// How many rules are tried at once, each in an environment of its own, and in how many a rule
    /// with many places is tried: 1 for a program that listens on a fixed port. Probes wait more
    /// than they compute.
    pub at_once: usize,
}
