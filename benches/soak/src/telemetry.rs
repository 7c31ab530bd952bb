//! Telemetry by the gigabyte: batches beside those of the emulator, to the same listener.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Emulator, What};
use testkit::http::Client;

use crate::Outcome;
use crate::exports::Exported;
use crate::health::Health;
use crate::load::Verdict;

/// What was sent, and so has to be exported.
#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    reports: u32,
    errors: u32,
    malformed: u32,
    unknown: u32,
    lost: u32,
}

impl Sent {
    /// Writes a batch of so many records into `batch`.
    fn fill(&mut self, batch: &mut String, records: u32) -> Outcome<()> {
        batch.clear();
        batch.push('[');
        for kind in 0..records {
            if kind != 0 {
                batch.push(',');
            }
            self.record(batch, kind)?;
        }
        batch.push(']');
        Ok(())
    }

    fn record(&mut self, batch: &mut String, kind: u32) -> Outcome<()> {
        let id = self.reports;
        match kind % 20 {
            // Older ones would be of a process before this one.
            0..14 => {
                self.reports += 1;
                write!(
                    batch,
                    r#"{{"time":"2099-08-20T10:00:01.180Z","type":"platform.report","record":{{"requestId":"{id:08x}-49c9-448d-89b8-7ca3e6dc66aa","status":"success","metrics":{{"billedDurationMs":{},"durationMs":{},"maxMemoryUsedMB":42,"memorySizeMB":128}},"tracing":{{"type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}}}}"#,
                    id % 50 + 1,
                    id % 50,
                )?;
            }
            14 => {
                self.reports += 1;
                self.errors += 1;
                write!(
                    batch,
                    r#"{{"time":"2099-08-20T10:00:01.180Z","type":"platform.report","record":{{"requestId":"{id:08x}","status":"error","errorType":"Function.E{id}","metrics":{{"durationMs":0}}}}}}"#,
                )?;
            }
            15..18 => {
                self.unknown += 1;
                write!(
                    batch,
                    r#"{{"time":"x","type":"platform.new","record":{{"a":[{id}]}}}}"#
                )?;
            }
            _ => {
                self.malformed += 1;
                batch.push_str("17");
            }
        }
        Ok(())
    }
}

/// Delivers so many megabytes, with an invocation now and then.
pub(crate) fn run(
    name: &'static str,
    mut config: Config,
    megabytes: u64,
    limit: Duration,
    seed: u64,
) -> Outcome<Verdict> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("exported");
    prepare(&mut config, &file, seed);
    let began = Instant::now();
    let emulator = Emulator::start(config)?;
    let mut verdict = Verdict {
        name,
        ..Verdict::default()
    };
    let mut own = 0;
    let mut invoke = || -> Outcome<()> {
        let outcome = emulator.invoke(r#"{"do":"echo","value":1}"#)?;
        if outcome.body != b"1" {
            return Err(format!("no echo beside the telemetry: {outcome:?}").into());
        }
        own += 1;
        Ok(())
    };
    invoke()?;
    let mut platform = Platform::connect(&emulator)?;
    let (mut sent, mut health, mut batch) = (Sent::default(), Health::default(), String::new());
    let bytes = megabytes * 1_000_000;
    for round in 0_u64.. {
        let done = sent.bytes as f64 / bytes.max(1) as f64;
        let passed = began.elapsed().as_secs_f64() / limit.as_secs_f64();
        health.look(done.max(passed), &emulator.environments());
        if 1.0 <= done.max(passed) {
            break;
        }
        // The platform holds 1,000 records back at most; more than that is taken, too.
        sent.fill(&mut batch, if round % 10 == 9 { 3_000 } else { 1_000 })?;
        sent.bytes += batch.len() as u64;
        platform.post(batch.as_bytes())?;
        if round % 200 == 100 {
            platform.post(b"no batch")?;
            sent.lost += 1;
            platform.strange()?;
            invoke()?;
        }
    }
    let report = emulator.stop();
    verdict.seconds = began.elapsed().as_secs_f64();
    verdict.invocations = own;
    verdict.planned = own;
    for delivery in &report.deliveries {
        if delivery.dropped_records != 0 {
            verdict.faults.push(format!("dropped: {delivery:?}"));
        }
    }
    verdict.faults.extend(health.faults());
    let exported = Exported::read(folder.path())?;
    check(&sent, own, &exported, &mut verdict.faults);
    verdict.notes = vec![
        format!(
            "{} MB of {megabytes} MB of telemetry, {} reports, {} records unknown or malformed, {} \
             deliveries that are none",
            sent.bytes / 1_000_000,
            sent.reports,
            sent.unknown + sent.malformed,
            sent.lost
        ),
        health.to_string(),
    ];
    Ok(verdict)
}

/// Exports to the file, and takes deliveries at any time.
fn prepare(config: &mut Config, file: &Path, seed: u64) {
    config.freeze = false;
    config.telemetry.flush_at_shutdown = true;
    config.record_bytes_max = 1_000_000;
    let port = (20_000 + seed % 20_000).to_string();
    for (name, value) in [
        ("BANTAM_EXPORTERS", "ndjson"),
        ("BANTAM_NDJSON_FILE", &*file.to_string_lossy()),
        ("BANTAM_TELEMETRY_PORT", &port),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
}

/// Holds what was sent against what was exported.
fn check(sent: &Sent, own: u64, exported: &Exported, faults: &mut Vec<String>) {
    let own = own as f64;
    let table = [
        ("invocations", f64::from(sent.reports - sent.errors) + own),
        ("errors", f64::from(sent.errors)),
        ("malformed_records", f64::from(sent.malformed)),
        ("unknown_records", f64::from(sent.unknown)),
        ("dropped_deliveries", f64::from(sent.lost)),
    ];
    for (name, expected) in table {
        let found = exported.sum(name);
        if (found - expected).abs() > 0.5 {
            faults.push(format!("{name}: {expected} sent, {found} exported"));
        }
    }
    // A value that had no room is counted in place of its value.
    let durations = exported.values.get("duration").copied();
    let told = durations.unwrap_or_default() as f64 + exported.sum("dropped_values");
    let expected = f64::from(sent.reports) + own;
    if told < expected - 0.5 {
        faults.push(format!(
            "{expected} durations sent, {told} exported or dropped"
        ));
    }
}

/// The platform's end of telemetry.
#[derive(Debug)]
struct Platform {
    client: Client,
    address: SocketAddr,
    path: String,
}

impl Platform {
    /// Connects to where the extension has subscribed for.
    fn connect(emulator: &Emulator) -> Outcome<Self> {
        let transcript = emulator.transcript();
        let uri = transcript.iter().find_map(|entry| {
            if let What::Subscribed { uri, .. } = &entry.what {
                uri.clone()
            } else {
                None
            }
        });
        let uri = uri.ok_or("the extension has not subscribed")?;
        let (_, rest) = uri
            .split_once("//sandbox.localdomain:")
            .ok_or("a strange URI")?;
        let (port, path) = rest.split_once('/').ok_or("a URI without a path")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
        Ok(Self {
            client: Client::connect(address),
            address,
            path: format!("/{path}"),
        })
    }

    fn post(&mut self, body: &[u8]) -> Outcome<()> {
        let answer = self.client.post(&self.path, &[], body);
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("a delivery is answered with {}", answer.status).into())
        }
    }

    /// Somebody who does not know the path.
    fn strange(&self) -> Outcome<()> {
        let answer = Client::connect(self.address).get("/metrics");
        if answer.status == 404 {
            Ok(())
        } else {
            Err(format!("a stranger is answered with {}", answer.status).into())
        }
    }
}
