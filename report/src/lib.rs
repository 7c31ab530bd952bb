//! Tables and pictures of the cold starts of AWS Lambda functions, from logs and measurements.
//!
//! A [`Report`] reads files of any of these, recognised by their content: exports of `CloudWatch`
//! (`aws logs` in text and JSON, Logs Insights in CSV and JSON, exports to S3 with gzip), the lines
//! of Bantam's extension (EMF and NDJSON), files of an OpenTelemetry collector, and the JSON of
//! `bantam-emulator coldstart`. It reads them as a stream: memory grows with the starts, and not
//! with the log.
//!
//! `docs/report.md` has the commands and the rules by which a cause is found.

mod cause;
mod counts;
mod fact;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod ledger;
mod limits;
mod message;
mod page;
mod picture;
mod statistics;
mod tables;

use std::path::PathBuf;

use serde::Serialize;

pub use self::input::{InputError, Problem, Tally, files, is_regular};
pub use self::picture::BarRow;
pub use self::statistics::{Bin, Difference, Step, Summary};
pub use self::tables::{Distribution, FunctionRow, PartRow, StartsRow, Tables, TimeRow, Totals};
use crate::cause::{Activity, Second};
use crate::ledger::Ledger;
use crate::tables::FIGURES;

/// The format of the JSON; it changes when a name changes its meaning.
const FORMAT: &str = "bantam-report/1";

/// A report over one run, or over two that are compared.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The format of this JSON.
    pub format: &'static str,
    /// The tables of the files.
    pub tables: Tables,
    /// How the programs that the emulator measured differ from the first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<DifferenceRow>,
    /// The tables of the files that they are compared with, and the differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versus: Option<Versus>,
}

/// Another run, and how it differs.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Versus {
    /// Its tables.
    pub tables: Tables,
    /// The differences, from the first run to this one.
    pub differences: Vec<DifferenceRow>,
    /// The seed of the bootstrap.
    pub seed: u64,
    /// Its resamples.
    pub resamples: usize,
    /// The confidence of the intervals.
    pub confidence: f64,
}

/// The difference of one quantile of one figure.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DifferenceRow {
    /// The program, where several are compared with the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The figure.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The quantile, as in `p50`.
    pub quantile: &'static str,
    /// The values and the intervals of their difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether the interval has no zero in it, and both sides have enough values for one.
    pub is_significant: bool,
}

/// The progress of a reading.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were read of the files since the last time, as they are stored.
    pub bytes: u64,
}

/// One run that was read.
#[derive(Debug)]
struct Run {
    ledger: Ledger,
    tables: Tables,
}

impl Report {
    /// Reads `paths`, and compares with `versus` unless that is empty. Folders are read with all
    /// files in them. `progress` hears of every piece; regular files are read twice.
    ///
    /// # Errors
    ///
    /// A file cannot be opened. Parts that cannot be read are counted in [`Tables::read`].
    pub fn read(
        paths: &[PathBuf],
        versus: &[PathBuf],
        seed: u64,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, InputError> {
        let run = Run::read(paths, progress)?;
        let versus = if versus.is_empty() {
            None
        } else {
            let other = Run::read(versus, progress)?;
            Some(Versus {
                differences: differences(&run.ledger, &other.ledger, seed),
                tables: other.tables,
                seed,
                resamples: statistics::RESAMPLES,
                confidence: statistics::CONFIDENCE,
            })
        };
        Ok(Self {
            format: FORMAT,
            programs: programs(&run.ledger, seed),
            tables: run.tables,
            versus,
        })
    }
}

impl Report {
    /// One HTML page with all tables and pictures. It needs no network, and has no script.
    ///
    /// # Errors
    ///
    /// A picture cannot be drawn.
    pub fn html(&self, title: &str) -> Result<String, PictureError> {
        Ok(page::page(self, title)?)
    }

    /// All pictures: the name and the text of an SVG file each.
    ///
    /// # Errors
    ///
    /// A picture cannot be drawn.
    pub fn pictures(&self) -> Result<Vec<(String, String)>, PictureError> {
        let pictures = page::pictures(self)?.into_iter();
        let files = pictures.map(|picture| (format!("{}.svg", picture.name), picture.file()));
        Ok(files.collect())
    }
}

/// A picture of programs beside each other, as the text of an SVG file: a row for each program, a
/// column of bars for each figure. `description` is the picture in words.
///
/// # Errors
///
/// The picture cannot be drawn.
pub fn bars(
    name: &str,
    title: &str,
    description: &str,
    columns: &[&str],
    rows: &[BarRow],
) -> Result<String, PictureError> {
    Ok(picture::bars(name, title, description, columns, rows)?.file())
}

/// A picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw a picture: {0}")]
pub struct PictureError(#[from] picture::DrawError);

impl Run {
    fn read(paths: &[PathBuf], progress: &dyn Fn(Progress)) -> Result<Self, InputError> {
        let files = files(paths)?;
        let mut ledger = Ledger::default();
        let mut tally = Tally::default();
        let progress = |bytes| progress(Progress { bytes });
        for file in &files {
            input::read(file, &mut ledger, &mut tally, &progress)?;
        }
        ledger.finish();
        let mut second = Second::new(&ledger);
        // The first reading has counted all.
        let mut again = Tally::default();
        for file in files.iter().filter(|file| is_regular(file)) {
            input::read(file, &mut second, &mut again, &progress)?;
        }
        Ok(Self::of(second.finish(), ledger, tally))
    }

    /// The run of a ledger, which is finished.
    fn of(activity: Activity, mut ledger: Ledger, tally: Tally) -> Self {
        let causes = cause::causes(&mut ledger, &activity);
        let starts = 0..ledger.starts.len();
        let busy: Vec<u32> = starts.map(|start| activity.near(start).busy).collect();
        let tables = tables::tables(&ledger, &causes, &busy, tally);
        Self { ledger, tables }
    }
}

fn differences(before: &Ledger, after: &Ledger, seed: u64) -> Vec<DifferenceRow> {
    let mut rows = Vec::new();
    for figure in &FIGURES {
        let (before, after) = (
            tables::sorted(before, figure),
            tables::sorted(after, figure),
        );
        for (quantile, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            if let Some(difference) = statistics::compare(&before, &after, q, seed) {
                rows.push(DifferenceRow {
                    program: None,
                    figure: figure.name,
                    unit: figure.unit,
                    quantile,
                    is_significant: difference.is_significant(),
                    difference,
                });
            }
        }
    }
    rows
}

/// The medians of each program beside the ones of the first.
fn programs(ledger: &Ledger, seed: u64) -> Vec<DifferenceRow> {
    let Some((first, others)) = ledger.programs.split_first() else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    for other in others {
        for figure in &FIGURES {
            let before = tables::sorted_of(ledger, figure, Some(*first));
            let after = tables::sorted_of(ledger, figure, Some(*other));
            if let Some(difference) = statistics::compare(&before, &after, 0.5, seed) {
                rows.push(DifferenceRow {
                    program: Some(ledger.names.text(*other).to_owned()),
                    figure: figure.name,
                    unit: figure.unit,
                    quantile: "p50",
                    is_significant: difference.is_significant(),
                    difference,
                });
            }
        }
    }
    rows
}

impl DifferenceRow {
    /// The program, the figure and the quantile.
    #[must_use]
    pub fn label(&self) -> String {
        let figure = self.figure.trim_end_matches("_duration");
        let figure = figure.replace('_', " ");
        match &self.program {
            Some(program) => format!("{program}: {figure}"),
            None => format!("{figure} {}", self.quantile),
        }
    }
}
