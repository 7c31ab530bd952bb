//! Delivers encoded batches to an OTLP receiver, each over a connection of its own.
//!
//! The environment may have been frozen since the last one, and a connection that was kept may be
//! gone without anybody having been told.

use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncWriteExt as _, future};

use crate::extension::clock::{self, Instant};
use crate::extension::export::otlp::queue::{Dropped, Encoded, Queue};
use crate::extension::export::otlp::response::rejected_points;
use crate::extension::export::otlp::retry::{self, Backoff, Verdict};
use crate::extension::export::otlp::{self, CONTENT_TYPE};
use crate::extension::io::{self as driver, Notify, ReadError};
use crate::extension::log;
use crate::extension::metric::{Batch, Resource};
use crate::extension::settings::Otlp;
use crate::shared::http::{Expect, HeadWriter, Limits, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;

/// What is to be sent, and what sends it. Without a receiver, nothing.
pub(in crate::extension) struct Delivery {
    otlp: Cell<Option<&'static Otlp>>,
    /// Borrowed for as long as one call takes, never across an await.
    pub(in crate::extension) outbox: RefCell<Outbox>,
    /// Says that the outbox is another than before.
    changed: Notify,
}

pub(in crate::extension) struct Outbox {
    pub(in crate::extension) queue: Queue,
    /// The batch that is being sent. What sends it may be dropped at any time.
    pub(in crate::extension) in_flight: Option<Rc<Encoded>>,
    pub(in crate::extension) backoff: Backoff,
    /// Nothing is sent before, in milliseconds since the epoch: a pause goes on through a freeze.
    not_before_ms: u64,
    /// Whether it was the receiver that said so.
    is_told: bool,
    /// Whether the sending task sends.
    is_sending: bool,
    /// Changes when the sending task has to let go of what it sends.
    generation: u32,
    /// Whether SHUTDOWN came. What is left is sent by [`Delivery::finish`].
    is_ending: bool,
}

impl Delivery {
    pub(in crate::extension) fn new(otlp: Option<&'static Otlp>) -> Self {
        Self {
            otlp: Cell::new(otlp),
            outbox: RefCell::new(Outbox::new(0)),
            changed: Notify::default(),
        }
    }

    /// Adds a batch to what is to be sent.
    pub(in crate::extension) fn push(&self, resource: &Resource, batch: &Batch) {
        if let Some(otlp) = self.otlp.get()
            && let Some(body) = otlp::encode(resource, &otlp.attributes, batch)
        {
            self.outbox.borrow_mut().queue.push(Encoded {
                body,
                points: batch.points.len() as u64,
            });
        }
    }

    /// Forgets what was to be sent when a snapshot was made: every environment made of it has that,
    /// and the seed, and a connection that leads nowhere now.
    pub(in crate::extension) fn restored(&self) {
        let generation = self.outbox.borrow().generation;
        self.outbox.replace(Outbox::new(generation.wrapping_add(1)));
        self.changed.notify();
    }

    /// What was lost since this was last asked.
    pub(in crate::extension) fn take_dropped(&self) -> Dropped {
        self.outbox.borrow_mut().queue.take_dropped()
    }

    /// Lets the sending task look for what is due.
    pub(in crate::extension) fn start(&self) {
        self.changed.notify();
    }

    /// Sends what waits whenever that is due, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(in crate::extension) async fn send(&self) {
        loop {
            self.changed.until(|| self.outbox.borrow().is_due()).await;
            let generation = self.begin();
            // First, so that what has to stop is not polled again.
            let stopped = self
                .changed
                .until(|| self.outbox.borrow().generation != generation);
            future::or(stopped, self.send_all(None)).await;
            self.outbox.borrow_mut().is_sending = false;
            self.changed.notify();
        }
    }

    fn begin(&self) -> u32 {
        let outbox = &mut *self.outbox.borrow_mut();
        outbox.is_sending = true;
        outbox.generation
    }

    /// Waits until the sending task has nothing to do.
    pub(in crate::extension) async fn idle(&self) {
        let is_idle = || {
            let outbox = self.outbox.borrow();
            !outbox.is_sending && !outbox.is_due()
        };
        self.changed.until(is_idle).await;
    }

    /// Sends everything, until `end`. What is not sent then is lost.
    pub(in crate::extension) async fn finish(&self, end: Instant) {
        let left = end.saturating_duration_since(clock::monotonic());
        self.outbox.borrow_mut().is_ending = true;
        // Its connection may be from before a freeze, and dead.
        driver::within(left / 4, self.idle()).await;
        let left = end.saturating_duration_since(clock::monotonic());
        self.outbox.borrow_mut().take_over(left);
        self.changed.notify();
        self.send_all(Some(end)).await;
        self.outbox.borrow_mut().queue.clear();
    }

    /// Sends what waits, oldest first, until nothing does or the time is over. Without a time, one
    /// failure ends it: the next invocation after the pause tries again.
    async fn send_all(&self, end: Option<Instant>) {
        loop {
            let left = end.map(|end| end.saturating_duration_since(clock::monotonic()));
            let pause = self.outbox.borrow().pause();
            if !pause.is_zero() {
                if left.is_none_or(|left| left <= pause) {
                    return;
                }
                Timer::after(pause).await;
                continue;
            }
            let Some((otlp, batch)) = self.next() else {
                return;
            };
            let timeout = Duration::from_millis(otlp.timeout_ms);
            let timeout = left.map_or(timeout, |left| timeout.min(left));
            let answer = send(otlp, &batch.body, timeout).await;
            let retry_after = answer.head().field("Retry-After");
            let verdict = retry::verdict(answer.status(), retry_after, clock::now());
            self.sent(verdict, answer.body());
        }
    }

    fn next(&self) -> Option<(&'static Otlp, Rc<Encoded>)> {
        let otlp = self.otlp.get()?;
        let outbox = &mut *self.outbox.borrow_mut();
        let batch = outbox.queue.pop()?;
        outbox.in_flight = Some(Rc::clone(&batch));
        Some((otlp, batch))
    }

    /// Does what the verdict says about the batch that was being sent.
    fn sent(&self, verdict: Verdict, body: &[u8]) {
        let outbox = &mut *self.outbox.borrow_mut();
        let Some(batch) = outbox.in_flight.take() else {
            return;
        };
        match verdict {
            Verdict::Delivered => {
                outbox.backoff.succeeded();
                let rejected = rejected_points(body).min(batch.points);
                outbox.queue.rejected(rejected);
            }
            Verdict::Retry { after_ms } => {
                outbox.queue.put_back(batch);
                let pause_ms = outbox.backoff.failed(after_ms);
                outbox.not_before_ms = clock::now().0.saturating_add(pause_ms);
                outbox.is_told = after_ms.is_some();
            }
            Verdict::Drop => outbox.queue.drop(&batch),
            Verdict::Disable => {
                outbox.queue.drop(&batch);
                outbox.queue.clear();
                self.otlp.set(None);
                log("the OTLP receiver refuses the credentials: nothing more is sent");
            }
        }
    }
}

impl Outbox {
    fn new(generation: u32) -> Self {
        Self {
            queue: Queue::default(),
            in_flight: None,
            backoff: Backoff::new(clock::seed()),
            not_before_ms: 0,
            is_told: false,
            is_sending: false,
            generation,
            is_ending: false,
        }
    }

    pub(in crate::extension) fn pause(&self) -> Duration {
        Duration::from_millis(self.not_before_ms.saturating_sub(clock::now().0))
    }

    fn is_due(&self) -> bool {
        !self.is_ending && !self.queue.is_empty() && self.pause().is_zero()
    }

    /// Takes what is being sent from the sending task, and puts it in front of the queue. A pause
    /// that would take all the time `left` is over, unless the receiver asked for it.
    fn take_over(&mut self, left: Duration) {
        self.generation = self.generation.wrapping_add(1);
        if let Some(batch) = self.in_flight.take() {
            self.queue.put_back(batch);
        }
        if !self.is_told && left <= self.pause() {
            self.not_before_ms = 0;
        }
    }
}

/// The answer of a receiver; the reader is empty when there was none in time.
///
/// The status alone is an answer: what was taken must not be sent again because of what follows.
async fn send(otlp: &Otlp, body: &[u8], within: Duration) -> Reader {
    let limits = Limits::of_body(ANSWER_BYTES_MAX);
    let mut answer = Reader::new(Expect::Response, limits);
    let exchanged = driver::within(within, exchange(otlp, body, &mut answer)).await;
    let is_whole = exchanged.is_some_and(|exchanged| exchanged.is_ok());
    if !is_whole && answer.status().is_none() {
        answer.reset();
    }
    answer
}

async fn exchange(otlp: &Otlp, body: &[u8], answer: &mut Reader) -> Result<(), ReadError> {
    let mut head = Vec::with_capacity(256);
    let mut writer = HeadWriter::request(&mut head, "POST", &[&otlp.target], &otlp.authority)
        .field("Content-Type", CONTENT_TYPE.as_bytes())
        .field("Connection", b"close");
    for (name, value) in &otlp.headers {
        writer = writer.field(name, value.as_bytes());
    }
    writer.end_with_length(body.len());
    let stream = Async::<TcpStream>::connect(otlp.address).await?;
    let mut writer = &stream;
    writer.write_all(&head).await?;
    writer.write_all(body).await?;
    driver::read(&stream, answer).await
}
