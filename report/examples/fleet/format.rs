//! Lines of a log in the formats of CloudWatch's exports, before compression.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::json;

use super::simulation::Line;

/// Writes the lines of one function below `folder`, in a format by its name, and gives the bytes.
pub(super) fn write(folder: &Path, name: &str, lines: &[Line]) -> io::Result<u64> {
    let kind = name.bytes().map(u32::from).sum::<u32>() % 6;
    let file = |ending: &str| {
        let file = File::create(folder.join(format!("{name}.{ending}")))?;
        Ok::<_, io::Error>(Count {
            inner: BufWriter::new(file),
            bytes: 0,
        })
    };
    match kind {
        0 => tail(file("log")?, lines),
        1 => json_events(file("json")?, lines),
        2 => table(file("csv")?, name, lines),
        3 => text_events(file("txt")?, lines),
        4 => subscription(file("json")?, name, lines),
        _ => export(&folder.join("aws/lambda").join(name), lines),
    }
}

/// Counts bytes before they are compressed.
struct Count<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Count<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn time(line: &Line) -> Timestamp {
    Timestamp::from_millisecond(line.time_ms).unwrap_or_default()
}

/// `aws logs tail`.
fn tail(mut to: Count<impl Write>, lines: &[Line]) -> io::Result<u64> {
    for line in lines {
        writeln!(to, "{:.6} {} {}", time(line), line.stream, line.text)?;
    }
    to.flush()?;
    Ok(to.bytes)
}

/// `aws logs filter-log-events`.
fn json_events(mut to: Count<impl Write>, lines: &[Line]) -> io::Result<u64> {
    write!(to, "{{\n    \"events\": [")?;
    for (at, line) in lines.iter().enumerate() {
        let event = json!({
            "logStreamName": line.stream,
            "timestamp": line.time_ms,
            "message": format!("{}\n", line.text),
            "ingestionTime": line.time_ms + 1_500,
            "eventId": format!("{at:056}"),
        });
        let comma = if at == 0 { "" } else { "," };
        write!(to, "{comma}\n{event:#}")?;
    }
    writeln!(to, "\n    ],\n    \"searchedLogStreams\": []\n}}")?;
    to.flush()?;
    Ok(to.bytes)
}

/// The console of Logs Insights.
fn table(to: Count<impl Write>, name: &str, lines: &[Line]) -> io::Result<u64> {
    let mut rows = csv::Writer::from_writer(to);
    let log = format!("123456789012:/aws/lambda/{name}");
    rows.write_record(["@timestamp", "@message", "@logStream", "@log"])?;
    for line in lines {
        let time = time(line).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let message = format!("{}\n", line.text);
        rows.write_record([&time, &message, &line.stream, &log])?;
    }
    rows.flush()?;
    let to = rows.into_inner().map_err(|error| error.into_error())?;
    Ok(to.bytes)
}

/// `aws logs filter-log-events --output text`.
fn text_events(mut to: Count<impl Write>, lines: &[Line]) -> io::Result<u64> {
    for (at, line) in lines.iter().enumerate() {
        let Line {
            time_ms,
            stream,
            text,
        } = line;
        writeln!(
            to,
            "EVENTS\t{at:056}\t{}\t{stream}\t{text}\n\t{time_ms}",
            time_ms + 1_500
        )?;
    }
    to.flush()?;
    Ok(to.bytes)
}

/// What a subscription delivers to S3: documents of up to some hundred events, one after the other.
fn subscription(mut to: Count<impl Write>, name: &str, lines: &[Line]) -> io::Result<u64> {
    for lines in lines.chunk_by(|a, b| a.stream == b.stream) {
        let events: Vec<_> = lines
            .iter()
            .map(|line| json!({"id": "0", "timestamp": line.time_ms, "message": line.text}))
            .collect();
        write!(
            to,
            "{{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"123456789012\",\"logGroup\":\
             \"/aws/lambda/{name}\",\"logStream\":{},\"logEvents\":{}}}",
            json!(lines[0].stream),
            json!(events)
        )?;
    }
    to.flush()?;
    Ok(to.bytes)
}

/// An export to S3: a folder for each log stream.
fn export(folder: &Path, lines: &[Line]) -> io::Result<u64> {
    let mut streams: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        streams.entry(&line.stream).or_default().push(line);
    }
    let mut bytes = 0;
    for (stream, lines) in streams {
        let folder = folder.join(stream.replace('/', "-"));
        fs::create_dir_all(&folder)?;
        let file = File::create(folder.join("000000.gz"))?;
        let mut to = Count {
            inner: GzEncoder::new(BufWriter::new(file), Compression::fast()),
            bytes: 0,
        };
        for line in lines {
            writeln!(to, "{:.3} {}", time(line), line.text)?;
        }
        to.inner.try_finish()?;
        bytes += to.bytes;
    }
    Ok(bytes)
}
