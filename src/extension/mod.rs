//! The extension: sees every cold start of its environment, measures it and exports the figures.
//!
//! It may use `shared`, sockets, the clock and the process; it never imports `runtime`.
//!
//! Bytes of the platform come in through [`startup`] (blocking, until the extension is ready), then
//! through the tasks [`events`] and [`listener`]. Both hand what happened to [`figures`], which
//! takes figures from [`account`] and gives them to [`deliver`].

mod account;
mod api;
mod clock;
#[cfg(test)]
mod cost;
mod deliver;
mod events;
mod export;
mod figures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod io;
mod listener;
mod log;
mod manager;
mod metric;
mod own_usage;
mod panic;
mod predecessor;
mod settings;
mod startup;
mod system_usage;
mod tcp;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(feature = "traces", test))]
mod trace;
#[cfg(test)]
mod world;
mod zone;

use std::ffi::{OsStr, OsString};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use rustix::process::getppid;

use self::account::Accounting;
use self::clock::Clock;
use self::deliver::Deliver;
use self::events::Events;
use self::figures::Figures;
use self::listener::DeliveryPath;
use self::manager::Manager;
use self::panic::Handover;
use self::predecessor::Notes;
use self::settings::{InitType, Settings, Variables};
use self::startup::Ready;
use crate::shared::env;
use crate::shared::log_record::Format;
use crate::shared::os::{self, resolve};
use crate::shared::time::EpochMs;

/// Runs the extension until SHUTDOWN, and returns the exit code. `argv0` is the name that the
/// process was started under.
///
/// It ends earlier only where nobody is there to take down: without a valid
/// `AWS_LAMBDA_RUNTIME_API` there is no platform, and [`manager`] knows when a local tool is gone.
///
/// The platform waits for the registration and then for the first `event/next`, so everything that
/// can come later does.
pub(crate) fn run(argv0: &OsStr, lookup: fn(&str) -> Option<OsString>) -> u8 {
    let clock = Clock::default();
    let began = (clock.now(), clock.monotonic());
    let text = |name: &str| lookup(name).and_then(|value| value.into_string().ok());
    let format = text("AWS_LAMBDA_LOG_FORMAT");
    log::set_format(Format::parse(format.as_deref()));
    let api = match env::api(text(env::API), &resolve::address) {
        Ok(api) => api,
        Err(error) => {
            log::warn(&error.to_string());
            return 1;
        }
    };
    let init_type = InitType::parse(text(env::INIT_TYPE).as_deref());
    let read_settings = || Settings::read(&Variables::of(os::variables()));
    let ready = match Handover::read(&text) {
        Some(handover) => Some(startup::resume(&api, handover, read_settings())),
        None => {
            let with_invoke = init_type != InitType::ManagedInstances;
            let name = settings::name(argv0);
            startup::start(&api, &name, with_invoke, began.0, read_settings)
        }
    };
    let Some(mut ready) = ready else { return 1 };
    panic::watch(ready.handover());

    let settings = std::mem::take(&mut ready.settings);
    for warning in &settings.warnings {
        log::warn(warning);
    }
    let notes = Notes {
        parent: getppid(),
        api_port: api.address.port(),
        token: ready.token(),
    };
    // After a panic it may have been taken before.
    let note = notes.take();
    let mut accounting = accounting(&ready, init_type, began);
    if let Some(note) = &note {
        accounting.handle_predecessor(note.predecessor);
    }
    accounting.resource = settings.resource;
    ready.registered.fill(&mut accounting.resource);
    let interval = Duration::from_millis(settings.interval_ms);
    let deliver = Deliver::new(settings.exporters, clock);
    let with_system_usage = settings.with_system_usage;
    let figures = Figures::new(accounting, interval, deliver, clock, with_system_usage);
    let figures = Rc::new(figures);

    let executor = LocalExecutor::new().leak();
    figures.spawn(executor);
    let listening = ready.listener.take().map(|(listener, destination)| {
        let figures = Rc::clone(&figures);
        let old_token = note.and_then(|note| note.token);
        let path = DeliveryPath::new(destination.token, old_token);
        let listening = listener::listen(figures, executor, listener, path);
        io::spawn(executor, listening)
    });
    if let Some(source) = zone::Source::read(&text) {
        io::spawn(executor, source.watch(Rc::clone(&figures))).detach();
    }
    if !ready.with_invoke {
        io::spawn(executor, export_by_the_clock(Rc::clone(&figures), interval)).detach();
    }
    let manager = Manager::new(notes.parent);
    let events = Events::new(api.address, ready.next, ready.stream, manager);
    let buffering = api::buffering(ready.with_invoke);
    io::run(
        executor,
        events::run(events, &figures, listening, notes, buffering),
    );
    0
}

/// The accounting of an environment, with what the start of this process says.
fn accounting(
    ready: &Ready,
    init_type: InitType,
    (began_at, began): (EpochMs, Instant),
) -> Accounting {
    let mut accounting = Accounting::new(init_type, began_at);
    if ready.panics == 0 {
        let since_began = |at: Instant| at.saturating_duration_since(began).as_secs_f64() * 1e3;
        accounting.handle_start(since_began(ready.registered_at), since_began(ready.at));
    } else {
        accounting.handle_panics(ready.panics, ready.life);
        accounting.handle_own_usage(own_usage::so_far());
    }
    if ready.listener.is_none() {
        log::warn("no telemetry is delivered here: only INVOKE events and the clock are measured");
        accounting.handle_no_telemetry();
    }
    accounting
}

/// On Managed Instances there are no INVOKE events to export on.
#[expect(clippy::infinite_loop, reason = "it ends with the process")]
async fn export_by_the_clock(figures: Rc<Figures>, interval: Duration) {
    loop {
        figures.clock().sleep(interval.max(TIMER_MIN)).await;
        figures.export_now();
    }
}

/// An interval of 0 exports with each event, of which there are none here.
const TIMER_MIN: Duration = Duration::from_secs(1);
