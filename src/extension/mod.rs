//! The extension: sees every cold start of its environment, measures it and exports the figures.
//!
//! It may use `shared`, sockets, the clock and the process; it never imports `runtime`.

mod account;
mod api;
mod clock;
mod deliver;
mod events;
mod export;
mod io;
mod listener;
mod metric;
mod own_usage;
mod panic;
mod predecessor;
mod reporter;
mod settings;
mod startup;
mod telemetry;

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::time::Duration;

use async_executor::LocalExecutor;

use self::account::Accounting;
use self::reporter::State;
use self::settings::{InitType, Settings, Variables};
use self::startup::Ready;
use crate::shared::env;
use crate::shared::log_record::{Format, Level, Record};

/// Runs the extension until SHUTDOWN, and says the exit code. `argv0` is the name that the process was started under.
///
/// Only a missing or malformed `AWS_LAMBDA_RUNTIME_API` ends it earlier: then there is no platform.
pub(crate) fn run(argv0: &OsStr, lookup: fn(&str) -> Option<OsString>) -> u8 {
    let started_at = clock::now();
    let started = clock::monotonic();
    let text = |name: &str| lookup(name).and_then(|value| value.into_string().ok());
    // The other variables are read once the platform has been reached.
    let endpoint = match env::api(text(env::API), &crate::shared::os::resolve::address) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            log(&error.to_string());
            return 1;
        }
    };
    let init_type = InitType::parse(text("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref());
    let read_settings = || Settings::read(&Variables::of(std::env::vars_os()));
    let name = settings::name(argv0);
    let resumed = panic::resumed(&text, endpoint.address);
    let mut ready = Ready::new(&endpoint, init_type, started);
    match resumed {
        None => ready.start(&name, &read_settings, clock::monotonic),
        Some(resumed) => ready.resume(resumed, &read_settings),
    }
    let port = ready.listener.as_ref().map_or(0, |(_, port)| *port);
    panic::watch(&ready.registered.identifier, port, ready.panics);
    panic::waits_on(ready.stream.as_ref().map(AsFd::as_fd));
    panic::asked(ready.asked);
    for warning in &ready.settings.warnings {
        log(warning);
    }
    if ready.listener.is_none() {
        log("no telemetry is delivered here: only INVOKE events and the clock are measured");
    }
    let mut resource = std::mem::take(&mut ready.settings.resource);
    ready.registered.fill(&mut resource);
    let mut accounting = Accounting::new(init_type, started_at);
    if ready.panics == 0 {
        let since_exec =
            |at: clock::Instant| at.saturating_duration_since(started).as_secs_f64() * 1e3;
        accounting.handle_start(since_exec(ready.registered_at), since_exec(ready.ready_at));
        if let Some(predecessor) = predecessor::take(endpoint.address.port()) {
            accounting.handle_predecessor(predecessor);
        }
    } else {
        accounting.handle_panics(ready.panics);
    }
    if ready.listener.is_none() {
        accounting.handle_no_telemetry();
    }
    let exporters = std::mem::take(&mut ready.settings.exporters);
    let interval_ms = ready.settings.interval_ms;
    let state = State::new(accounting, resource, exporters, interval_ms);
    events::run(&mut ready, state, LocalExecutor::new().leak());
    0
}

/// Writes a line to standard error, which goes to the function's log, unless nobody reads it.
fn log(message: &str) {
    let mut line = Vec::with_capacity(message.len() + 64);
    let record = Record::new(clock::now(), Level::Warn, message);
    record.write(Format::Text, &mut line);
    let end = clock::monotonic() + LOG_TIMEOUT;
    deliver::lines::Sink::default().write(rustix::stdio::stderr(), &line, end);
}

/// How long a line for the log may wait for its reader.
const LOG_TIMEOUT: Duration = Duration::from_millis(50);
