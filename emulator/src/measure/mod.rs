//! Cold starts of several programs, taken in turn on one machine, and what they cost.
//!
//! Each sample is a fresh execution environment: one cold start, the first invocation, then a few
//! warm ones. Programs are interleaved (A B C A B C …), so that whatever else the machine does at
//! the time falls on all of them alike. The figures are this machine's and not AWS's: there is no
//! microVM, no download of the code and no CPU share in them. What carries over is the ratio
//! between two programs.
//!
//! [`measure`] takes the samples, [`Results::table`] and [`Results::chart`] show them, and
//! [`Results::json`] keeps every one.

mod chart;
mod error;
mod figure;
mod json;
mod machine;
mod progress;
mod results;
mod run;
mod sample;
mod stats;
mod subject;
mod table;

pub use self::error::MeasureError;
pub use self::figure::{ExtensionFigure, Figure, Scale, Unit, grouped};
pub use self::machine::Machine;
pub use self::progress::Bar;
pub use self::results::{Measured, Results};
pub use self::run::measure;
pub use self::sample::{ExtensionSample, Sample};
pub use self::stats::{Comparison, Summary, percentile, ratio};
pub use self::subject::{Options, Progress, Subject};
