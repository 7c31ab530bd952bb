//! One phase of invocations: callers, chaos beside them, and the checks.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Emulator, Error, Fault, FaultKind, Report, Step};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::actions::{Action, Expects, Mix, SHOWN_MAX};
use crate::exports::{Exported, Receiver};
use crate::health::{self, Health};
use crate::outcomes::{Outcomes, Told, Watched};

/// What happens to a function beside its invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chaos {
    /// Connections are lost, and answers cut, split and late.
    Connections,
    /// Processes are killed, frozen and replaced by new ones.
    Processes,
    /// The environment is restored from a snapshot.
    Restores,
    /// Workers are killed.
    Workers,
}

/// A phase of invocations.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) mix: Mix,
    pub(crate) chaos: Chaos,
    pub(crate) callers: u32,
    pub(crate) invocations: u64,
    pub(crate) limit: Duration,
    pub(crate) seed: u64,
    /// Error types that the chaos may bring to any invocation.
    pub(crate) tolerates: &'static [&'static str],
    /// Whether what the extension exported has to add up. A restore forgets what was before it.
    pub(crate) adds_up: bool,
}

/// The result of a phase: one line.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) invocations: u64,
    pub(crate) planned: u64,
    pub(crate) seconds: f64,
    pub(crate) notes: Vec<String>,
    pub(crate) faults: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            invocations,
            planned,
            seconds,
            notes,
            faults,
        } = self;
        let verdict = if faults.is_empty() { "ok" } else { "FAILED" };
        write!(f, "{name}: {verdict}, {invocations} invocations")?;
        if invocations < planned {
            write!(f, " of {planned}")?;
        }
        write!(f, " in {seconds:.0} s")?;
        for note in notes.iter().filter(|note| !note.is_empty()) {
            write!(f, "; {note}")?;
        }
        for fault in faults.iter().take(FAULTS_SHOWN) {
            write!(f, "\n  {fault}")?;
        }
        if FAULTS_SHOWN < faults.len() {
            write!(f, "\n  and {} more", faults.len() - FAULTS_SHOWN)?;
        }
        Ok(())
    }
}

/// What the threads of a phase share.
#[derive(Debug)]
struct Running<'a> {
    load: &'a Load,
    emulator: &'a Emulator,
    end: Instant,
    /// Invocations that were begun.
    begun: AtomicU64,
    /// Those that the emulator took, by their outcome.
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// How often the chaos did something.
    disturbed: AtomicU64,
    is_over: AtomicBool,
    /// Invocations whose event was lost with the worker that waited for it.
    lost: Mutex<Vec<String>>,
    /// Invocations that a killed worker had begun.
    abandoned: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) fn run(&self) -> Outcome<Verdict> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("exported");
        let receiver = Receiver::start(self.seed);
        // No other process has it.
        let marker = format!("{}-{}", std::process::id(), self.seed);
        let mut config = self.config(&file, &receiver, &marker)?;
        for extension in &mut config.extensions {
            *extension = with_file_of_its_own(extension, folder.path())?;
        }
        let began = Instant::now();
        let emulator = Emulator::start(config)?;
        let watched = Outcomes::watch(&emulator);
        let running = Running {
            load: self,
            emulator: &emulator,
            end: began + self.limit,
            begun: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            lost: Mutex::default(),
            abandoned: AtomicU64::new(0),
            faults: Mutex::default(),
        };
        let health = running.drive(&watched, began);
        let counts = [&running.succeeded, &running.failed, &running.disturbed]
            .map(|count| count.load(Ordering::Relaxed));
        let mut faults = std::mem::take(&mut *running.faults());
        let lost = std::mem::take(&mut *lock(&running.lost));
        let abandoned = running.abandoned.load(Ordering::Relaxed);
        let report = emulator.stop();
        let told = watched.end();
        let seconds = began.elapsed().as_secs_f64();
        let [succeeded, failed, disturbed] = counts;
        let invocations = succeeded + failed;
        check_outcomes(invocations, &lost, &told, &mut faults);
        self.check_kills(disturbed, abandoned, lost.len(), &mut faults);
        faults.extend(health.faults());
        faults.extend(receiver.faults());
        let exported = Exported::read(folder.path())?;
        if self.adds_up {
            check_exports(
                &exported,
                &receiver,
                &told,
                &report,
                invocations,
                &mut faults,
            );
        }
        let left = health::with_variable(&format!("{MARKER}={marker}"));
        faults.extend(left.iter().map(|process| format!("left: {process}")));
        let notes = vec![
            format!("{failed} errors as meant"),
            format!("{disturbed} disturbances: {} events lost", lost.len()),
            format!("{abandoned} invocations abandoned"),
            format!("{} processes, {} killed", told.processes.len(), told.killed),
            health.to_string(),
            points(&exported, &receiver, &told),
        ];
        faults.extend(told.faults);
        Ok(Verdict {
            name: self.name,
            invocations,
            planned: self.invocations,
            seconds,
            notes,
            faults,
        })
    }

    /// Workers were killed where they are meant to be, and each cost one invocation at most.
    fn check_kills(&self, kills: u64, abandoned: u64, lost: usize, faults: &mut Vec<String>) {
        if self.chaos != Chaos::Workers {
            return;
        }
        if kills < KILLS_MIN {
            faults.push(format!(
                "{kills} workers were killed, at least {KILLS_MIN} are meant to be"
            ));
        }
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        if kills < abandoned.saturating_add(lost) {
            faults.push(format!(
                "{kills} killed workers abandoned {abandoned} invocations and lost {lost} events"
            ));
        }
    }

    fn config(&self, file: &Path, receiver: &Receiver, marker: &str) -> Outcome<Config> {
        let mut config = self.config.clone();
        let file = file.to_str().ok_or("a folder with a strange name")?;
        let port = 20_000 + self.seed % 20_000;
        let endpoint = format!("http://{}", receiver.address);
        let variables = [
            (MARKER, marker),
            ("BANTAM_EXPORTERS", "ndjson,otlp"),
            ("BANTAM_NDJSON_FILE", file),
            ("BANTAM_INTERVAL_MS", "500"),
            ("BANTAM_TELEMETRY_PORT", &port.to_string()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.env.extend(variables);
        // How long the last records may be held back is not what this is about.
        config.telemetry.flush_at_shutdown = true;
        config.record_bytes_max = RECORD_BYTES_MAX;
        Ok(config)
    }
}

impl Running<'_> {
    fn drive(&self, watched: &Watched, began: Instant) -> Health {
        let mut health = Health::default();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..self.load.callers)
                .map(|number| scope.spawn(move || self.call(number)))
                .collect();
            let disturber = scope.spawn(|| self.disturb(watched));
            while callers.iter().any(|caller| !caller.is_finished()) {
                let planned = self.load.invocations.max(1) as f64;
                let done = self.begun.load(Ordering::Relaxed) as f64 / planned;
                let passed = began.elapsed().as_secs_f64() / self.load.limit.as_secs_f64();
                health.look(done.max(passed), &self.emulator.environments());
                thread::sleep(LOOK_PAUSE);
            }
            self.is_over.store(true, Ordering::Relaxed);
            disturber.join().ok();
        });
        health
    }

    fn faults(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.faults)
    }

    fn fault(&self, fault: String) {
        self.faults().push(fault);
    }

    /// Invokes until all is done, the time is over or too much went wrong.
    fn call(&self, number: u32) {
        let mut rng = Rng::with_seed(self.load.seed.wrapping_add(u64::from(number) << 32));
        while Instant::now() < self.end
            && self.faults().len() < FAULTS_MAX
            && (self.begun.fetch_add(1, Ordering::Relaxed) < self.load.invocations
                || self.is_spared())
        {
            let action = self.load.mix.action(&mut rng);
            let environment = self.invoke(action);
            if self.load.chaos == Chaos::Restores && rng.u32(..50) == 0 {
                self.restore(environment);
            }
        }
    }

    /// Whether fewer workers than enough were killed.
    fn is_spared(&self) -> bool {
        self.load.chaos == Chaos::Workers && self.disturbed.load(Ordering::Relaxed) < KILLS_MIN
    }

    /// Invokes once, and checks the outcome; the environment that served it.
    fn invoke(&self, action: Action) -> Option<u64> {
        let Action { invoke, expects } = action;
        let event = shown(&invoke.event);
        let outcome = match self.emulator.invoke_with(invoke) {
            Ok(outcome) => outcome,
            Err(error) => {
                // With its transcript an error may be long.
                let text: String = error.to_string().chars().take(2_000).collect();
                self.fault(format!("{event}: {text}"));
                return None;
            }
        };
        let error_type = outcome.function_error.as_ref().map(|error| {
            let raw = error.raw_type.as_deref();
            raw.unwrap_or(&error.error_type).to_owned()
        });
        let is_of_worker = self.load.chaos == Chaos::Workers;
        let is_right = match (&expects, &error_type) {
            // The first where the worker was killed with the event in its socket, the second where
            // it had been killed before. Which of them are right is known at the end.
            (_, Some(error))
                if is_of_worker && matches!(&**error, "Sandbox.Timedout" | "Runtime.Unknown") =>
            {
                lock(&self.lost).push(outcome.request_id.clone());
                true
            }
            // The process that takes the place of a killed worker reports what that had begun.
            (_, Some(error)) if is_of_worker && error == "Runtime.ExitError" => {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                true
            }
            (_, Some(error)) if self.load.tolerates.contains(&&**error) => true,
            (Expects::Error(types), Some(error)) => types.contains(&&**error),
            (Expects::Body(body), None) => *body == outcome.body,
            (Expects::Text(text), None) => String::from_utf8_lossy(&outcome.body).contains(text),
            (Expects::Error(_), None) | (Expects::Body(_) | Expects::Text(_), Some(_)) => false,
        };
        let counted = match error_type {
            Some(_) => &self.failed,
            None => &self.succeeded,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        if !is_right {
            self.fault(format!(
                "{} {event}: {error_type:?} {}, where this is right: {expects}",
                outcome.request_id,
                shown(&outcome.body)
            ));
        }
        Some(outcome.environment)
    }

    fn restore(&self, environment: Option<u64>) {
        match environment.map(|environment| self.emulator.restore(environment)) {
            Some(Ok(_)) => {
                self.disturbed.fetch_add(1, Ordering::Relaxed);
            }
            // Another caller has it.
            None | Some(Err(Error::Environment { .. })) => {}
            Some(Err(error)) => self.fault(format!("restore: {error}")),
        }
    }

    fn disturb(&self, watched: &Watched) {
        let mut rng = Rng::with_seed(!self.load.seed);
        let mut planted = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let did = match self.load.chaos {
                Chaos::Connections => {
                    let now = watched.outcomes.requests();
                    // One at a time: two losses of one report are its end.
                    let is_free = planted < now;
                    if is_free {
                        planted = now + rng.usize(20..100);
                        let fault = Fault::new(Step::Request(planted), lost(&mut rng));
                        self.emulator.add_faults(vec![fault]);
                    }
                    is_free
                }
                Chaos::Processes => self.disturb_processes(&mut rng),
                Chaos::Workers => self.kill_worker(&mut rng),
                Chaos::Restores => false,
            };
            self.disturbed.fetch_add(did.into(), Ordering::Relaxed);
            thread::sleep(match self.load.chaos {
                Chaos::Connections => CONNECTIONS_PAUSE,
                Chaos::Processes | Chaos::Restores => Duration::from_millis(rng.u64(20..200)),
                // There is no worker yet.
                Chaos::Workers if !did => CONNECTIONS_PAUSE,
                // Workers that are killed in a row are started again after a pause.
                Chaos::Workers => Duration::from_millis(rng.u64(200..1_000)),
            });
        }
    }

    /// Kills, freezes or replaces the processes of an environment. One that has just gone cannot
    /// be disturbed.
    fn disturb_processes(&self, rng: &mut Rng) -> bool {
        let environments = self.emulator.environments();
        let Some(environment) = rng.choice(environments) else {
            return false;
        };
        match rng.u32(..4) {
            0 => self.emulator.crash(environment.id).is_ok(),
            1 => self.emulator.retire(environment.id).is_ok(),
            _ => {
                let frozen = self.emulator.set_frozen(environment.id, true).is_ok();
                thread::sleep(Duration::from_millis(rng.u64(1..50)));
                frozen && self.emulator.set_frozen(environment.id, false).is_ok()
            }
        }
    }

    fn kill_worker(&self, rng: &mut Rng) -> bool {
        let environments = self.emulator.environments();
        let pids = environments
            .iter()
            .filter_map(|environment| environment.pid);
        let workers: Vec<u32> = pids.flat_map(health::children).collect();
        let worker = rng.choice(workers);
        let worker = worker.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        worker.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A script under the name of the extension, which starts it with a file of its own: environments
/// on Lambda share none, and lines of several processes would mix.
fn with_file_of_its_own(extension: &Path, folder: &Path) -> Outcome<PathBuf> {
    let name = extension.file_name().ok_or("an extension without a name")?;
    // The folder's name makes it an extension.
    let extensions = folder.join("extensions");
    fs::create_dir(&extensions)?;
    let link = extensions.join(name);
    symlink(extension, &link)?;
    let script = folder.join(name);
    let text = format!(
        "#!/bin/sh\nexport BANTAM_NDJSON_FILE=\"$BANTAM_NDJSON_FILE.$$\"\nexec '{}'\n",
        link.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Where the points went, if there are any.
fn points(exported: &Exported, receiver: &Receiver, told: &Told) -> String {
    let (points, taken, lost) = (exported.points, receiver.taken(), told.lost_points);
    if points == 0 {
        return String::new();
    }
    format!("{points} points, {taken} over OTLP and {lost} lost")
}

/// The beginning of an event or a response.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(SHOWN_MAX).collect()
}

/// A loss that a runtime and an extension mend by themselves.
fn lost(rng: &mut Rng) -> FaultKind {
    match rng.u32(..9) {
        0 => FaultKind::ResetBefore,
        1 => FaultKind::ResetAfter,
        2 => FaultKind::CutAt(rng.usize(..200)),
        3 => FaultKind::CloseAt(rng.usize(..200)),
        4 => FaultKind::SplitAt(rng.usize(..200)),
        5 => FaultKind::ByteByByte,
        6 => FaultKind::Delay(Duration::from_millis(rng.u64(..20))),
        7 => FaultKind::Unreachable(Duration::from_millis(rng.u64(1..30))),
        _ => FaultKind::Garbage(b"220 mail.example.com ESMTP\r\n\r\n".to_vec()),
    }
}

/// Every invocation ended for its caller and for the platform. A worker that is killed while it
/// waits for an event costs one invocation at most: the event that came to its connection, or would
/// have. It may have come already: the kernel copies it to a process that it wakes up to kill.
fn check_outcomes(invocations: u64, lost: &[String], told: &Told, faults: &mut Vec<String>) {
    if told.done != invocations {
        let done = told.done;
        faults.push(format!(
            "the callers have {invocations} outcomes, the platform {done}"
        ));
    }
    let kept = lost.iter().filter(|id| !told.unanswered.contains(*id));
    faults.extend(kept.map(|id| format!("{id} was lost, and its connection was not")));
    if told.killed_waiting < lost.len() {
        let (lost, waited) = (lost.len(), told.killed_waiting);
        faults.push(format!(
            "{lost} events were lost, {waited} workers waited for one"
        ));
    }
}

/// Every invocation is in the figures, and every point came to the OTLP receiver or is counted.
fn check_exports(
    exported: &Exported,
    receiver: &Receiver,
    told: &Told,
    report: &Report,
    invocations: u64,
    faults: &mut Vec<String>,
) {
    if report.deliveries.is_empty() {
        return;
    }
    let counted = exported.invocations();
    // An extension that was ended with its environment got no more.
    let kept = report.deliveries.iter();
    let kept: u64 = kept.map(|of| of.dropped_records + of.queued_records).sum();
    // One that was killed took its last figures along.
    let is_whole = told.killed == 0;
    let missing = invocations as f64 - counted;
    if missing < -0.5 || is_whole && kept as f64 + 0.5 < missing {
        faults.push(format!(
            "{invocations} invocations, {counted} exported, {kept} records not delivered"
        ));
    }
    let (points, taken, lost) = (exported.points, receiver.taken(), told.lost_points);
    // What was taken counts as lost, too, where the answer came too late at the end.
    if points < taken || is_whole && taken + lost < points {
        faults.push(format!(
            "{points} points exported, {taken} taken over OTLP, {lost} counted as lost"
        ));
    }
}

/// The variable that finds processes which are left.
const MARKER: &str = "BANTAM_SOAK";

/// The emulator's own records: what matters of them is seen as it happens.
const RECORD_BYTES_MAX: usize = 1_000_000;

/// The early part of a short phase is half a second, and has to have looks that find a server which
/// dies now and then.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const CONNECTIONS_PAUSE: Duration = Duration::from_millis(10);

/// A phase in which workers are killed goes on until so many were.
const KILLS_MIN: u64 = 2;

/// A phase ends when so much went wrong.
const FAULTS_MAX: usize = 100;
const FAULTS_SHOWN: usize = 20;
