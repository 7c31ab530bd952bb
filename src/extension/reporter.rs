//! What all parts of the extension share, on their one thread: the accounting and the exporters.

use std::cell::RefCell;
use std::time::Duration;

use super::account::{Accounting, Predecessor};
use crate::extension::clock::{self, Instant};
use crate::extension::deliver::lines::Sink;
use crate::extension::deliver::otlp::Delivery;
use crate::extension::io::Notify;
use crate::extension::metric::{Batch, Resource};
use crate::extension::own_usage;
use crate::extension::settings::Exporters;
use crate::extension::telemetry;
use crate::shared::time::{Deadline, EpochMs};

/// Shared by all tasks.
pub(super) struct State {
    inner: RefCell<Inner>,
    /// Says that telemetry came.
    came: Notify,
}

/// Borrowed for as long as one call takes, never across an await.
struct Inner {
    accounting: Accounting,
    exporters: &'static Exporters,
    interval_ms: u64,
    /// When warm figures were exported last, in milliseconds since the epoch.
    exported_at_ms: u64,
    stdout: Sink,
    file: Sink,
    delivery: &'static Delivery,
    /// Lines and datagrams that were lost since that was last counted, and their bytes.
    lost: (u64, u64),
}

impl State {
    pub(super) fn new(
        mut accounting: Accounting,
        resource: Resource,
        exporters: Exporters,
        interval_ms: u64,
    ) -> &'static Self {
        accounting.resource = resource;
        // They last as long as the process.
        let exporters: &Exporters = Box::leak(Box::new(exporters));
        Box::leak(Box::new(Self {
            came: Notify::default(),
            inner: RefCell::new(Inner {
                accounting,
                delivery: Box::leak(Box::new(Delivery::new(exporters.otlp.as_ref()))),
                exporters,
                interval_ms,
                exported_at_ms: clock::now().0,
                stdout: Sink::default(),
                file: Sink::default(),
                lost: (0, 0),
            }),
        }))
    }

    /// Sends what exporters have to send, for ever.
    pub(super) async fn send(&self) {
        let delivery = self.inner.borrow().delivery;
        delivery.send().await;
    }

    /// An INVOKE event came.
    pub(super) fn invoke(&self, request_id: &str, deadline: Deadline, arn: Option<String>) {
        let mut inner = self.inner.borrow_mut();
        // Local tools say 0 for a deadline that they do not know.
        let deadline = Some(deadline).filter(|deadline| deadline.0 != EpochMs(0));
        inner
            .accounting
            .handle_invoke(request_id, deadline, clock::now());
        inner.after_restore();
        let resource = &mut inner.accounting.resource;
        if resource.function_arn.is_empty() {
            resource.function_arn = arn.unwrap_or_default();
        }
    }

    /// A batch of telemetry came, as a JSON array.
    pub(super) fn batch(&self, body: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let now = clock::now();
        let read = telemetry::records(body, &mut |record| match record {
            Ok(record) => inner.accounting.handle_record(record, now),
            Err(telemetry::Malformed) => inner.accounting.handle_malformed_record(),
        });
        if read.is_err() {
            inner.accounting.handle_lost_delivery(body.len() as u64);
        }
        inner.after_restore();
        drop(inner);
        self.came.notify();
    }

    /// A delivery was lost: refused, malformed, or cut off. How much was in it is known or 0.
    pub(super) fn lost_delivery(&self, bytes: u64) {
        self.inner
            .borrow_mut()
            .accounting
            .handle_lost_delivery(bytes);
    }

    /// Exports what is known and due: a cold start at once, warm figures once in an interval, or
    /// now. Nothing here waits for a receiver.
    pub(super) fn export(&self, now: bool) {
        let mut inner = self.inner.borrow_mut();
        let end = clock::monotonic() + WRITE_TIMEOUT;
        inner.export_cold_start(end);
        // A clock that was put back must not hold up what is due.
        let since = clock::now().0.checked_sub(inner.exported_at_ms);
        if now
            || since.is_none_or(|since| inner.interval_ms <= since)
            || inner.accounting.interval_is_full()
        {
            inner.export_interval(end);
        }
        inner.delivery.start();
    }

    /// Exports everything, until `end`. What is not sent then is lost.
    pub(super) async fn export_all(&self, end: Instant) {
        {
            let mut inner = self.inner.borrow_mut();
            let left = end.saturating_duration_since(clock::monotonic());
            let end = clock::monotonic() + left / 4;
            inner.stdout.forgive();
            inner.file.forgive();
            inner.export_cold_start(end);
            inner.export_interval(end);
        }
        let delivery = self.inner.borrow().delivery;
        delivery.finish(end).await;
        let inner = self.inner.borrow();
        let (points, _) = inner.undelivered();
        let (lines, _) = inner.lost;
        if points + lines != 0 {
            super::log(&format!(
                "lost at the end: {points} points not taken by the OTLP receiver, \
                 {lines} lines or datagrams not written"
            ));
        }
    }

    /// What the process after this one should know, if there is one.
    pub(super) fn ends_as(&self, reason: &str) -> Option<Predecessor> {
        self.inner.borrow().accounting.note_for_successor(reason)
    }

    /// The end has come.
    pub(super) fn shutdown(&self, reason: &str) {
        self.inner
            .borrow_mut()
            .accounting
            .handle_shutdown(reason, clock::now());
    }

    /// Waits until every invocation has its report.
    pub(super) async fn last_report(&self) {
        let is_here = || !self.inner.borrow().accounting.awaits_report();
        self.came.until(is_here).await;
    }
}

impl Inner {
    /// What was counted when the snapshot was made is that of every environment made of it.
    fn after_restore(&mut self) {
        if self.accounting.take_restored() {
            self.delivery.restored();
            self.lost = (0, 0);
            self.exported_at_ms = clock::now().0;
            self.own_cost();
        }
    }

    fn own_cost(&mut self) {
        let (cpu_ms, peak_memory_bytes) = own_usage::so_far();
        self.accounting.handle_own_usage(cpu_ms, peak_memory_bytes);
    }

    fn export_cold_start(&mut self, end: Instant) {
        if let Some(batch) = self.accounting.take_cold_start(clock::now()) {
            self.write(&batch, end);
        }
    }

    fn export_interval(&mut self, end: Instant) {
        let now = clock::now();
        self.exported_at_ms = now.0;
        self.own_cost();
        let (points, encoded) = self.undelivered();
        let (lines, bytes) = std::mem::take(&mut self.lost);
        self.accounting
            .handle_lost_export(points + lines, encoded + bytes);
        if let Some(batch) = self.accounting.take_interval(now) {
            self.write(&batch, end);
        }
    }

    /// Points that OTLP lost since this was last asked, and the bytes that they had.
    fn undelivered(&self) -> (u64, u64) {
        let dropped = self.delivery.take_dropped();
        (dropped.points, dropped.bytes)
    }

    /// Hands a batch to every exporter. None of them can hold up the others for longer than until
    /// `end`, or an invocation at all: the platform has been asked for the next event by now.
    fn write(&mut self, batch: &Batch, end: Instant) {
        self.write_emf(batch, end);
        self.write_ndjson(batch, end);
        self.write_dogstatsd(batch);
        self.delivery.push(&self.accounting.resource, batch);
    }

    fn write_emf(&mut self, batch: &Batch, end: Instant) {
        use super::export::emf;

        if let Some(emf) = &self.exporters.emf {
            let resource = &self.accounting.resource;
            emf::lines(resource, batch, emf, clock::now(), &mut |line| {
                let is_written = self.stdout.write(rustix::stdio::stdout(), line, end);
                count(&mut self.lost, is_written, line);
            });
        }
    }

    fn write_ndjson(&mut self, batch: &Batch, end: Instant) {
        use std::os::fd::AsFd as _;

        use rustix::fs::{Mode, OFlags};

        use super::export::ndjson;

        if let Some(path) = &self.exporters.ndjson {
            let mut line = Vec::new();
            ndjson::line(&self.accounting.resource, batch, &mut line);
            // Should it be a named pipe, nobody has to read from it.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
            let mode = Mode::from_raw_mode(0o666);
            let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, mode);
            let is_written = file.is_ok_and(|file| self.file.write(file.as_fd(), &line, end));
            count(&mut self.lost, is_written, &line);
        }
    }

    fn write_dogstatsd(&mut self, batch: &Batch) {
        use rustix::net::{self, SendFlags, SocketFlags, SocketType};

        use super::export::dogstatsd;
        use crate::shared::os::blocking;

        if let Some(address) = self.exporters.dogstatsd {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let family = blocking::family(address);
            let socket = net::socket_with(family, SocketType::DGRAM, flags, None);
            dogstatsd::datagrams(&self.accounting.resource, batch, &mut |datagram| {
                let sent = match &socket {
                    Ok(socket) => net::sendto(socket, datagram, SendFlags::empty(), &address),
                    Err(error) => Err(*error),
                };
                count(&mut self.lost, sent.is_ok(), datagram);
            });
        }
    }
}

/// Counts what was not written.
const fn count(lost: &mut (u64, u64), is_written: bool, bytes: &[u8]) {
    if !is_written {
        lost.0 += 1;
        lost.1 += bytes.len() as u64;
    }
}

#[cfg(test)]
impl State {
    /// What is counted so far, which is taken with it: metrics and the first of their values.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64)> {
        let batch = self
            .inner
            .borrow_mut()
            .accounting
            .take_interval(clock::now());
        let points = batch.map(|batch| batch.points).unwrap_or_default();
        let figures = points
            .iter()
            .map(|point| (point.metric.name, point.values[0]));
        figures.collect()
    }

    pub(super) fn lost_deliveries(&self) -> f64 {
        let figures = self.figures();
        let lost = figures
            .iter()
            .find(|(name, _)| *name == "dropped_deliveries");
        lost.map_or(0.0, |(_, count)| *count)
    }
}

/// How long lines may wait for their reader while others wait for this.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::OpenOptionsExt as _;

    use async_io::Async;
    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};

    use super::*;
    use crate::extension::io as driver;
    use crate::extension::settings::{InitType, Otlp};
    use crate::shared::http::{Expect, Limits, Reader};

    fn state(exporters: Exporters) -> &'static State {
        let accounting = Accounting::new(InitType::OnDemand, clock::now());
        let resource = Resource {
            function_name: "f".to_owned(),
            ..Resource::default()
        };
        State::new(accounting, resource, exporters, 60_000)
    }

    fn otlp_to(listener: &TcpListener) -> Exporters {
        let address = listener.local_addr().unwrap();
        Exporters {
            otlp: Some(Otlp {
                address,
                authority: address.to_string(),
                target: "/v1/metrics".to_owned(),
                headers: Vec::new(),
                timeout_ms: 60_000,
                attributes: Vec::new(),
            }),
            ..Exporters::default()
        }
    }

    fn ndjson_to(path: &str) -> Exporters {
        Exporters {
            ndjson: Some(path.to_owned()),
            ..Exporters::default()
        }
    }

    /// Answers each request in turn with the next of these, and gives their bodies.
    fn receiver(
        listener: TcpListener,
        answers: &'static [&'static str],
    ) -> std::thread::JoinHandle<Vec<Vec<u8>>> {
        std::thread::spawn(move || {
            let exchange = |answer: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut bytes = [0; 4_096];
                loop {
                    let count = stream.read(&mut bytes).unwrap();
                    assert_ne!(count, 0);
                    request.extend_from_slice(&bytes[..count]);
                    let mut windows = request.windows(4);
                    if let Some(end) = windows.position(|window| window == b"\r\n\r\n") {
                        let (head, body) = request.split_at(end + 4);
                        let head = str::from_utf8(head).unwrap();
                        let (_, length) = head.split_once("Content-Length: ").unwrap();
                        let length: usize = length.lines().next().unwrap().parse().unwrap();
                        if length == body.len() {
                            stream.write_all(answer.as_bytes()).unwrap();
                            return body.to_vec();
                        }
                    }
                }
            };
            answers.iter().map(exchange).collect()
        })
    }

    fn run<T>(state: &'static State, work: impl Future<Output = T>) -> T {
        driver::run_test(async |executor| {
            driver::spawn(executor, state.send()).detach();
            work.await
        })
    }

    async fn sent(state: &State) {
        let delivery = state.inner.borrow().delivery;
        delivery.idle().await;
    }

    fn soon() -> Instant {
        clock::monotonic() + Duration::from_secs(5)
    }

    #[test]
    fn a_receiver_that_names_a_time_is_left_alone_until_then() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = state(otlp_to(&listener));
        let requests = receiver(
            listener,
            &["HTTP/1.1 503 \r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n"],
        );
        run(state, async {
            state.lost_delivery(1);
            state.export(true);
            sent(state).await;
            // The receiver takes one connection, so a second attempt would be seen as a failure,
            // with a pause that is shorter.
            state.lost_delivery(1);
            state.export(true);
            sent(state).await;
            let pause = state.inner.borrow().delivery.outbox.borrow().pause();
            assert!(Duration::from_secs(7_000) < pause, "{pause:?}");
            state.export_all(soon()).await;
        });
        assert_eq!(requests.join().unwrap().len(), 1);
    }

    #[test]
    fn what_was_taken_is_not_sent_again_whatever_follows_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = state(otlp_to(&listener));
        let requests = receiver(listener, &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]);
        run(state, async {
            state.lost_delivery(1);
            state.export(true);
            sent(state).await;
        });
        assert!(
            state
                .inner
                .borrow()
                .delivery
                .outbox
                .borrow()
                .queue
                .is_empty()
        );
        assert_eq!(requests.join().unwrap().len(), 1);
    }

    #[test]
    fn what_hangs_on_its_way_at_the_end_is_sent_over_a_new_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = state(otlp_to(&listener));
        let requests = run(state, async {
            state.lost_delivery(1);
            state.export(true);
            // Taken, and never answered.
            let listener = Async::new(listener).unwrap();
            let (hanging, _) = listener.accept().await.unwrap();
            let listener = listener.into_inner().unwrap();
            listener.set_nonblocking(false).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let answers: &[&str] = Box::leak(vec![answer; 2].into());
            let requests = receiver(listener, answers);
            state.lost_delivery(1);
            state
                .export_all(clock::monotonic() + Duration::from_secs(2))
                .await;
            drop(hanging);
            requests
        });
        let bodies = requests.join().unwrap();
        let name = b"bantam.telemetry.dropped_deliveries";
        let has_name = |body: &Vec<u8>| body.windows(name.len()).any(|window| window == name);
        assert!(bodies.iter().all(has_name));
    }

    #[test]
    fn what_is_exported_while_the_end_sends_is_sent_by_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = state(otlp_to(&listener));
        run(state, async {
            state.lost_delivery(1);
            let listener = Async::new(listener).unwrap();
            let mut taken = 0;
            let receiving = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let mut request = Reader::new(Expect::Request, Limits::of_body(10_000));
                    driver::read(&stream, &mut request).await.unwrap();
                    if taken == 0 {
                        // A delivery is answered while the first batch is on its way.
                        state.lost_delivery(1);
                        state.export(true);
                        let second = async {
                            listener.readable().await.unwrap();
                            unreachable!("two batches are on their way");
                        };
                        driver::within(Duration::from_millis(20), second).await;
                    }
                    taken += 1;
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    (&stream).write_all(answer).await.unwrap();
                }
            };
            future::or(state.export_all(soon()), receiving).await;
            assert_eq!(taken, 2);
        });
    }

    #[test]
    fn a_restore_forgets_what_waits_to_be_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accounting = Accounting::new(InitType::SnapStart, clock::now());
        let state = State::new(accounting, Resource::default(), otlp_to(&listener), 0);
        run(state, async {
            state.lost_delivery(1);
            state.export(true);
            let accepted = Async::new(listener).unwrap();
            let (mut hanging, _) = accepted.accept().await.unwrap();
            state.lost_delivery(1);
            state.export(true);
            let seed = format!(
                "{:?}",
                state.inner.borrow().delivery.outbox.borrow().backoff
            );
            state.batch(
                br#"[{"time":"2026-08-20T10:00:00Z","type":"platform.restoreStart","record":{}}]"#,
            );
            {
                let outbox = state.inner.borrow().delivery.outbox.borrow();
                assert!(outbox.queue.is_empty() && outbox.in_flight.is_none());
                assert_ne!(format!("{:?}", outbox.backoff), seed);
            }
            // The connection is closed, not kept: what it carries ends.
            while hanging
                .read(&mut [0; 1_024])
                .await
                .is_ok_and(|count| count != 0)
            {}
            state.lost_delivery(1);
            state.export(true);
            let _next = accepted.accept().await.unwrap();
        });
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_in_the_next_interval() {
        let state = state(ndjson_to("/dev/full"));
        state.lost_delivery(1);
        state.export(true);
        let (lines, bytes) = state.inner.borrow().lost;
        assert_eq!(lines, 1);
        assert!(100 < bytes);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        state.inner.borrow_mut().exporters = Box::leak(Box::new(ndjson_to(file.to_str().unwrap())));
        state.export(true);
        let written = std::fs::read_to_string(&file).unwrap();
        for (name, unit, value) in [("dropped_records", "1", 1), ("dropped_bytes", "B", bytes)] {
            let point = format!(
                r#""name":"{name}","kind":"counter","unit":"{unit}","attributes":{{"dropped_by":"exporter"}},"values":[{value}]"#
            );
            assert!(written.contains(&point), "{point} in {written}");
        }
    }

    #[test]
    fn a_named_pipe_that_nobody_reads_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let state = state(ndjson_to(pipe.to_str().unwrap()));
        state.lost_delivery(1);
        // Without a reader, and with one that does not read.
        state.export(true);
        assert_eq!(state.inner.borrow().lost.0, 1);
        let mut options = OpenOptions::new();
        let reader = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe);
        for _ in 0..2_000 {
            state.export(true);
        }
        assert!(0 < state.inner.borrow().lost.0);
        run(state, state.export_all(soon()));
        drop(reader);
    }

    #[test]
    fn a_clock_that_is_put_back_holds_up_nothing() {
        let state = state(Exporters::default());
        let future = clock::now().0 + 3_600_000;
        state.inner.borrow_mut().exported_at_ms = future;
        state.export(false);
        assert!(state.inner.borrow().exported_at_ms < future);
    }

    #[test]
    fn what_is_no_batch_is_a_delivery_that_was_lost() {
        let state = state(Exporters::default());
        state.batch(b"nonsense");
        let expected = [("dropped_deliveries", 1.0), ("dropped_bytes", 8.0)];
        assert_eq!(state.figures(), expected);
    }
}
