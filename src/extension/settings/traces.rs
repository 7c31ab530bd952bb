//! Of which starts there is a trace.

use super::reader::{Reader, shown};

/// The starts that a trace is sent of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Sampling {
    /// `BANTAM_TRACES`: whether also of starts that no invocation waited for.
    pub(in crate::extension) all_starts: bool,
    /// Whether a trace that has begun before is sampled as it was.
    follows_parent: bool,
    /// Of the other ones those are taken whose id, in the last 63 bits, is below this.
    below: u64,
}

impl Sampling {
    /// Reads `BANTAM_TRACES` and the standard variables:
    /// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let all_starts = reader.parsed(
            "BANTAM_TRACES",
            &|value| match value {
                "cold_starts" => Some(false),
                "starts" => Some(true),
                _ => None,
            },
            "cold_starts or starts",
            "cold_starts",
        );
        let sampler = reader.text(SAMPLER).unwrap_or(DEFAULT);
        let (follows_parent, root) = match sampler.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, sampler),
        };
        let below = match root {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => ratio(reader),
            _ => {
                let shown = shown(sampler);
                reader.warn(format!(
                    "{SAMPLER} is \"{shown}\", expected always_on, always_off or traceidratio, \
                     each also after parentbased_: using {DEFAULT}"
                ));
                return Self::of(all_starts, true, ALL);
            }
        };
        Self::of(all_starts, follows_parent, below)
    }

    fn of(all_starts: Option<bool>, follows_parent: bool, below: u64) -> Self {
        Self {
            all_starts: all_starts.unwrap_or(false),
            follows_parent,
            below,
        }
    }

    /// Whether a trace is sent; `parent` says whether the invocation that waited is sampled.
    pub(in crate::extension) fn takes(self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        match parent {
            Some(is_sampled) if self.follows_parent => is_sampled,
            _ => u128::from_be_bytes(trace_id) & LAST_63_BITS < u128::from(self.below),
        }
    }
}

/// The share of traces to take, in [`ALL`]s.
fn ratio(reader: &mut Reader<'_>) -> u64 {
    let ratio = reader.parsed(
        "OTEL_TRACES_SAMPLER_ARG",
        // The parser of JSON is in the binary already.
        &|value| {
            let ratio: f64 = serde_json::from_str(value).ok()?;
            (0.0..=1.0).contains(&ratio).then_some(ratio)
        },
        "a number from 0 to 1",
        "1",
    );
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "from 0 to a power of two"
    )]
    let below = (ratio.unwrap_or(1.0) * ALL as f64) as u64;
    below
}

#[cfg(test)]
impl Sampling {
    /// Every start, whatever the sampling of its invocation.
    pub(in crate::extension) fn of_all_starts() -> Self {
        Self::of(Some(true), false, ALL)
    }
}

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// The default of the specification.
const DEFAULT: &str = "parentbased_always_on";

/// More than any 63 bits.
const ALL: u64 = 1 << 63;

const LAST_63_BITS: u128 = (1 << 63) - 1;
