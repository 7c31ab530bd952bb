//! The Telemetry API: subscriptions, and the events that are pushed to subscribers.
//!
//! docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html. One [`Telemetry`] belongs to one
//! execution environment. The lifecycle publishes events; nothing here looks at processes or
//! requests. Each subscriber has a bounded queue and a task that sends batches from it to
//! 127.0.0.1, where the names `sandbox.localdomain` and `sandbox` point to here.
//!
//! How long Lambda pauses between attempts, how long it goes on, and how much it keeps for a slow
//! listener is not published: it goes on for ever here, and the rest is in [`TelemetryOptions`].

mod delivery;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod queue;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use self::delivery::{Client, DeliveryError};
use self::event::{Category, Rendered};
pub(crate) use self::event::{
    DurationMetrics, Event, ExtensionInit, InitReport, InitRuntimeDone, InitStart, LogsDropped,
    Phase, Report, ReportMetrics, RestoreReport, RestoreRuntimeDone, RestoreStart, RuntimeDone,
    RuntimeDoneMetrics, Span, Start, Status, TelemetrySubscription, Tracing,
};
use self::queue::{Batch, Dropped, Limits, Queue};
use self::subscription::{Destination, Subscription};
use crate::config::LogFormat;
use crate::config::telemetry::TelemetryOptions;
use crate::http::error_json;
use crate::lock::lock;

/// The deliveries to one subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The extension that subscribed.
    pub extension: String,
    /// Batches its listener took.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// How the last of them failed.
    pub last_failure: Option<String>,
    /// Records dropped because there was no room.
    pub dropped_records: u64,
    /// Their length as JSON.
    pub dropped_bytes: u64,
    /// Records that still wait.
    pub queued_records: u64,
}

impl Deliveries {
    fn add(&mut self, batch: &Batch, body_bytes: usize) {
        self.batches += 1;
        self.records += count(batch.records.len());
        self.bytes += count(body_bytes);
    }

    fn fail(&mut self, error: &DeliveryError) {
        self.failures += 1;
        self.last_failure = Some(error.to_string());
    }
}

/// The Telemetry API of one environment. Dropping it ends its deliveries.
#[derive(Debug)]
pub(crate) struct Telemetry {
    shared: Arc<Shared>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    options: TelemetryOptions,
    log_format: LogFormat,
    state: Mutex<State>,
    /// Wakes the subscribers' tasks and the flushes: something changed.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// No subscription is taken any more.
    closed: bool,
    frozen: bool,
    /// The events since the start of the init phase.
    backlog: Backlog,
    /// The events that are held back, with their times.
    late: Vec<(Event, SystemTime)>,
    subscribers: Vec<Arc<Subscriber>>,
}

#[derive(Debug, Default)]
struct Backlog {
    events: Vec<Rendered>,
    bytes: usize,
    /// The events that did not fit, by category.
    dropped: [Dropped; 3],
}

#[derive(Debug)]
struct Subscriber {
    subscription: Subscription,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    counts: Deliveries,
    standing: Standing,
    task: Option<AbortHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Active,
    /// Its extension was ended by a reset. What waits is still sent, nothing is added.
    Retired,
    /// Its extension subscribed again after a reset.
    Ended,
}

/// The next step of a subscriber's task.
enum Turn {
    Wait,
    WaitUntil(Instant),
    Send(Batch),
    End,
}

impl Telemetry {
    pub(crate) fn new(options: TelemetryOptions, log_format: LogFormat) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                log_format,
                state: Mutex::default(),
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Answers `PUT /2022-07-01/telemetry` of a registered extension. Call it in the emulator's
    /// runtime: a task is started.
    ///
    /// A request is validated before it is looked at whether subscriptions are still taken, as in
    /// aws-lambda-runtime-interface-emulator. A second subscription of an extension changes
    /// nothing.
    pub(crate) fn subscribe(&self, extension: &str, body: &[u8]) -> Reply {
        let shared = &self.shared;
        if shared.options.stubbed {
            let message = "Telemetry API is not supported";
            return Reply::error(202, "Telemetry.NotSupported", message);
        }
        let accepted = &shared.options.schema_versions;
        let subscription = match Subscription::parse(body, accepted) {
            Ok(subscription) => subscription,
            Err(message) => return Reply::error(400, "ValidationError", &message),
        };
        let mut state = shared.lock();
        if state.closed {
            let message = "Telemetry API subscription is closed";
            return Reply::error(403, "Telemetry.SubscriptionClosed", message);
        }
        if !state.active().any(|other| other.is(extension)) {
            let types = subscription.types.clone();
            shared.add(&mut state, extension, subscription);
            let event = Event::TelemetrySubscription(TelemetrySubscription {
                name: extension.to_owned(),
                state: "Subscribed",
                types,
            });
            shared.publish(&mut state, &event, SystemTime::now());
        }
        Reply {
            status: 200,
            body: br#""OK""#.to_vec(),
        }
    }

    /// Ends the time in which subscriptions are taken: runtime and extensions are ready.
    pub(crate) fn close_subscription(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.backlog = Backlog::default();
    }

    /// Sends an event to everyone who subscribed to its category.
    pub(crate) fn publish(&self, event: Event) {
        self.publish_at(event, SystemTime::now());
    }

    /// As [`Telemetry::publish`], with the time the record is given.
    pub(crate) fn publish_at(&self, event: Event, time: SystemTime) {
        let mut state = self.shared.lock();
        if let Event::FunctionLog(line) = &event {
            self.publish_line(&mut state, line, time, Event::FunctionLog);
        } else if let Event::ExtensionLog(line) = &event {
            self.publish_line(&mut state, line, time, Event::ExtensionLog);
        } else {
            self.shared.publish(&mut state, &event, time);
        }
    }

    /// Publishes a log line, in pieces if it is too long for one record.
    fn publish_line(
        &self,
        state: &mut State,
        line: &str,
        time: SystemTime,
        event: impl Fn(String) -> Event,
    ) {
        let mut rest = line;
        loop {
            let mut end = rest.len().min(LINE_BYTES_MAX);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (piece, after) = rest.split_at(end);
            self.shared.publish(state, &event(piece.to_owned()), time);
            if after.is_empty() {
                break;
            }
            rest = after;
        }
    }

    /// The processes were stopped: nothing is sent until [`Telemetry::thaw`]. A request that is
    /// under way stays so.
    pub(crate) fn freeze(&self) {
        self.shared.lock().frozen = true;
    }

    /// The processes run again. Batches that became due meanwhile go out at once: time does not
    /// stop for timers while an environment is frozen.
    pub(crate) fn thaw(&self) {
        self.shared.lock().frozen = false;
        self.shared.notify();
    }

    /// The processes were ended and an init follows. Subscriptions are taken again and events are
    /// kept for them from here on.
    ///
    /// Records that wait for the old subscribers are still sent to where they listened. When the
    /// extension subscribes again on the same port they come before its own: so a listener on a
    /// static port gets the report of the invocation that caused the reset, at the old path. With
    /// another port they are lost.
    pub(crate) fn reset(&self) {
        let mut state = self.shared.lock();
        state.closed = false;
        state.frozen = false;
        state.backlog = Backlog::default();
        state.late.clear();
        for subscriber in state.active() {
            subscriber.lock().standing = Standing::Retired;
        }
        self.shared.notify();
    }

    /// Sends what waits without regard to `timeoutMs` and waits until it was taken, or the time
    /// is over. True if nothing is left. With no time at all, only the sending is started.
    pub(crate) async fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.shared.hurry() {
                return true;
            }
            if timeout_at(until.into(), changed.changed()).await.is_err() {
                return self.shared.hurry();
            }
        }
    }

    /// The deliveries so far, one for each subscription, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<Deliveries> {
        let state = self.shared.lock();
        state.subscribers.iter().map(|s| s.deliveries()).collect()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        for subscriber in &self.shared.lock().subscribers {
            subscriber.lock().end();
        }
    }
}

impl Reply {
    fn error(status: u16, error_type: &str, message: &str) -> Self {
        Self {
            status,
            body: error_json(error_type, message),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn notify(&self) {
        self.changed.send_modify(|()| {});
    }

    /// Adds a subscriber, gives it the backlog, and starts its task.
    fn add(self: &Arc<Self>, state: &mut State, extension: &str, subscription: Subscription) {
        let limits = Limits {
            queue_bytes_max: self.options.queue_bytes_max,
            retry_pause_min: self.options.retry_pause_min,
            retry_pause_max: self.options.retry_pause_max,
        };
        let now = Instant::now();
        let mut queue = Queue::new(subscription.buffering, limits);
        let left_over = state.inherit(extension, &subscription);
        for event in &state.backlog.events {
            if subscription.wants(event.category) {
                queue.push(subscription.json(event), now);
            }
        }
        for category in subscription.types.iter().copied() {
            queue.add_dropped(state.backlog.dropped(category));
        }
        let subscriber = Arc::new(Subscriber {
            inner: Mutex::new(Inner {
                queue,
                counts: Deliveries {
                    extension: extension.to_owned(),
                    ..Deliveries::default()
                },
                standing: Standing::Active,
                task: None,
            }),
            subscription,
        });
        let task = deliver(Arc::clone(self), Arc::clone(&subscriber), left_over);
        let task = tokio::spawn(task);
        subscriber.lock().task = Some(task.abort_handle());
        state.subscribers.push(subscriber);
    }

    /// Gives an event to the backlog and to the subscribers, now, later or never.
    fn publish(&self, state: &mut State, event: &Event, time: SystemTime) {
        let is_in = |kinds: &[String]| kinds.iter().any(|kind| kind == event.kind());
        if is_in(&self.options.lost) {
            return;
        }
        if is_in(&self.options.late) {
            state.late.push((event.clone(), time));
            return;
        }
        self.publish_now(state, event, time);
        if matches!(event, Event::Report(_)) {
            for (event, time) in std::mem::take(&mut state.late) {
                self.publish_now(state, &event, time);
            }
        }
    }

    fn publish_now(&self, state: &mut State, event: &Event, time: SystemTime) {
        let category = event.category();
        // A flood of lines without a subscriber costs no more than this check.
        if state.closed && !state.active().any(|s| s.subscription.wants(category)) {
            return;
        }
        let rendered = Rendered::new(event, time, self.log_format);
        let now = Instant::now();
        for subscriber in state.active() {
            if subscriber.subscription.wants(category) {
                let json = subscriber.subscription.json(&rendered);
                let queue = &mut subscriber.lock().queue;
                // The record that reports a full queue does not wait for room.
                if matches!(event, Event::LogsDropped(_)) {
                    queue.push_always(json, now);
                } else {
                    queue.push(json, now);
                }
            }
        }
        if !state.closed {
            state.backlog.push(rendered, self.options.queue_bytes_max);
        }
        self.notify();
    }

    fn turn(&self, subscriber: &Subscriber, now: Instant) -> Turn {
        let frozen = self.lock().frozen;
        let inner = subscriber.lock();
        if inner.standing == Standing::Ended {
            return Turn::End;
        }
        match inner.queue.due() {
            Some(_) if frozen => Turn::Wait,
            None => Turn::Wait,
            Some(at) if at > now => Turn::WaitUntil(at),
            Some(_) => Turn::Send(inner.queue.batch()),
        }
    }

    /// Counts a delivered batch, and reports the records dropped meanwhile.
    fn delivered(&self, subscriber: &Subscriber, batch: &Batch, body_bytes: usize) {
        let dropped = {
            let mut inner = subscriber.lock();
            inner.queue.delivered(batch);
            inner.counts.add(batch, body_bytes);
            inner.queue.take_dropped()
        };
        // To all subscribers of platform events, as aws-lambda-runtime-interface-emulator does.
        if let Some(dropped) = dropped {
            let event = Event::LogsDropped(LogsDropped {
                dropped_bytes: dropped.bytes,
                dropped_records: dropped.records,
                reason: TOO_SLOW.to_owned(),
            });
            self.publish(&mut self.lock(), &event, SystemTime::now());
        }
        self.notify();
    }

    /// Hurries every queue that is not hurried already; true if all are empty.
    fn hurry(&self) -> bool {
        let mut done = true;
        let mut news = false;
        for subscriber in self.lock().active() {
            let queue = &mut subscriber.lock().queue;
            if !queue.is_empty() {
                done = false;
                if !queue.is_hurried() {
                    queue.hurry();
                    news = true;
                }
            }
        }
        if news {
            self.notify();
        }
        done
    }
}

/// The records that a reset left over.
#[derive(Debug)]
struct LeftOver {
    destination: Destination,
    batch: Batch,
}

impl State {
    fn active(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers
            .iter()
            .map(|subscriber| &**subscriber)
            .filter(|subscriber| subscriber.lock().standing == Standing::Active)
    }

    /// Ends the subscriber that the extension had before a reset, and gives its unsent records
    /// with the place where it listened.
    fn inherit(&self, extension: &str, subscription: &Subscription) -> Vec<LeftOver> {
        let mut inherited = Vec::new();
        for old in &self.subscribers {
            let mut inner = old.lock();
            if inner.standing != Standing::Retired || inner.counts.extension != extension {
                continue;
            }
            inner.end();
            let destination = &old.subscription.destination;
            while let Some(batch) = inner.queue.take_batch() {
                if destination.port() == subscription.destination.port() {
                    inherited.push(LeftOver {
                        destination: destination.clone(),
                        batch,
                    });
                } else {
                    inner.drop_batch(&batch);
                }
            }
        }
        inherited
    }
}

impl Backlog {
    fn push(&mut self, event: Rendered, bytes_max: usize) {
        let bytes = event.json(false).len();
        if self.bytes + bytes > bytes_max {
            if let Some(dropped) = self.dropped.get_mut(event.category as usize) {
                dropped.add(Dropped::one(bytes));
            }
            return;
        }
        self.bytes += bytes;
        self.events.push(event);
    }

    fn dropped(&self, category: Category) -> Dropped {
        let dropped = self.dropped.get(category as usize);
        dropped.copied().unwrap_or_default()
    }
}

impl Subscription {
    fn wants(&self, category: Category) -> bool {
        self.types.contains(&category)
    }

    fn json(&self, event: &Rendered) -> Bytes {
        event.json(self.schema_version.has_objects()).clone()
    }
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn is(&self, extension: &str) -> bool {
        self.lock().counts.extension == extension
    }

    fn deliveries(&self) -> Deliveries {
        let inner = self.lock();
        let dropped = inner.queue.dropped_ever();
        Deliveries {
            dropped_records: dropped.records,
            dropped_bytes: dropped.bytes,
            queued_records: count(inner.queue.len()),
            ..inner.counts.clone()
        }
    }
}

impl Inner {
    fn end(&mut self) {
        self.standing = Standing::Ended;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn failed(&mut self, error: &DeliveryError, now: Instant) {
        self.queue.failed(now);
        self.counts.fail(error);
    }

    /// Counts a batch that is not sent any more.
    fn drop_batch(&mut self, batch: &Batch) {
        for record in &batch.records {
            self.queue.add_dropped(Dropped::one(record.len()));
        }
    }
}

/// Sends what is left over, each once, and then the subscriber's batches, one after another.
async fn deliver(shared: Arc<Shared>, subscriber: Arc<Subscriber>, left_over: Vec<LeftOver>) {
    let chunk_bytes = shared.options.chunk_bytes;
    for LeftOver { destination, batch } in left_over {
        match Client::new(destination, chunk_bytes).send(&batch).await {
            Ok(body_bytes) => subscriber.lock().counts.add(&batch, body_bytes),
            Err(error) => {
                let mut inner = subscriber.lock();
                inner.counts.fail(&error);
                inner.drop_batch(&batch);
            }
        }
    }
    let destination = subscriber.subscription.destination.clone();
    let mut client = Client::new(destination, chunk_bytes);
    let mut changed = shared.changed.subscribe();
    loop {
        changed.mark_unchanged();
        match shared.turn(&subscriber, Instant::now()) {
            // The sender is in `shared`, so that it cannot be gone.
            Turn::Wait => drop(changed.changed().await),
            Turn::WaitUntil(at) => drop(timeout_at(at.into(), changed.changed()).await),
            Turn::Send(batch) => match client.send(&batch).await {
                Ok(body_bytes) => shared.delivered(&subscriber, &batch, body_bytes),
                Err(error) => subscriber.lock().failed(&error, Instant::now()),
            },
            Turn::End => break,
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// `reason` of `platform.logsDropped`, as aws-lambda-runtime-interface-emulator words it.
const TOO_SLOW: &str = "Some logs were dropped because the downstream consumer is slower than the \
                        logs production rate";

/// The longest piece of a log line in one record: the least `maxBytes`, so that a batch stays
/// below the "2 * maxBytes + metadata" that listeners are told to expect.
const LINE_BYTES_MAX: usize = 262_144;
