//! What the tasks of the extension share, on their one thread: the accounting and the exporters.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::future;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use async_executor::{LocalExecutor, Task};
use rustix::net::{self, SendFlags, SocketFlags, SocketType};

use super::account::{self, Accounting, Predecessor};
use super::event::{self, Malformed, NotABatch, Record};
use super::export::queue::{Encoded, Queue};
use super::export::retry::{self, Backoff, Verdict};
use super::export::settings::{Otlp, Settings};
use super::export::{dogstatsd, emf, ndjson, otlp};
use super::metric::{Batch, Resource};
use super::sender;
use super::sink::Sink;
use super::{clock, cost, driver};
use crate::shared::deadline::{Deadline, EpochMs};

/// Shared by all tasks.
pub(super) struct State {
    executor: LocalExecutor<'static>,
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
    stdout: Sink,
    file: Sink,
    /// Lines and datagrams that were lost since that was last counted, and their bytes.
    lost: (u64, u64),
    otlp: Option<Rc<Otlp>>,
    outbox: Outbox,
}

/// What is to be sent.
struct Outbox {
    queue: Queue,
    /// The batch that is being sent. The task that sends it may be ended at any time.
    in_flight: Option<Rc<Encoded>>,
    backoff: Backoff,
    /// Nothing is sent before, in milliseconds since the epoch: a pause goes on through a freeze.
    not_before_ms: u64,
    /// Whether it was the receiver that said so.
    is_told: bool,
    sending: Option<Task<()>>,
}

impl Outbox {
    fn new() -> Self {
        Self {
            queue: Queue::default(),
            in_flight: None,
            backoff: Backoff::new(clock::seed()),
            not_before_ms: 0,
            is_told: false,
            sending: None,
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.not_before_ms.saturating_sub(clock::now().0))
    }

    /// What was being sent, by a task that is no more, waits again.
    fn take_back(&mut self) {
        if let Some(batch) = self.in_flight.take() {
            self.queue.put_back(batch);
        }
    }
}

impl State {
    pub(super) fn new(
        accounting: Accounting,
        resource: Resource,
        mut settings: Settings,
        interval_ms: u64,
    ) -> &'static Self {
        // It lasts as long as the process.
        Box::leak(Box::new(Self {
            executor: LocalExecutor::new(),
            inner: RefCell::new(Inner {
                accounting,
                resource,
                otlp: settings.otlp.take().map(Rc::new),
                settings,
                interval_ms,
                exported_at_ms: clock::now().0,
                stdout: Sink::default(),
                file: Sink::default(),
                lost: (0, 0),
                outbox: Outbox::new(),
            }),
            waiting: RefCell::new(None),
        }))
    }

    /// Starts a task.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) -> Task<()> {
        driver::spawn(&self.executor, work)
    }

    /// Runs the tasks, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(super) async fn work(&self) {
        loop {
            self.executor.tick().await;
        }
    }

    /// An INVOKE event came.
    pub(super) fn invoke(&self, request_id: &str, deadline: Deadline, arn: Option<String>) {
        let mut inner = self.inner.borrow_mut();
        // Local tools say 0 for a deadline that they do not know.
        let deadline = Some(deadline).filter(|deadline| deadline.0 != EpochMs(0));
        inner.accounting.invoke(request_id, deadline, clock::now());
        inner.after_restore();
        if inner.resource.function_arn.is_none() {
            inner.resource.function_arn = arn;
        }
    }

    /// A batch of telemetry came, as a JSON array.
    pub(super) fn batch(&self, body: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        match event::records(body, &mut |record| inner.take(record)) {
            Ok(counts) => inner.accounting.batch(&counts),
            Err(NotABatch) => inner.accounting.lost_delivery(body.len() as u64),
        }
        inner.after_restore();
        drop(inner);
        self.wake();
    }

    /// Lines of telemetry came.
    pub(super) fn lines(&self, lines: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let counts = event::records_ndjson(lines, &mut |record| inner.take(record));
        inner.accounting.batch(&counts);
        inner.after_restore();
        drop(inner);
        self.wake();
    }

    /// A delivery was lost: refused, malformed, or cut off. How much was in it is known or 0.
    pub(super) fn lost_delivery(&self, bytes: u64) {
        self.inner.borrow_mut().accounting.lost_delivery(bytes);
    }

    /// Exports what is known and due: a cold start at once, warm figures once in an interval, or
    /// now. Nothing here waits for a receiver.
    pub(super) fn export(&'static self, now: bool) {
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
        let outbox = &mut inner.outbox;
        let is_free = outbox.sending.as_ref().is_none_or(Task::is_finished);
        if is_free && !outbox.queue.is_empty() && outbox.pause().is_zero() {
            outbox.sending = Some(self.spawn(self.send_all(None)));
        }
    }

    /// Exports everything, until `end`. What is not sent then is lost.
    pub(super) async fn export_all(&self, end: Instant) {
        let left = end.saturating_duration_since(clock::monotonic());
        let sending = {
            let mut inner = self.inner.borrow_mut();
            let end = clock::monotonic() + left / 4;
            inner.stdout.forgive();
            inner.file.forgive();
            inner.export_cold_start(end);
            inner.export_interval(end);
            inner.outbox.sending.take()
        };
        if let Some(sending) = sending {
            // Its connection may be from before a freeze, and dead.
            driver::within(left / 4, pin!(sending)).await;
            self.inner.borrow_mut().outbox.take_back();
        }
        {
            let mut inner = self.inner.borrow_mut();
            let left = end.saturating_duration_since(clock::monotonic());
            if !inner.outbox.is_told && left <= inner.outbox.pause() {
                inner.outbox.not_before_ms = 0;
            }
        }
        self.send_all(Some(end)).await;
        let mut inner = self.inner.borrow_mut();
        inner.outbox.queue.clear();
        let points = inner.outbox.queue.take_dropped().points;
        let lines = inner.lost.0;
        if points + lines != 0 {
            super::log(&format!(
                "lost at the end: {points} points not taken by the OTLP receiver, \
                 {lines} lines or datagrams not written"
            ));
        }
    }

    /// What the process after this one should know, if there is one.
    pub(super) fn ends_as(&self, reason: &str) -> Option<Predecessor> {
        self.inner.borrow().accounting.ends_as(reason)
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
    /// failure ends it: the next invocation after the pause tries again.
    async fn send_all(&self, end: Option<Instant>) {
        loop {
            let left = end.map(|end| end.saturating_duration_since(clock::monotonic()));
            let pause = self.inner.borrow().outbox.pause();
            if !pause.is_zero() {
                if left.is_none_or(|left| left <= pause) {
                    return;
                }
                driver::pause(pause).await;
                continue;
            }
            let Some((otlp, batch)) = self.inner.borrow_mut().next_to_send() else {
                return;
            };
            let timeout = Duration::from_millis(otlp.timeout_ms);
            let timeout = left.map_or(timeout, |left| timeout.min(left));
            let answer = sender::send(&otlp, &batch.body, timeout).await;
            let retry_after = answer.head().field("Retry-After");
            let verdict = retry::verdict(answer.status(), retry_after, clock::now());
            let mut inner = self.inner.borrow_mut();
            inner.sent(&otlp, verdict, answer.body());
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

    /// What was to be sent when the snapshot was made is that of every environment made of it, and
    /// so are the seed, and a connection that leads nowhere now.
    fn after_restore(&mut self) {
        if self.accounting.take_restored() {
            self.outbox = Outbox::new();
            self.lost = (0, 0);
            self.resource.instance_id = None;
            self.exported_at_ms = clock::now().0;
            self.accounting.own_cost(cost::so_far());
        }
    }

    fn export_cold_start(&mut self, end: Instant) {
        if let Some(batch) = self.accounting.take_cold_start(clock::now()) {
            let resource = &mut self.resource;
            account::note(self.accounting.instance_id(), &mut resource.instance_id);
            account::note(self.accounting.function_arn(), &mut resource.function_arn);
            let memory_mb = self
                .accounting
                .memory_bytes()
                .map(|bytes| bytes / (1024 * 1024));
            let memory_mb = memory_mb.and_then(|mb| u32::try_from(mb).ok());
            self.resource.memory_mb = self.resource.memory_mb.or(memory_mb);
            self.write(&batch, end);
        }
    }

    fn export_interval(&mut self, end: Instant) {
        let now = clock::now();
        self.exported_at_ms = now.0;
        self.accounting.own_cost(cost::so_far());
        let dropped = self.outbox.queue.take_dropped();
        let (lines, bytes) = std::mem::take(&mut self.lost);
        let (records, bytes) = (dropped.points + lines, dropped.bytes + bytes);
        self.accounting.not_exported(records, bytes);
        if let Some(batch) = self.accounting.take_interval(now) {
            self.write(&batch, end);
        }
    }

    /// Hands a batch to every exporter. None of them can hold up the others for longer than until
    /// `end`, or an invocation at all: the platform has been asked for the next event by now.
    fn write(&mut self, batch: &Batch, end: Instant) {
        let Self {
            resource,
            settings,
            stdout,
            file,
            lost,
            otlp,
            outbox,
            ..
        } = self;
        let mut count = |is_written: bool, bytes: &[u8]| {
            if !is_written {
                lost.0 += 1;
                lost.1 += bytes.len() as u64;
            }
        };
        if let Some(emf) = &settings.emf {
            emf::lines(resource, batch, emf, clock::now(), &mut |line| {
                count(stdout.write(rustix::stdio::stdout(), line, end), line);
            });
        }
        if let Some(path) = &settings.ndjson {
            let mut line = Vec::new();
            ndjson::line(resource, batch, &mut line);
            // Should it be a named pipe, nobody has to read from it.
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            let opened = options.custom_flags(libc::O_NONBLOCK).open(path);
            let is_written = opened.is_ok_and(|opened| file.write(opened.as_fd(), &line, end));
            count(is_written, &line);
        }
        if let Some(address) = settings.dogstatsd {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let family = driver::family(address);
            let socket = net::socket_with(family, SocketType::DGRAM, flags, None);
            dogstatsd::datagrams(resource, batch, &mut |datagram| {
                let sent = match &socket {
                    Ok(socket) => net::sendto(socket, datagram, SendFlags::empty(), &address),
                    Err(error) => Err(*error),
                };
                count(sent.is_ok(), datagram);
            });
        }
        if let Some(otlp) = otlp
            && let Some(body) = otlp::encode(otlp.encoding, resource, &otlp.attributes, batch)
        {
            outbox.queue.push(Encoded {
                body,
                points: batch.points.len() as u64,
            });
        }
    }

    fn next_to_send(&mut self) -> Option<(Rc<Otlp>, Rc<Encoded>)> {
        let otlp = self.otlp.clone()?;
        let batch = self.outbox.queue.pop()?;
        self.outbox.in_flight = Some(Rc::clone(&batch));
        Some((otlp, batch))
    }

    /// Does what the verdict says about the batch that was being sent.
    fn sent(&mut self, otlp: &Otlp, verdict: Verdict, body: &[u8]) {
        let outbox = &mut self.outbox;
        let Some(batch) = outbox.in_flight.take() else {
            return;
        };
        match verdict {
            Verdict::Delivered => {
                outbox.backoff.succeeded();
                let rejected = otlp::rejected(otlp.encoding, body).min(batch.points);
                self.accounting.not_exported(rejected, 0);
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
                self.otlp = None;
                super::log("the OTLP receiver refuses the credentials: nothing more is sent");
            }
        }
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
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use async_io::Timer;

    use super::super::config::InitType;
    use super::super::export::otlp::Encoding;
    use super::*;

    fn state(settings: Settings) -> &'static State {
        let accounting = Accounting::new(InitType::OnDemand, clock::now());
        let resource = Resource {
            function_name: "f".to_owned(),
            ..Resource::default()
        };
        State::new(accounting, resource, settings, 60_000)
    }

    fn otlp_to(listener: &TcpListener) -> Settings {
        let address = listener.local_addr().unwrap();
        Settings {
            otlp: Some(Otlp {
                address,
                authority: address.to_string(),
                target: "/v1/metrics".to_owned(),
                encoding: Encoding::Json,
                headers: Vec::new(),
                timeout_ms: 60_000,
                attributes: Vec::new(),
            }),
            ..Settings::default()
        }
    }

    fn ndjson_to(path: &str) -> Settings {
        Settings {
            ndjson: Some(path.into()),
            ..Settings::default()
        }
    }

    /// Answers each request in turn with the next of these, and gives their bodies.
    fn receiver(
        listener: TcpListener,
        answers: &'static [&'static str],
    ) -> std::thread::JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let exchange = |answer: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut bytes = [0; 4_096];
                loop {
                    let count = stream.read(&mut bytes).unwrap();
                    assert_ne!(count, 0);
                    request.extend_from_slice(&bytes[..count]);
                    let text = String::from_utf8_lossy(&request);
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let (_, length) = head.split_once("Content-Length: ").unwrap();
                        let length: usize = length.lines().next().unwrap().parse().unwrap();
                        if length == body.len() {
                            stream.write_all(answer.as_bytes()).unwrap();
                            return body.to_owned();
                        }
                    }
                }
            };
            answers.iter().map(exchange).collect()
        })
    }

    fn run<T>(state: &State, work: impl Future<Output = T>) -> T {
        let limit = async {
            Timer::after(Duration::from_secs(60)).await;
            unreachable!("it took too long");
        };
        async_io::block_on(state.executor.run(futures_lite::future::or(work, limit)))
    }

    async fn sent(state: &State) {
        let sending = state.inner.borrow_mut().outbox.sending.take();
        sending.unwrap().await;
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
            assert!(state.inner.borrow().outbox.sending.is_none());
            let pause = state.inner.borrow().outbox.pause();
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
        assert!(state.inner.borrow().outbox.queue.is_empty());
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
            let accepted = async_io::Async::new(listener).unwrap();
            let hanging = accepted.accept().await.unwrap();
            let listener = accepted.into_inner().unwrap();
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
        assert!(
            bodies
                .iter()
                .all(|body| body.contains("dropped_deliveries"))
        );
    }

    #[test]
    fn a_restore_forgets_what_waits_to_be_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = state(otlp_to(&listener));
        run(state, async {
            state.lost_delivery(1);
            state.export(true);
            let accepted = async_io::Async::new(listener).unwrap();
            let (mut hanging, _) = accepted.accept().await.unwrap();
            state.lost_delivery(1);
            state.export(true);
            let seed = format!("{:?}", state.inner.borrow().outbox.backoff);
            state.batch(
                br#"[{"time":"2026-08-20T10:00:00Z","type":"platform.restoreStart","record":{}}]"#,
            );
            {
                let outbox = &state.inner.borrow().outbox;
                assert!(outbox.queue.is_empty() && outbox.in_flight.is_none());
                assert_ne!(format!("{:?}", outbox.backoff), seed);
            }
            // The connection is closed, not kept: what it carries ends.
            let mut rest = Vec::new();
            futures_lite::AsyncReadExt::read_to_end(&mut hanging, &mut rest)
                .await
                .ok();
            state.lost_delivery(1);
            state.export(true);
            let (_next, _) = accepted.accept().await.unwrap();
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
        state.inner.borrow_mut().settings.ndjson = Some(file.clone());
        state.export(true);
        let written = std::fs::read_to_string(&file).unwrap();
        for (name, value) in [("dropped_records", 1), ("dropped_bytes", bytes)] {
            let point = format!(
                r#""name":"{name}","kind":"counter","unit":"1","attributes":{{"dropped_by":"exporter"}},"values":[{value}]"#
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
        let state = state(Settings::default());
        let future = clock::now().0 + 3_600_000;
        state.inner.borrow_mut().exported_at_ms = future;
        state.export(false);
        assert!(state.inner.borrow().exported_at_ms < future);
    }

    #[test]
    fn what_is_no_batch_is_a_delivery_that_was_lost() {
        let state = state(Settings::default());
        state.batch(b"nonsense");
        let expected = [("dropped_deliveries", 1.0), ("dropped_bytes", 8.0)];
        assert_eq!(state.figures(), expected);
    }
}
