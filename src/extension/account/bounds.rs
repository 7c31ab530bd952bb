//! How much is kept of what comes from outside.

use crate::shared::text::prefix;

/// The part of a text from outside that is kept.
pub(super) fn kept(text: &str) -> &str {
    prefix(text, TEXT_BYTES_MAX)
}

/// The milliseconds from one time to another, or a count, as a value of a metric.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and durations here are far below 2^53"
)]
pub(in crate::extension) const fn float(number: u64) -> f64 {
    number as f64
}

/// Bytes that are kept of a text. The longest texts are ARNs and trace headers.
pub(super) const TEXT_BYTES_MAX: usize = 256;
