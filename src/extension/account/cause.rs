//! Why an environment was started, as far as the environment itself can know.
//!
//! It knows its init type, the phase of its init, what the process before it in the same
//! environment left behind, and when it was first invoked. It knows nothing of other environments:
//! whether they were busy, idle for long or of another version is for a report over all of them.

use super::cold_start::{ColdStart, Kind, Origin};
use crate::extension::settings::InitType;

/// Why an environment was started, and how that is known. `docs/extension.md` has the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) name: &'static str,
    /// `None` where the cause is unknown.
    pub(super) source: Option<&'static str>,
}

impl Cause {
    const fn new(name: &'static str, source: &'static str) -> Self {
        Self {
            name,
            source: Some(source),
        }
    }

    /// The cause of a start of this kind.
    pub(super) const fn of(start: &ColdStart, kind: Kind) -> Self {
        if matches!(start.origin, Origin::Init) {
            match (start.init_type, start.in_invoke) {
                (InitType::ManagedInstances, _) => return Self::new("managed_instances", PLATFORM),
                (InitType::ProvisionedConcurrency, false) => {
                    return Self::new("provisioned_concurrency", PLATFORM);
                }
                (InitType::SnapStart, false) => return Self::new("version_published", PLATFORM),
                _ => {}
            }
            match start.predecessor {
                Some(predecessor) => return Self::new(predecessor.name(), PREDECESSOR),
                None if start.in_invoke => return Self::new("earlier_failure", PLATFORM),
                None => {}
            }
        }
        if matches!(kind, Kind::InitFailure) {
            return Self {
                name: "unknown",
                source: None,
            };
        }
        let is_ahead = matches!(kind, Kind::Proactive | Kind::SnapStartProactive);
        let name = if is_ahead {
            "ahead_of_demand"
        } else {
            "demand"
        };
        Self::new(name, FIRST_INVOCATION)
    }
}

/// The platform says so: the init type, or the phase of the init.
const PLATFORM: &str = "platform";

/// The process before left a note, or the platform delivered its last records.
const PREDECESSOR: &str = "predecessor";

/// Inferred from the time of the first invocation.
const FIRST_INVOCATION: &str = "inferred";
