//! Writes logs of made-up functions, in all formats that `bantam-report` reads, to measure it with.
//!
//! `cargo run --release -p bantam-report --example fleet -- FOLDER [FUNCTIONS] [BYTES] [SEED]`
//! writes about BYTES bytes of logs of FUNCTIONS functions over three days, and `causes.json` with
//! the causes of all starts as they were.

#![expect(
    clippy::cast_possible_truncation,
    clippy::format_push_string,
    clippy::struct_excessive_bools,
    reason = "it makes up data, and need be neither exact nor fast"
)]

mod format;
mod simulation;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use self::simulation::{Function, fleet};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(
        args.next()
            .ok_or("usage: fleet FOLDER [FUNCTIONS [BYTES [SEED]]]")?,
    );
    let functions = args.next().map_or(Ok(300), |text| text.parse())?;
    let bytes: f64 = args.next().map_or(Ok(1e9), |text| text.parse())?;
    let seed = args.next().map_or(Ok(1), |text| text.parse())?;
    fs::create_dir_all(folder.join("logs"))?;
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut written = 0;
    for function in fleet(functions, bytes / BYTES_PER_INVOCATION, seed) {
        let Function {
            name,
            lines,
            causes: of,
        } = function.run();
        for cause in of {
            *causes.entry(cause).or_default() += 1;
        }
        written += format::write(&folder.join("logs"), &name, &lines)?;
    }
    let causes = serde_json::to_string_pretty(&causes)?;
    fs::write(folder.join("causes.json"), format!("{causes}\n"))?;
    eprintln!("{written} bytes of logs");
    Ok(())
}

/// Bytes of a log for an invocation: the lines of the platform, and one of the function.
const BYTES_PER_INVOCATION: f64 = 700.0;
