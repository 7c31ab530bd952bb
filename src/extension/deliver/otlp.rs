//! Sends encoded batches to an OTLP receiver, each over a connection of its own.
//!
//! The environment may have been frozen since the last one, and a connection that was kept may be
//! gone without either end having been told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;

#[cfg(not(feature = "tls"))]
use super::plain::Connector;
#[cfg(feature = "tls")]
use super::tls::Connector;
use crate::extension::clock::Clock;
use crate::extension::export::losses::{Ledger, Losses};
use crate::extension::export::otlp::CONTENT_TYPE;
use crate::extension::export::otlp::outbox::{Encoded, Outbox};
use crate::extension::export::otlp::response::rejected_points;
use crate::extension::export::otlp::retry::{self, Verdict};
use crate::extension::io::{self as driver, Notify};
use crate::extension::log::{self, OnceAMinute};
use crate::extension::settings::OtlpReceiver;
use crate::shared::http::{Exchange, Expect, HeadWriter, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;

/// Sends what is pushed, in a task of its own ([`Sender::send`]).
#[derive(Debug)]
pub(in crate::extension) struct Sender {
    receiver: OtlpReceiver,
    pub(super) connector: Connector,
    ledger: Rc<Ledger>,
    clock: Clock,
    /// Borrowed for as long as one call takes, never across an await.
    outbox: RefCell<Outbox>,
    /// Whether the task is sending.
    is_sending: Cell<bool>,
    /// Whether SHUTDOWN came: what is left is sent by [`Sender::finish`].
    is_over: Cell<bool>,
    /// Changes when the task has to let go of the batch that it sends.
    generation: Cell<u32>,
    /// Notified when the outbox or one of these changes.
    changed: Notify,
    failures: OnceAMinute,
}

impl Sender {
    pub(in crate::extension) fn new(
        receiver: OtlpReceiver,
        ledger: Rc<Ledger>,
        clock: Clock,
    ) -> Self {
        Self {
            receiver,
            connector: Connector::new(),
            outbox: RefCell::new(Outbox::new(Rc::clone(&ledger), clock.seed())),
            ledger,
            clock,
            is_sending: Cell::default(),
            is_over: Cell::default(),
            generation: Cell::default(),
            changed: Notify::default(),
            failures: OnceAMinute::default(),
        }
    }

    /// The losses that the next batch has to tell.
    pub(in crate::extension) fn take_untold(&self) -> Losses {
        self.outbox.borrow().told.take()
    }

    /// Adds a batch to what is to be sent.
    pub(in crate::extension) fn push(&self, batch: Encoded) {
        self.outbox.borrow_mut().push(batch);
        self.changed.notify();
    }

    /// Forgets what was to be sent when a snapshot was made: every environment restored from it
    /// has that, and the seed, and a connection that leads nowhere.
    pub(in crate::extension) fn restored(&self) {
        let outbox = Outbox::new(Rc::clone(&self.ledger), self.clock.seed());
        self.outbox.replace(outbox);
        self.stop();
    }

    /// Lets the task look whether something is due, which a pause may have held up.
    pub(in crate::extension) fn wake(&self) {
        self.changed.notify();
    }

    /// Makes the task let go of what it sends.
    fn stop(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.changed.notify();
    }

    /// Sends what waits whenever that is due, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(in crate::extension) async fn send(&self) {
        loop {
            self.changed.until(|| self.is_due()).await;
            self.is_sending.set(true);
            let generation = self.generation.get();
            // `stopped` is polled first, so that what was let go of is not polled again.
            let is_stopped = || self.generation.get() != generation;
            let stopped = self.changed.until(is_stopped);
            future::or(stopped, self.send_all(None)).await;
            self.is_sending.set(false);
            self.changed.notify();
        }
    }

    fn is_due(&self) -> bool {
        !self.is_over.get() && self.outbox.borrow().is_due(self.clock.now())
    }

    /// Waits until the task has nothing to do.
    pub(in crate::extension) async fn idle(&self) {
        let is_idle = || !self.is_sending.get() && !self.is_due();
        self.changed.until(is_idle).await;
    }

    /// Gives the task this time to send what it is sending, and ends it: SHUTDOWN came.
    pub(in crate::extension) async fn settle(&self, limit: Duration) {
        self.is_over.set(true);
        // The connection of the task may be from before a freeze, and dead.
        self.clock.within(limit, self.idle()).await;
        self.stop();
        self.outbox.borrow_mut().put_back();
    }

    /// Sends everything within this time. What is not sent then is lost.
    pub(in crate::extension) async fn finish(&self, limit: Duration) {
        let now = self.clock.now();
        self.outbox.borrow_mut().hurry(limit / 2, now);
        let sent = self.send_all(Some(limit));
        self.clock.within(limit, sent).await;
        self.outbox.borrow_mut().lose_all();
    }

    /// Sends what waits, oldest first. Without a limit one failure ends it: the first export after
    /// the pause tries again.
    async fn send_all(&self, limit: Option<Duration>) {
        loop {
            let pause = self.outbox.borrow().pause(self.clock.now());
            if !pause.is_zero() {
                if limit.is_none_or(|limit| limit <= pause) {
                    return;
                }
                self.clock.sleep(pause).await;
                continue;
            }
            let Some(batch) = self.outbox.borrow_mut().begin() else {
                return;
            };
            let timeout = Duration::from_millis(self.receiver.timeout_ms);
            let timeout = limit.map_or(timeout, |limit| timeout.min(limit));
            let mut answer = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
            let failure = self.attempt(&batch.body, &mut answer, timeout).await.err();
            self.handle_answer(&batch, &answer, failure);
        }
    }

    /// Sends a request and reads the response. Once it has a status it is an answer: the rest of it
    /// is not worth a long wait, and a batch that was taken must not be sent again because of it.
    /// An error is the text for the log.
    async fn attempt(
        &self,
        body: &[u8],
        answer: &mut Reader,
        timeout: Duration,
    ) -> Result<(), String> {
        let too_late = || format!("does not answer within {} ms", timeout.as_millis());
        let head = head(&self.receiver, body.len());
        let mut exchange = Exchange::new(Outgoing::new(&head, body), answer);
        #[cfg(test)]
        if let Some(world) = self.clock.world {
            let sent = world.send(&self.receiver.target, body, &mut exchange);
            let sent = self.clock.within(timeout, sent).await;
            return sent.ok_or_else(too_late);
        }
        let status = async {
            let stream = self.connector.connect(&self.receiver).await;
            let mut stream = stream.map_err(|error| format!("cannot be reached: {error}"))?;
            // The receiver may have answered before it closed.
            driver::send(&mut stream, &mut exchange).await.ok();
            while exchange.status().is_none() && !exchange.is_done() {
                let received = driver::receive_some(&mut stream, &mut exchange).await;
                received.map_err(|error| format!("does not answer: {error}"))?;
            }
            Ok(stream)
        };
        let stream = self.clock.within(timeout, status).await;
        let mut stream = stream.unwrap_or_else(|| Err(too_late()))?;
        let rest = async {
            driver::receive(&mut stream, &mut exchange).await.ok();
            #[cfg(feature = "tls")]
            stream.close().await.ok();
        };
        self.clock.within(REST_OF_ANSWER.min(timeout), rest).await;
        Ok(())
    }

    fn handle_answer(&self, batch: &Encoded, answer: &Reader, failure: Option<String>) {
        let now = self.clock.now();
        let status = answer.status();
        let retry_after = answer.head().field("Retry-After");
        let verdict = retry::verdict(status, retry_after, now);
        let mut rejected = 0;
        if verdict == Verdict::Delivered {
            rejected = rejected_points(answer.body());
        } else if verdict == Verdict::Disable || self.failures.is_due(now) {
            let failure = match (status, failure) {
                (Some(status), _) => format!("answers {status} {}", log::quote(answer.body())),
                (None, Some(failure)) => failure,
                (None, None) => "answers without a status".to_owned(),
            };
            let follows = match verdict {
                Verdict::Retry { .. } => "it is sent again".to_owned(),
                Verdict::Disable => "the credentials are wrong, so nothing more is sent".to_owned(),
                Verdict::Delivered | Verdict::Drop => {
                    format!("{} are lost", batch.holds)
                }
            };
            log::warn(&format!(
                "OTLP receiver {}://{}{} {}: {follows}",
                self.receiver.scheme(),
                self.receiver.authority,
                self.receiver.shown_path(),
                failure.trim_end(),
            ));
        }
        self.outbox
            .borrow_mut()
            .handle_answer(verdict, rejected, now);
    }
}

/// The head of a request.
pub(in crate::extension) fn head(receiver: &OtlpReceiver, body_bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    let target = &[&*receiver.target];
    let mut writer = HeadWriter::request(&mut head, "POST", target, &receiver.authority)
        .field("Content-Type", CONTENT_TYPE.as_bytes())
        .field("Connection", b"close");
    for (name, value) in &receiver.headers {
        writer = writer.field(name, value.as_bytes());
    }
    writer.end_with_length(body_bytes);
    head
}

/// How long the fields and the body of an answer may take once its status is here.
const REST_OF_ANSWER: Duration = Duration::from_millis(100);
