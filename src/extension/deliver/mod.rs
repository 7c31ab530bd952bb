//! Delivers batches to all receivers. The only part of the export that does I/O.
//!
//! Nothing here waits for a receiver but the two tasks of [`Deliver::spawn`] and
//! [`Deliver::finish`], which ends with its time. What is lost is counted in one ledger, and told
//! to each receiver.

pub(super) mod lines;
pub(super) mod otlp;
#[cfg(not(feature = "tls"))]
mod plain;
#[cfg(feature = "tls")]
mod tls;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};

use self::lines::{FileLines, Lines};
use self::otlp::Sender;
use crate::extension::clock::Clock;
use crate::extension::export::emf::{self, Emf};
use crate::extension::export::losses::{Ledger, Losses, Told};
use crate::extension::export::otlp::outbox::{Encoded, Holds};
#[cfg(any(feature = "traces", test))]
use crate::extension::export::otlp::traces;
use crate::extension::export::{dogstatsd, ndjson, otlp as export};
use crate::extension::io::{self as driver, Executor};
use crate::extension::log::{self, OnceAMinute};
use crate::extension::metric::{Batch, Resource};
#[cfg(any(feature = "traces", test))]
use crate::extension::settings::Sampling;
use crate::extension::settings::{DatagramReceiver, DogStatsd, Exporters};
#[cfg(any(feature = "traces", test))]
use crate::extension::trace::Trace;
#[cfg(any(feature = "traces", test))]
use crate::shared::backoff::Jitter;
use crate::shared::os::blocking::family;
use crate::shared::os::error_text;
use crate::shared::time::EpochMs;

/// The receivers that are on.
#[derive(Debug)]
pub(super) struct Deliver {
    ledger: Rc<Ledger>,
    emf: Option<(Emf, Rc<Lines>)>,
    ndjson: Option<RefCell<FileLines>>,
    dogstatsd: Option<(DogStatsd, Told)>,
    /// Of OTLP: the attributes of the resource, and who takes metrics and traces.
    attributes: Vec<(String, String)>,
    metrics: Option<Rc<Sender>>,
    #[cfg(any(feature = "traces", test))]
    traces: Option<(Sampling, Rc<Sender>)>,
    file_failures: OnceAMinute,
    datagram_failures: OnceAMinute,
    clock: Clock,
}

impl Deliver {
    pub(super) fn new(exporters: Exporters, clock: Clock) -> Self {
        let ledger = Rc::new(Ledger::default());
        let stdout = || Rc::new(Lines::new(clock.stdout(), Rc::clone(&ledger)));
        let file = |path| RefCell::new(FileLines::new(path, Rc::clone(&ledger)));
        let told = || Told::new(Rc::clone(&ledger));
        let sender = |receiver| Rc::new(Sender::new(receiver, Rc::clone(&ledger), clock));
        let otlp = exporters.otlp.unwrap_or_default();
        Self {
            emf: exporters.emf.map(|emf| (emf, stdout())),
            ndjson: exporters.ndjson.map(file),
            dogstatsd: exporters.dogstatsd.map(|to| (to, told())),
            attributes: otlp.attributes,
            metrics: otlp.metrics.map(sender),
            #[cfg(any(feature = "traces", test))]
            traces: otlp
                .traces
                .map(|(sampling, receiver)| (sampling, sender(receiver))),
            ledger,
            file_failures: OnceAMinute::default(),
            datagram_failures: OnceAMinute::default(),
            clock,
        }
    }

    /// Starts the tasks that wait for receivers.
    pub(super) fn spawn(&self, executor: Executor) {
        if let Some((_, stdout)) = &self.emf {
            let stdout = Rc::clone(stdout);
            driver::spawn(executor, async move { stdout.write_out().await }).detach();
        }
        for sender in self.senders() {
            let sender = Rc::clone(sender);
            driver::spawn(executor, async move { sender.send().await }).detach();
        }
    }

    /// Hands a batch to every receiver.
    pub(super) fn batch(&self, resource: &Resource, batch: &mut Batch) {
        if let Some((emf, stdout)) = &self.emf {
            write_emf(emf, stdout, resource, batch, self.clock.now());
        }
        if let Some(file) = &self.ndjson {
            self.write_ndjson(&mut file.borrow_mut(), resource, batch);
        }
        if let Some((to, told)) = &self.dogstatsd {
            self.write_dogstatsd(to, told, resource, batch);
        }
        if let Some(sender) = &self.metrics {
            self.push_metrics(sender, resource, batch);
        }
    }

    /// Hands the trace of a start to its receiver, if there is one. `batch` has the figures of the
    /// start.
    #[cfg(any(feature = "traces", test))]
    pub(super) fn trace(&self, resource: &Resource, batch: &Batch, trace: impl FnOnce() -> Trace) {
        let Some((sampling, sender)) = &self.traces else {
            return;
        };
        let trace = trace();
        let mut ids = Jitter::new(self.clock.seed());
        let id = traces::trace_id(&trace, &mut ids);
        let is_sampled = trace.parent.and_then(|parent| parent.is_sampled);
        let is_wanted = trace.is_cold_start || sampling.all_starts;
        if is_wanted && sampling.takes(id, is_sampled) {
            sender.push(Encoded {
                body: traces::encode(resource, &self.attributes, batch, &trace, id, &mut ids),
                holds: Holds::Spans(trace.spans.len() as u64),
                // Spans tell none.
                tells: Losses::default(),
            });
        }
    }

    fn push_metrics(&self, sender: &Sender, resource: &Resource, batch: &mut Batch) {
        let tells = sender.take_untold();
        let points = batch.points.len();
        batch.points.extend(tells.to_points());
        let body = export::encode(resource, &self.attributes, batch);
        batch.points.truncate(points);
        if let Some(body) = body {
            sender.push(Encoded {
                body,
                holds: Holds::Points(points as u64),
                tells,
            });
        }
    }

    fn senders(&self) -> impl Iterator<Item = &Rc<Sender>> {
        #[cfg(any(feature = "traces", test))]
        let traces = self.traces.as_ref().map(|(_, sender)| sender);
        #[cfg(not(any(feature = "traces", test)))]
        let traces = None;
        self.metrics.iter().chain(traces)
    }

    /// Lets what waits for the end of a pause look at the time.
    pub(super) fn wake(&self) {
        for sender in self.senders() {
            sender.wake();
        }
    }

    /// Forgets what was lost, and what waits to be sent, when a snapshot was made: every
    /// environment restored from it has that.
    pub(super) fn restored(&self) {
        self.ledger.forget();
        if let Some((_, stdout)) = &self.emf {
            stdout.forget();
        }
        if let Some(file) = &self.ndjson {
            file.borrow().told.forget();
        }
        if let Some((_, told)) = &self.dogstatsd {
            told.forget();
        }
        for sender in self.senders() {
            sender.restored();
        }
    }

    /// Gives the receivers this time to take what they are being given, before the last batch, so
    /// that it tells what was lost of the others.
    pub(super) async fn settle(&self, limit: Duration) {
        let sent = self.senders().map(|sender| boxed(sender.settle(limit)));
        self.finish_with(limit, sent.collect()).await;
    }

    /// Delivers what waits, within this time. What is not delivered then is lost.
    pub(super) async fn finish(&self, limit: Duration) {
        let sent = self.senders().map(|sender| boxed(sender.finish(limit)));
        self.finish_with(limit, sent.collect()).await;
    }

    /// Gives standard output this time to take the lines that wait, beside `sent`. The others are
    /// lost then.
    async fn finish_with(&self, limit: Duration, sent: Vec<Boxed<'_>>) {
        let mut all = boxed(async {
            if let Some((_, stdout)) = &self.emf {
                self.clock.within(limit, stdout.written()).await;
                stdout.lose_all();
            }
        });
        for other in sent {
            all = boxed(async {
                future::zip(all, other).await;
            });
        }
        all.await;
    }

    /// All losses of this environment so far.
    pub(super) fn losses(&self) -> Losses {
        self.ledger.total()
    }

    fn write_ndjson(&self, file: &mut FileLines, resource: &Resource, batch: &mut Batch) {
        let tells = file.told.take();
        let points = batch.points.len();
        batch.points.extend(tells.to_points());
        let mut line = Vec::new();
        ndjson::line(resource, batch, &mut line);
        batch.points.truncate(points);
        let Err(error) = file.push(&line, tells) else {
            return;
        };
        if self.file_failures.is_due(self.clock.now()) {
            let reason = match error {
                Errno::AGAIN => "its reader takes no more".to_owned(),
                error => error_text(error),
            };
            let path = log::quote(file.path.as_bytes());
            log::warn(&format!("a line for {path} is lost: {reason}"));
        }
    }

    fn write_dogstatsd(&self, to: &DogStatsd, told: &Told, resource: &Resource, batch: &Batch) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (family, bytes_max) = match &to.to {
            DatagramReceiver::Udp(address) => (family(*address), dogstatsd::UDP_BYTES_MAX),
            DatagramReceiver::Unix(_) => (AddressFamily::UNIX, dogstatsd::UNIX_BYTES_MAX),
        };
        let socket = socket_with(family, SocketType::DGRAM, flags, None);
        let send_one = |datagram: &[u8]| {
            let socket = socket.as_ref().map_err(|error| *error)?;
            match &to.to {
                DatagramReceiver::Udp(address) => {
                    sendto(socket, datagram, SendFlags::empty(), address)
                }
                DatagramReceiver::Unix(path) => {
                    let address = SocketAddrUnix::new(path.as_bytes())?;
                    sendto(socket, datagram, SendFlags::empty(), &address)
                }
            }
        };
        let send = |batch: &Batch, tells: Losses| {
            dogstatsd::datagrams(resource, &to.tags, batch, bytes_max, &mut |datagram| {
                let Err(error) = send_one(datagram) else {
                    return;
                };
                told.lose(Losses::line(datagram.len()), tells);
                if self.datagram_failures.is_due(self.clock.now()) {
                    let (to, reason) = (&to.to, error_text(error));
                    log::warn(&format!(
                        "a datagram for DogStatsD at {to} is lost: {reason}"
                    ));
                }
            });
        };
        send(batch, Losses::default());
        // Each in a datagram of its own: with long tags two do not fit one.
        for part in told.take().parts() {
            with_losses(batch, part, &mut |batch, tells| send(batch, tells));
        }
    }
}

/// A future on the heap: one kind of it is less code than several.
type Boxed<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

fn boxed<'w>(work: impl Future<Output = ()> + 'w) -> Boxed<'w> {
    Box::pin(work)
}

fn write_emf(emf: &Emf, stdout: &Lines, resource: &Resource, batch: &Batch, now: EpochMs) {
    let write = |batch: &Batch, tells: Losses| {
        emf::lines(resource, batch, emf, now, &mut |line| {
            stdout.push(line, tells);
        });
    };
    write(batch, Losses::default());
    with_losses(batch, stdout.told.take(), &mut |batch, tells| {
        write(batch, tells);
    });
}

/// Calls `write` with a batch that tells only the losses, if there are any. Where a batch is
/// several lines, they have one of their own, so that it is known whether it was lost.
fn with_losses(batch: &Batch, tells: Losses, write: &mut dyn FnMut(&Batch, Losses)) {
    if !tells.is_empty() {
        let points = tells.to_points();
        let properties = Vec::new();
        write(
            &Batch {
                points,
                properties,
                ..*batch
            },
            tells,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::extension::export::samples;
    use crate::extension::settings::{Otlp, OtlpReceiver};

    #[test]
    fn a_lost_datagram_gives_back_what_it_told_once() {
        // Nobody may send there without asking for it.
        let broadcast = DatagramReceiver::Udp("255.255.255.255:8125".parse().unwrap());
        let tag = || ("tag".to_owned(), "v".repeat(190));
        let dogstatsd = DogStatsd {
            to: broadcast,
            tags: (0..4).map(|_| tag()).collect(),
        };
        let exporters = Exporters {
            dogstatsd: Some(dogstatsd),
            ..Exporters::default()
        };
        let deliver = Deliver::new(exporters, Clock::default());
        let (_, told) = deliver.dogstatsd.as_ref().unwrap();
        let earlier = Losses::line(50);
        deliver.ledger.lose(earlier);
        assert_eq!(told.take(), earlier);
        for _ in 0..2 {
            deliver.batch(&samples::resource(), &mut samples::batch());
        }
        let untold = deliver.losses().lines - earlier.lines;
        assert!(1 < untold);
        assert_eq!(told.take().lines, untold);
    }

    #[test]
    fn a_socket_that_nobody_reads_from_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _unread = UnixDatagram::bind(&path).unwrap();
        let (over, is_over) = mpsc::channel();
        thread::spawn(move || {
            let exporters = Exporters {
                dogstatsd: Some(DogStatsd {
                    to: DatagramReceiver::Unix(path.to_str().unwrap().to_owned()),
                    tags: Vec::new(),
                }),
                ..Exporters::default()
            };
            let deliver = Deliver::new(exporters, Clock::default());
            for _ in 0..10_000 {
                deliver.batch(&samples::resource(), &mut samples::batch());
                if deliver.losses().lines != 0 {
                    over.send(()).unwrap();
                    return;
                }
            }
        });
        is_over.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    #[test]
    fn a_start_that_no_invocation_waited_for_has_a_trace_where_all_starts_have() {
        for (all_starts, is_cold_start, expected) in [
            (false, false, false),
            (false, true, true),
            (true, false, true),
        ] {
            let mut sampling = Sampling::of_all_starts();
            sampling.all_starts = all_starts;
            let receiver = OtlpReceiver::at(([0, 0, 0, 0], 0).into(), "/v1/traces");
            let exporters = Exporters {
                otlp: Some(Otlp {
                    traces: Some((sampling, receiver)),
                    ..Otlp::default()
                }),
                ..Exporters::default()
            };
            let deliver = Deliver::new(exporters, Clock::default());
            deliver.trace(&samples::resource(), &samples::batch(), || Trace {
                is_cold_start,
                parent: None,
                spans: Vec::new(),
            });
            let (_, sender) = deliver.traces.as_ref().unwrap();
            let idle = driver::run_test(async |_| future::poll_once(sender.idle()).await);
            assert_eq!(idle.is_none(), expected, "{all_starts} {is_cold_start}");
        }
    }
}
