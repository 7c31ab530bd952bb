//! One start of an environment.

use super::names::Name;

/// A start, with all that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) environment: u32,
    /// The start that was told of the environment before this one.
    pub(super) before: Option<u32>,
    pub(crate) version: Option<Name>,
    /// When its init or restore began.
    pub(crate) at_ms: Option<i64>,
    /// In the words of Bantam's extension.
    pub(crate) kind: Name,
    /// As one environment knows it, by its own log or by Bantam's extension.
    pub(crate) cause: Option<Name>,
    pub(crate) cause_is_inferred: bool,
    /// Whether Bantam's extension told it: it knows more than the log of the platform.
    pub(crate) is_measured: bool,
    /// Whether the log of the platform told it.
    pub(crate) is_logged: bool,
    pub(crate) figures: Figures,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            environment: 0,
            before: None,
            version: None,
            at_ms: None,
            kind: Name::UNKNOWN,
            cause: None,
            cause_is_inferred: false,
            is_measured: false,
            is_logged: false,
            figures: Figures::default(),
        }
    }
}

/// The figures of a start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) init_ms: Option<f64>,
    pub(crate) restore_ms: Option<f64>,
    pub(crate) first_ms: Option<f64>,
    /// The parts of an init, in their order.
    pub(crate) before_runtime_ms: Option<f64>,
    pub(crate) runtime_ms: Option<f64>,
    pub(crate) extensions_ms: Option<f64>,
    /// From the start of Bantam's extension to its registration, which is before the runtime.
    pub(crate) register_ms: Option<f64>,
    pub(crate) billed_init_ms: Option<f64>,
    /// What that costs, where the memory is known.
    pub(crate) billed_init_usd: Option<f64>,
    /// In the emulator: from the start of the process to its first request for an invocation.
    pub(crate) exec_to_next_ms: Option<f64>,
    pub(crate) memory_used_mb: Option<f64>,
}

impl Start {
    /// The start with the price of its billed init. Where the architecture is unknown it is taken
    /// as `x86_64`, which costs more.
    pub(super) fn priced(mut self, memory_mb: Option<f64>, architecture: Option<&str>) -> Self {
        let price = if architecture == Some("arm64") {
            USD_PER_GB_SECOND_ARM64
        } else {
            USD_PER_GB_SECOND
        };
        let billed = self.figures.billed_init_ms.zip(memory_mb);
        self.figures.billed_init_usd = billed.map(|(ms, mb)| ms / 1e3 * mb / 1_024.0 * price);
        self
    }

    /// Whether `other`, which has the same first invocation, is this start: the extension and the
    /// log tell one each, and the same line can be in two exports. An event that is tried again
    /// keeps its request id, and can meet another start.
    pub(super) fn can_be(&self, other: &Self) -> bool {
        let times = self.at_ms.zip(other.at_ms);
        self.lacks(other) || times.is_none_or(|(own, other)| own.abs_diff(other) <= SAME_MS_MAX)
    }

    /// Whether `other`, of which no request id is known or of this one, is this start: the second
    /// of them begins inside the first, and two starts of one environment never overlap.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (self.at_ms, other.at_ms) else {
            return false;
        };
        let figures = [&self.figures, &other.figures].into_iter();
        let took = figures.filter_map(|figures| figures.restore_ms.or(figures.init_ms));
        #[expect(clippy::cast_precision_loss, reason = "a time span")]
        let (apart, same) = (own.abs_diff(others) as f64, SAME_MS_MAX as f64);
        self.lacks(other) && apart <= took.fold(same, f64::max)
    }

    /// Whether nothing of the source of `other` is known of this start.
    fn lacks(&self, other: &Self) -> bool {
        !(other.is_measured && self.is_measured || other.is_logged && self.is_logged)
    }

    /// Takes over what `other`, another report of the same start, knows more.
    pub(super) fn complete(&mut self, other: &Self) {
        if other.is_measured && !self.is_measured {
            self.kind = other.kind;
            self.is_measured = true;
        }
        self.is_logged |= other.is_logged;
        if self.cause.is_none() {
            self.cause = other.cause;
            self.cause_is_inferred = other.cause_is_inferred;
        }
        self.version = self.version.or(other.version);
        // A log tells the begin, and the extension's line often only the end.
        self.at_ms = if other.is_measured {
            self.at_ms.or(other.at_ms)
        } else {
            other.at_ms.or(self.at_ms)
        };
        self.figures.complete(&other.figures, other.is_measured);
    }
}

impl Figures {
    fn complete(&mut self, other: &Self, other_is_better: bool) {
        let parts = [
            (&mut self.init_ms, other.init_ms),
            (&mut self.restore_ms, other.restore_ms),
            (&mut self.first_ms, other.first_ms),
            (&mut self.before_runtime_ms, other.before_runtime_ms),
            (&mut self.runtime_ms, other.runtime_ms),
            (&mut self.extensions_ms, other.extensions_ms),
            (&mut self.register_ms, other.register_ms),
            (&mut self.billed_init_ms, other.billed_init_ms),
            (&mut self.billed_init_usd, other.billed_init_usd),
            (&mut self.exec_to_next_ms, other.exec_to_next_ms),
            (&mut self.memory_used_mb, other.memory_used_mb),
        ];
        for (own, other) in parts {
            *own = if other_is_better {
                other.or(*own)
            } else {
                own.or(other)
            };
        }
    }
}

/// How far the times of one start may be from each other in two lines.
const SAME_MS_MAX: u64 = 1_000;

/// USD for a second of a GB of memory in us-east-1, in the first tier of the
/// [price list](https://aws.amazon.com/lambda/pricing/), as a
/// [guide of 2024](https://cloudchipr.com/blog/aws-lambda-pricing) quotes it.
const USD_PER_GB_SECOND: f64 = 0.000_016_666_7;
const USD_PER_GB_SECOND_ARM64: f64 = 0.000_013_333_4;
