//! Of which starts there is a trace.

use super::reader::{Reader, shown};

/// The starts that a trace is sent of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Sampling {
    /// `BANTAM_TRACES`: whether also of starts that no invocation waited for.
    pub(in crate::extension) all_starts: bool,
    /// Whether a trace that has begun before is sampled as it was.
    follows_parent: bool,
    /// Of the other ones those are taken whose id, in the last 63 bits, is below this share of all
    /// ids, in [`ALL`]s.
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
        let given = reader.text(SAMPLER).unwrap_or(DEFAULT);
        let sampler = given.to_ascii_lowercase();
        let (follows_parent, root) = match sampler.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, &*sampler),
        };
        let below = match root {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => ratio(reader),
            _ => {
                let shown = shown(given);
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
            _ => {
                let id = u128::from_be_bytes(trace_id) & LAST_63_BITS;
                id * u128::from(ALL) < u128::from(self.below) << 63
            }
        }
    }
}

/// The share of traces to take, in [`ALL`]s.
fn ratio(reader: &mut Reader<'_>) -> u64 {
    let ratio = reader.parsed(
        "OTEL_TRACES_SAMPLER_ARG",
        &parse_ratio,
        "a decimal number from 0 to 1 with at most 9 decimals",
        "1",
    );
    ratio.unwrap_or(ALL)
}

/// Reads digits, without the parser of floating-point numbers, which has some kilobytes.
fn parse_ratio(value: &str) -> Option<u64> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let mut share = 0;
    let mut place = ALL;
    for digit in decimals.bytes() {
        if !digit.is_ascii_digit() || 9 < decimals.len() {
            return None;
        }
        place /= 10;
        share += u64::from(digit - b'0') * place;
    }
    match whole {
        "0" | "" => Some(share),
        "1" if share == 0 => Some(ALL),
        _ => None,
    }
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

/// The whole: shares have at most nine decimals.
const ALL: u64 = 1_000_000_000;

const LAST_63_BITS: u128 = (1 << 63) - 1;
