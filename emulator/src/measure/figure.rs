//! The figures of a cold start, and the units they are shown in.

use std::fmt;

use super::sample::{ExtensionSample, Sample};

/// One measured quantity: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// From just before the process is spawned until its first complete request for the next
    /// invocation has been read.
    ExecToNext,
    /// The init phase: until the runtime and every extension ask for their first event.
    Init,
    /// The first invocation: from the event going out until the response has been read.
    FirstInvocation,
    /// The invocations after the first, in the same environment.
    WarmInvocation,
    /// Processor time the process has used when it asks for its first invocation.
    Cpu,
    /// The largest resident set of the process (`VmHWM`), read after the last invocation.
    PeakMemory,
    /// The size of the program's file.
    Binary,
}

/// One measured quantity of an extension: a column of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionFigure {
    /// From just before its process is created to its registration.
    ExecToRegister,
    /// From just before its process is created to its first request for an event.
    ExecToReady,
    /// The largest resident set of its process (`VmHWM`), read after the last invocation.
    PeakMemory,
    /// From `SHUTDOWN` to its exit.
    Shutdown,
}

/// The kind of quantity that a figure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, shown in the unit that fits the column.
    Nanoseconds,
    /// Bytes in memory, shown in the binary unit that fits the column.
    MemoryBytes,
    /// Bytes of a file, shown as they are.
    FileBytes,
}

impl Figure {
    /// Every figure, in the order of the table's columns.
    pub const ALL: [Self; 7] = [
        Self::ExecToNext,
        Self::Init,
        Self::FirstInvocation,
        Self::WarmInvocation,
        Self::Cpu,
        Self::PeakMemory,
        Self::Binary,
    ];

    /// The head of its column, in at most two lines.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ExecToNext => "exec to\nfirst next",
            Self::Init => "init",
            Self::FirstInvocation => "first\ninvocation",
            Self::WarmInvocation => "warm\ninvocation",
            Self::Cpu => "CPU",
            Self::PeakMemory => "peak\nmemory",
            Self::Binary => "binary",
        }
    }

    /// The kind of its values.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::ExecToNext
            | Self::Init
            | Self::FirstInvocation
            | Self::WarmInvocation
            | Self::Cpu => Unit::Nanoseconds,
            Self::PeakMemory => Unit::MemoryBytes,
            Self::Binary => Unit::FileBytes,
        }
    }

    /// This figure's values in one cold start. Empty for [`Figure::Binary`], which no cold start
    /// changes.
    #[must_use]
    pub fn values(self, sample: &Sample) -> Vec<u64> {
        match self {
            Self::ExecToNext => vec![sample.exec_to_next_ns],
            Self::Init => vec![sample.init_ns],
            Self::FirstInvocation => vec![sample.first_invocation_ns],
            Self::WarmInvocation => sample.warm_invocations_ns.clone(),
            Self::Cpu => vec![sample.cpu_ns],
            Self::PeakMemory => vec![sample.peak_memory_bytes],
            Self::Binary => Vec::new(),
        }
    }
}

impl ExtensionFigure {
    /// Every figure, in the order of the table's columns.
    pub const ALL: [Self; 4] = [
        Self::ExecToRegister,
        Self::ExecToReady,
        Self::PeakMemory,
        Self::Shutdown,
    ];

    /// The head of its column, in at most two lines.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ExecToRegister => "exec to\nregistered",
            Self::ExecToReady => "exec to\nready",
            Self::PeakMemory => "peak\nmemory",
            Self::Shutdown => "SHUTDOWN\nto exit",
        }
    }

    /// The kind of its values.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::ExecToRegister | Self::ExecToReady | Self::Shutdown => Unit::Nanoseconds,
            Self::PeakMemory => Unit::MemoryBytes,
        }
    }

    /// The value in one cold start, if there is one.
    #[must_use]
    pub fn value(self, sample: &ExtensionSample) -> Option<u64> {
        match self {
            Self::ExecToRegister => sample.exec_to_register_ns,
            Self::ExecToReady => sample.exec_to_ready_ns,
            Self::PeakMemory => sample.peak_memory_bytes,
            Self::Shutdown => sample.shutdown_ns,
        }
    }
}

/// A unit values are shown in: one for a whole column, so that its lines compare at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    divisor: u64,
    symbol: &'static str,
}

impl Scale {
    /// The largest unit in which the smallest of `values` is at least one.
    #[must_use]
    pub fn of(unit: Unit, values: &[u64]) -> Self {
        let scales = match unit {
            Unit::Nanoseconds => TIME,
            Unit::MemoryBytes => MEMORY,
            Unit::FileBytes => FILE,
        };
        let smallest = values
            .iter()
            .copied()
            .filter(|value| *value != 0)
            .min()
            .unwrap_or(1);
        scales
            .iter()
            .find(|scale| scale.divisor <= smallest)
            .copied()
            .unwrap_or(Self {
                divisor: 1,
                symbol: "",
            })
    }

    /// The unit, as it is written behind a value.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        self.symbol
    }

    /// `value` in this unit, with three digits or more.
    #[must_use]
    pub fn show(self, value: u64) -> String {
        let decimals = match value / self.divisor {
            _ if self.divisor == 1 => 0,
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let scaled = value as f64 / self.divisor as f64;
        let number = format!("{scaled:.decimals$}");
        grouped(number)
    }
}

/// A decimal number with a comma between groups of three digits before its point.
#[must_use]
pub fn grouped(number: impl fmt::Display) -> String {
    let number = number.to_string();
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, whole) = whole
        .strip_prefix('-')
        .map_or(("", whole), |whole| ("-", whole));
    let mut text = sign.to_owned();
    for (position, digit) in whole.chars().enumerate() {
        if position != 0 && (whole.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

const TIME: &[Scale] = &[
    Scale {
        divisor: 1_000_000_000,
        symbol: "s",
    },
    Scale {
        divisor: 1_000_000,
        symbol: "ms",
    },
    Scale {
        divisor: 1_000,
        symbol: "µs",
    },
    Scale {
        divisor: 1,
        symbol: "ns",
    },
];

const MEMORY: &[Scale] = &[
    Scale {
        divisor: 1 << 20,
        symbol: "MiB",
    },
    Scale {
        divisor: 1 << 10,
        symbol: "KiB",
    },
    Scale {
        divisor: 1,
        symbol: "B",
    },
];

const FILE: &[Scale] = &[Scale {
    divisor: 1,
    symbol: "B",
}];

#[cfg(test)]
mod tests {
    use super::{Scale, Unit, grouped};

    #[test]
    fn a_column_takes_the_unit_of_its_smallest_value() {
        for (unit, values, shown) in [
            (
                Unit::Nanoseconds,
                &[2_512_000, 312_400][..],
                &["2,512 µs", "312 µs"][..],
            ),
            (
                Unit::Nanoseconds,
                &[1_060_000, 12_340_000],
                &["1.06 ms", "12.3 ms"],
            ),
            (Unit::Nanoseconds, &[1_500_000_000], &["1.50 s"]),
            (Unit::Nanoseconds, &[999], &["999 ns"]),
            (Unit::Nanoseconds, &[0], &["0 ns"]),
            (Unit::Nanoseconds, &[0, 4_200], &["0.00 µs", "4.20 µs"]),
            (
                Unit::MemoryBytes,
                &[94_208, 2_000_000],
                &["92.0 KiB", "1,953 KiB"],
            ),
            (Unit::MemoryBytes, &[1_992_294], &["1.90 MiB"]),
            (
                Unit::FileBytes,
                &[1_098_136, 305_464],
                &["1,098,136 B", "305,464 B"],
            ),
        ] {
            let scale = Scale::of(unit, values);
            let written = values.iter().map(|value| scale.show(*value));
            let written: Vec<_> = written
                .map(|shown| [&shown, " ", scale.symbol()].concat())
                .collect();
            assert_eq!(written, shown);
        }
    }

    #[test]
    fn digits_are_grouped_by_three_before_the_point() {
        for (number, expected) in [
            ("0", "0"),
            ("123", "123"),
            ("1234", "1,234"),
            ("123456", "123,456"),
            ("1234567.25", "1,234,567.25"),
            ("-123", "-123"),
            ("-1234", "-1,234"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}
