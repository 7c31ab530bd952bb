//! What the tasks of the extension share, on their one thread: the accounting and the exporters.

use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::future;
use std::io::Write as _;
use std::net::UdpSocket;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;

use super::account::Accounting;
use super::event::{self, Malformed, NotABatch, Record};
use super::export::queue::{Encoded, Queue};
use super::export::retry::{self, Backoff, Verdict};
use super::export::settings::{Otlp, Settings};
use super::export::{dogstatsd, emf, ndjson, otlp};
use super::metric::{Batch, Resource};
use super::sender;
use super::{clock, cost};
use crate::shared::deadline::{Deadline, EpochMs};

/// Shared by all tasks.
pub(super) struct State {
    /// Connections of the listener that are open.
    pub(super) connections: Cell<usize>,
    inner: RefCell<Inner>,
    /// Wakes who waits for the last report.
    waiting: RefCell<Option<Waker>>,
}

/// Borrowed for as long as one call takes, never across an await.
struct Inner {
    accounting: Accounting,
    resource: Resource,
    settings: Settings,
    interval_ms: u64,
    /// When warm figures were exported last, in milliseconds since the epoch.
    exported_at_ms: u64,
    queue: Queue,
    backoff: Backoff,
    /// A task is sending.
    is_sending: bool,
}

impl State {
    pub(super) fn new(
        accounting: Accounting,
        resource: Resource,
        settings: Settings,
        interval_ms: u64,
    ) -> Self {
        let now = clock::now();
        Self {
            connections: Cell::new(0),
            inner: RefCell::new(Inner {
                accounting,
                resource,
                settings,
                interval_ms,
                exported_at_ms: now.0,
                queue: Queue::default(),
                backoff: Backoff::new(now.0),
                is_sending: false,
            }),
            waiting: RefCell::new(None),
        }
    }

    /// An INVOKE event came.
    pub(super) fn invoke(&self, request_id: &str, deadline: Deadline, arn: Option<String>) {
        let mut inner = self.inner.borrow_mut();
        // Local tools say 0 for a deadline that they do not know.
        let deadline = Some(deadline).filter(|deadline| deadline.0 != EpochMs(0));
        inner.accounting.invoke(request_id, deadline, clock::now());
        if inner.resource.function_arn.is_none() {
            inner.resource.function_arn = arn;
        }
    }

    /// A batch of telemetry came, as a JSON array.
    pub(super) fn batch(&self, body: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        match event::records(body, &mut |record| inner.take(record)) {
            Ok(counts) => inner.accounting.batch(&counts),
            Err(NotABatch) => inner.accounting.dropped(1, body.len() as u64),
        }
        drop(inner);
        self.wake();
    }

    /// Lines of telemetry came.
    pub(super) fn lines(&self, lines: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let counts = event::records_ndjson(lines, &mut |record| inner.take(record));
        inner.accounting.batch(&counts);
        drop(inner);
        self.wake();
    }

    /// A delivery was lost: refused, malformed, or cut off. What was in it is not known.
    pub(super) fn lost_delivery(&self, bytes: usize) {
        self.inner.borrow_mut().accounting.dropped(1, bytes as u64);
    }

    /// Exports what is known and due: a cold start at once, warm figures once in an interval.
    pub(super) fn export_what_is_due(self: &Rc<Self>, executor: &Rc<LocalExecutor<'static>>) {
        let mut inner = self.inner.borrow_mut();
        let now = clock::now();
        inner.export_cold_start();
        let since = now.0.saturating_sub(inner.exported_at_ms);
        if inner.interval_ms <= since || inner.accounting.interval_is_full() {
            inner.export_interval();
        }
        let send = !inner.is_sending && !inner.queue.is_empty();
        inner.is_sending |= send;
        drop(inner);
        if send {
            let state = Rc::clone(self);
            let send = async move {
                state.send_all(None).await;
                state.inner.borrow_mut().is_sending = false;
            };
            executor.spawn(send).detach();
        }
    }

    /// Exports everything, within a time.
    pub(super) async fn export_all(&self, within: Duration) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.export_cold_start();
            inner.export_interval();
        }
        self.send_all(Some(within)).await;
    }

    /// The end has come.
    pub(super) fn shutdown(&self, reason: &str) {
        self.inner
            .borrow_mut()
            .accounting
            .shutdown(reason, clock::now());
    }

    /// Waits until every invocation has its report.
    pub(super) async fn last_report(&self) {
        future::poll_fn(|context| {
            if !self.inner.borrow().accounting.awaits_report() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Sends what waits, oldest first, until nothing does or the time is over. Without a time, one
    /// failure ends it: the next invocation tries again.
    async fn send_all(&self, within: Option<Duration>) {
        let end = within.map(|within| clock::monotonic() + within);
        loop {
            let Some((otlp, batch)) = self.inner.borrow_mut().next_to_send() else {
                return;
            };
            let left = end.map(|end| end.saturating_duration_since(clock::monotonic()));
            let timeout = Duration::from_millis(otlp.timeout_ms);
            let timeout = left.map_or(timeout, |left| timeout.min(left));
            let answer = sender::send(&otlp, &batch.body, timeout).await;
            let retry_after = answer.head().field("Retry-After");
            let verdict = retry::verdict(answer.status(), retry_after, clock::now());
            let pause = self
                .inner
                .borrow_mut()
                .sent(&otlp, batch, verdict, answer.body());
            let Some(pause) = pause else { continue };
            let left = end.map(|end| end.saturating_duration_since(clock::monotonic()));
            match left {
                Some(left) if pause < left => {
                    Timer::after(pause).await;
                }
                Some(_) | None => return,
            }
        }
    }
}

impl Inner {
    /// Malformed records are in the counts of their batch.
    fn take(&mut self, record: Result<Record<'_>, Malformed>) {
        if let Ok(record) = record {
            self.accounting.record(&record, clock::now());
        }
    }

    fn export_cold_start(&mut self) {
        self.accounting.own_cost(cost::so_far());
        if let Some(batch) = self.accounting.take_cold_start(clock::now()) {
            let instance_id = self.accounting.instance_id().map(str::to_owned);
            if let Some(arn) = self.accounting.function_arn() {
                self.resource.function_arn = Some(arn.to_owned());
            }
            let memory_mb = self
                .accounting
                .memory_bytes()
                .map(|bytes| bytes / (1024 * 1024));
            let memory_mb = memory_mb.and_then(|mb| u32::try_from(mb).ok());
            self.resource.memory_mb = self.resource.memory_mb.or(memory_mb);
            self.resource.instance_id = instance_id.or_else(|| self.resource.instance_id.take());
            self.export(&batch);
        }
    }

    fn export_interval(&mut self) {
        let now = clock::now();
        self.exported_at_ms = now.0;
        let dropped = self.queue.take_dropped();
        if dropped.points != 0 {
            self.accounting.dropped(dropped.points, dropped.bytes);
        }
        if let Some(batch) = self.accounting.take_interval(now) {
            self.export(&batch);
        }
    }

    /// Hands a batch to every exporter. None of them can hold up the others, or an invocation.
    fn export(&mut self, batch: &Batch) {
        let Self {
            resource,
            settings,
            queue,
            ..
        } = self;
        if let Some(emf) = &settings.emf {
            emf::lines(resource, batch, emf, clock::now(), &mut |line| {
                // One write a line, and nobody to tell when it fails.
                std::io::stdout().write_all(line).ok();
            });
        }
        if let Some(file) = &settings.ndjson {
            let mut line = Vec::new();
            ndjson::line(resource, batch, &mut line);
            let opened = OpenOptions::new().create(true).append(true).open(file);
            opened.and_then(|mut file| file.write_all(&line)).ok();
        }
        if let Some(address) = settings.dogstatsd {
            let any = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let any: Option<std::net::SocketAddr> = any.parse().ok();
            if let Some(Ok(socket)) = any.map(UdpSocket::bind) {
                socket.set_nonblocking(true).ok();
                dogstatsd::datagrams(resource, batch, &mut |datagram| {
                    socket.send_to(datagram, address).ok();
                });
            }
        }
        if let Some(settings) = &settings.otlp
            && let Some(body) =
                otlp::encode(settings.encoding, resource, &settings.attributes, batch)
        {
            queue.push(Encoded {
                body,
                points: batch.points.len() as u64,
            });
        }
    }

    fn next_to_send(&mut self) -> Option<(Otlp, Encoded)> {
        let otlp = self.settings.otlp.clone()?;
        Some((otlp, self.queue.pop()?))
    }

    /// Does what the verdict says; the pause before the batch is to be tried again.
    fn sent(
        &mut self,
        otlp: &Otlp,
        batch: Encoded,
        verdict: Verdict,
        body: &[u8],
    ) -> Option<Duration> {
        match verdict {
            Verdict::Delivered => {
                self.backoff.succeeded();
                let rejected = otlp::rejected(otlp.encoding, body).min(batch.points);
                if rejected != 0 {
                    self.accounting.dropped(rejected, 0);
                }
                None
            }
            Verdict::Retry { after_ms } => {
                self.queue.put_back(batch);
                Some(Duration::from_millis(self.backoff.failed(after_ms)))
            }
            Verdict::Drop => {
                self.queue.drop(&batch);
                None
            }
            Verdict::Disable => {
                self.queue.drop(&batch);
                self.queue.clear();
                self.settings.otlp = None;
                super::log("the OTLP receiver refuses the credentials: nothing more is sent");
                None
            }
        }
    }
}
