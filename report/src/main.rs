//! The command `bantam-report`: tables and pictures of cold starts, from logs and measurements.

mod counts;
mod terminal;

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam_report::{Report, files, is_regular};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Reads logs and measurements of Lambda functions, and reports their cold starts
///
/// Files are recognised by their content: exports of CloudWatch (`aws logs` in text and JSON,
/// `sam logs`, log events and Logs Insights of the console in CSV and JSON, exports to S3 with
/// gzip), lines of Bantam's extension (EMF, NDJSON), files of an OpenTelemetry collector, and the
/// JSON of `bantam-emulator coldstart`.
#[derive(Debug, Parser)]
#[command(name = "bantam-report", version)]
struct Args {
    /// Files, folders with files, or `-` for standard input
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Another run to compare with: the files in front are before, and these are after
    #[arg(long, value_name = "FILES", num_args = 1..)]
    versus: Vec<PathBuf>,
    /// Where all tables go, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where one HTML page goes, with all pictures and tables in it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A folder for the pictures, as SVG
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
    /// The title of the page
    #[arg(long, value_name = "TEXT", default_value = "Cold starts")]
    title: String,
    /// Rows of a table in the terminal
    #[arg(long, value_name = "N", default_value = "10")]
    rows: usize,
    /// The seed of the bootstrap by which two runs are compared
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let bar = Bar::new(&files(&args.files)?, &files(&args.versus)?);
    let report = Report::read(&args.files, &args.versus, args.seed, &|progress| {
        bar.add(progress.bytes);
    })?;
    bar.end();
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", serde_json::to_value(&report)?))?;
    }
    if let Some(path) = &args.html {
        write(path, &report.html(&args.title)?)?;
    }
    if let Some(folder) = &args.svg {
        let failed = |error| format!("cannot make {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, text) in report.pictures()? {
            write(&folder.join(name), &text)?;
        }
    }
    match terminal::show(&mut io::stdout().lock(), &report, args.rows) {
        // Its reader has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The progress on standard error, where that is a terminal.
struct Bar {
    bar: ProgressBar,
    /// Not yet shown: a bar that is moved for every piece costs more than the reading.
    bytes: Cell<u64>,
}

impl Bar {
    fn new(files: &[PathBuf], versus: &[PathBuf]) -> Self {
        let all = files.iter().chain(versus).filter(|path| is_regular(path));
        let sizes = all.filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        // They are read twice.
        let bar = ProgressBar::new(2 * sizes.sum::<u64>());
        let template = "reading {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            bytes: Cell::new(0),
        }
    }

    fn add(&self, bytes: u64) {
        let bytes = self.bytes.get() + bytes;
        if SHOWN_BYTES < bytes {
            self.bar.inc(bytes);
            self.bytes.set(0);
        } else {
            self.bytes.set(bytes);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Bytes after which the bar moves.
const SHOWN_BYTES: u64 = 1 << 20;
