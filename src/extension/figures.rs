//! Figures on their way: from what happens to the accounting, and from there to the receivers.
//!
//! All tasks share it. It holds no rule: [`Accounting`] says what is due, [`Deliver`] delivers.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_lite::future;

use crate::extension::account::{Accounting, Predecessor};
use crate::extension::clock::Clock;
use crate::extension::deliver::Deliver;
use crate::extension::io::{Executor, Notify};
use crate::extension::telemetry::{self, Malformed};
#[cfg(test)]
use crate::extension::{
    export::losses::Losses,
    settings::{Exporters, InitType},
};
use crate::extension::{log, panic};
use crate::shared::time::Deadline;

/// The accounting and the receivers.
#[derive(Debug)]
pub(super) struct Figures {
    /// Borrowed for as long as one call takes, never across an await.
    accounting: RefCell<Accounting>,
    /// How often warm figures are exported.
    interval: Duration,
    deliver: Deliver,
    clock: Clock,
    /// Whether what all processes use is read, too.
    with_system_usage: bool,
    /// Deliveries that came, and those of them that are counted.
    came: Cell<u64>,
    counted: Cell<u64>,
    /// Restores that were noticed.
    restores: Cell<u32>,
    /// Times that the environment is known to have thawed: the first INVOKE, and each restore.
    thaws: Cell<u32>,
    is_invoked: Cell<bool>,
    /// Notified when a delivery is counted, and at each thaw.
    changed: Notify,
}

impl Figures {
    pub(super) fn new(
        accounting: Accounting,
        interval: Duration,
        deliver: Deliver,
        clock: Clock,
        with_system_usage: bool,
    ) -> Self {
        let figures = Self {
            accounting: RefCell::new(accounting),
            interval,
            deliver,
            clock,
            with_system_usage,
            came: Cell::default(),
            counted: Cell::default(),
            restores: Cell::default(),
            thaws: Cell::default(),
            is_invoked: Cell::default(),
            changed: Notify::default(),
        };
        // Sums of the kernel are counted from here on.
        figures.read_system_usage(&mut figures.accounting.borrow_mut());
        figures
    }

    /// The clocks and timers.
    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Starts the tasks that wait for receivers.
    pub(super) fn spawn(&self, executor: Executor) {
        self.deliver.spawn(executor);
    }

    /// An INVOKE event came.
    pub(super) fn invoke(
        &self,
        request_id: &str,
        deadline: Option<Deadline>,
        function_arn: Option<&str>,
    ) {
        let mut accounting = self.accounting.borrow_mut();
        accounting.handle_invoke(request_id, deadline, self.clock.now());
        accounting.handle_function_arn(function_arn);
        drop(accounting);
        if !self.is_invoked.replace(true) {
            self.thawed();
        }
        self.export();
    }

    /// A delivery of telemetry came. Other tasks have their turn between its parts.
    pub(super) async fn delivery(&self, body: &[u8]) {
        self.came.set(self.came.get() + 1);
        // Of text that is UTF-8, `from_utf8_lossy` would look at each byte.
        let text = std::str::from_utf8(body);
        let text = text.map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
        match telemetry::records(&text) {
            Some(mut records) => {
                while self.take_part(&mut records) {
                    future::yield_now().await;
                }
            }
            None => self.lost_delivery(body.len() as u64),
        }
        self.export();
        self.counted.set(self.counted.get() + 1);
        self.changed.notify();
    }

    /// Takes some records; whether there are more.
    fn take_part(&self, records: &mut telemetry::Records<'_>) -> bool {
        let mut accounting = self.accounting.borrow_mut();
        let now = self.clock.now();
        for record in records.take(RECORDS_AT_ONCE) {
            match record {
                Ok(record) => accounting.handle_record(&record, now),
                Err(Malformed) => accounting.handle_malformed_record(),
            }
        }
        !records.is_empty()
    }

    /// A delivery was lost: refused, malformed, or cut off. Its bytes are 0 where they are unknown.
    pub(super) fn lost_delivery(&self, bytes: u64) {
        self.accounting.borrow_mut().handle_lost_delivery(bytes);
    }

    /// Exports what is known and due.
    fn export(&self) {
        self.take_restore();
        // What is exported from here on is not exported again after a panic.
        panic::hand_over(self.accounting.borrow().life());
        self.export_cold_start();
        let now = self.clock.now();
        let is_due = self.accounting.borrow().is_interval_due(self.interval, now);
        if is_due {
            self.export_interval();
        }
        self.deliver.wake();
    }

    /// Exports everything that is known. Nothing waits for a receiver.
    pub(super) fn export_now(&self) {
        self.take_restore();
        self.export_cold_start();
        self.export_interval();
        self.deliver.wake();
    }

    /// Exports everything that is known, and gives the receivers this time to take it.
    pub(super) async fn finish(&self, limit: Duration) {
        let end = self.clock.monotonic() + limit;
        self.deliver.settle(limit / 4).await;
        self.export_now();
        let left = end.saturating_duration_since(self.clock.monotonic());
        self.deliver.finish(left).await;
        let lost = self.deliver.losses();
        if !lost.is_empty() {
            let spans = if cfg!(feature = "traces") {
                format!(" and {} spans", lost.spans)
            } else {
                String::new()
            };
            log::warn(&format!(
                "{} points{spans} for OTLP receivers and {} lines or datagrams were lost in the life of \
                 this environment",
                lost.points, lost.lines,
            ));
        }
    }

    /// The availability zone is this one.
    pub(super) fn zone(&self, zone: String) {
        self.accounting.borrow_mut().resource.availability_zone = zone;
    }

    /// How often a restore was noticed.
    pub(super) fn restores(&self) -> u32 {
        self.restores.get()
    }

    /// Waits until a restore is noticed beside these.
    pub(super) async fn restored_after(&self, restores: u32) {
        self.changed.until(|| restores < self.restores.get()).await;
    }

    /// How often the environment is known to have thawed.
    pub(super) fn thaws(&self) -> u32 {
        self.thaws.get()
    }

    /// Waits until the environment has thawed after these times.
    pub(super) async fn thawed_after(&self, thaws: u32) {
        self.changed.until(|| thaws < self.thaws.get()).await;
    }

    /// SHUTDOWN came, and the last telemetry that was waited for.
    pub(super) fn shutdown(&self, reason: &str) {
        let now = self.clock.now();
        self.accounting.borrow_mut().handle_shutdown(reason, now);
    }

    /// Waits until every invocation, and the start, has its report.
    pub(super) async fn last_report(&self) {
        self.changed
            .until(|| !self.accounting.borrow().awaits_report())
            .await;
    }

    /// Waits until the deliveries that have come by now are counted.
    pub(super) async fn deliveries_counted(&self) {
        let came = self.came.get();
        self.changed.until(|| came <= self.counted.get()).await;
    }

    /// What the process after this one should know, if there is one.
    pub(super) fn note_for_successor(&self, reason: &str) -> Option<Predecessor> {
        self.accounting.borrow().note_for_successor(reason)
    }

    fn take_restore(&self) {
        let mut accounting = self.accounting.borrow_mut();
        if accounting.take_restored() {
            accounting.handle_own_usage(self.clock.usage());
            self.read_system_usage(&mut accounting);
            self.deliver.restored();
            self.restores.set(self.restores.get() + 1);
            self.thawed();
        }
    }

    fn thawed(&self) {
        self.thaws.set(self.thaws.get() + 1);
        self.changed.notify();
    }

    fn export_cold_start(&self) {
        let mut accounting = self.accounting.borrow_mut();
        if let Some(mut batch) = accounting.take_cold_start(self.clock.now()) {
            let resource = &accounting.resource;
            self.deliver.batch(resource, &mut batch);
            #[cfg(any(feature = "traces", test))]
            self.deliver.trace(resource, &batch, || accounting.trace());
        }
    }

    fn read_system_usage(&self, accounting: &mut Accounting) {
        if self.with_system_usage {
            self.add_system_usage(accounting);
        }
    }

    /// Apart, so that it does not lie in the code of every start: see `layer/sections.ld`.
    #[inline(never)]
    fn add_system_usage(&self, accounting: &mut Accounting) {
        let began = self.clock.monotonic();
        let usage = self.clock.system_usage();
        let took = self.clock.monotonic().saturating_duration_since(began);
        accounting.handle_system_usage(usage, took);
    }

    fn export_interval(&self) {
        let mut accounting = self.accounting.borrow_mut();
        self.read_system_usage(&mut accounting);
        accounting.handle_own_usage(self.clock.usage());
        if let Some(mut batch) = accounting.take_interval(self.clock.now()) {
            self.deliver.batch(&accounting.resource, &mut batch);
        }
    }
}

/// Records that are taken before other tasks have their turn: some 0.3 ms.
const RECORDS_AT_ONCE: usize = 50;

#[cfg(test)]
impl Figures {
    pub(super) fn for_tests(init_type: InitType, exporters: Exporters) -> Self {
        Self::on_clock(Clock::default(), init_type, exporters, false)
    }

    pub(super) fn on_clock(
        clock: Clock,
        init_type: InitType,
        exporters: Exporters,
        with_system_usage: bool,
    ) -> Self {
        let mut accounting = Accounting::new(init_type, clock.now());
        accounting.resource.function_name = "f".to_owned();
        let deliver = Deliver::new(exporters, clock);
        let interval = Duration::from_secs(60);
        Self::new(accounting, interval, deliver, clock, with_system_usage)
    }

    /// Takes what was counted: metrics and the first of their values.
    pub(super) fn take(&self) -> Vec<(&'static str, f64)> {
        let now = self.clock.now();
        let batch = self.accounting.borrow_mut().take_interval(now);
        let points = batch.map(|batch| batch.points).unwrap_or_default();
        let counted = points.iter();
        counted
            .map(|point| (point.metric.name, point.values[0]))
            .collect()
    }

    pub(super) fn losses(&self) -> Losses {
        self.deliver.losses()
    }

    pub(super) fn take_lost_deliveries(&self) -> f64 {
        let counted = self.take();
        let mut lost = counted
            .iter()
            .filter(|(name, _)| *name == "dropped_deliveries");
        lost.next().map_or(0.0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::rc::Rc;

    use async_io::Async;
    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::extension::io;
    use crate::extension::settings::{Otlp, OtlpReceiver};
    use crate::extension::tcp;
    use crate::shared::http::{Expect, Limits, Progress, Reader};

    /// A receiver of OTLP that does what its test says.
    struct Receiver(Async<TcpListener>);

    impl Receiver {
        fn new() -> (Self, Exporters) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let exporters = Exporters {
                otlp: Some(Otlp {
                    metrics: Some(OtlpReceiver {
                        timeout_ms: 60_000,
                        ..OtlpReceiver::at(address, "/v1/metrics")
                    }),
                    ..Otlp::default()
                }),
                ..Exporters::default()
            };
            (Self(Async::new(listener).unwrap()), exporters)
        }

        /// The next request, and the connection that waits for its answer.
        async fn request(&self) -> (Async<TcpStream>, Reader) {
            let (stream, _) = self.0.accept().await.unwrap();
            let mut request = Reader::new(Expect::Request, Limits::of_body(100_000));
            loop {
                let space = request.space().unwrap();
                assert_ne!(tcp::read(&stream, space).await.unwrap(), 0);
                if request.advance().unwrap() == Progress::Complete {
                    return (stream, request);
                }
            }
        }

        async fn answer(&self, answer: &str) -> Reader {
            let (stream, request) = self.request().await;
            (&stream).write_all(answer.as_bytes()).await.unwrap();
            request
        }

        /// Whether nobody connects, as far as can be said after some turns of all tasks.
        async fn is_left_alone(&self) -> bool {
            Clock::default()
                .within(Duration::from_millis(20), self.0.readable())
                .await
                .is_none()
        }
    }

    /// Runs a test of figures with the tasks of their receivers.
    fn run(exporters: Exporters, test: impl AsyncFnOnce(Rc<Figures>)) {
        run_as(InitType::OnDemand, exporters, test);
    }

    fn run_as(init_type: InitType, exporters: Exporters, test: impl AsyncFnOnce(Rc<Figures>)) {
        io::run_test(async |executor| {
            let figures = Rc::new(Figures::for_tests(init_type, exporters));
            figures.spawn(executor);
            test(figures).await;
        });
    }

    fn count_and_export(figures: &Figures) {
        figures.lost_delivery(1);
        figures.export_now();
    }

    fn names(request: &Reader, name: &str) -> bool {
        memchr::memmem::find(request.body(), name.as_bytes()).is_some()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn bytes_that_are_not_utf_8_cost_a_delivery_nothing() {
        run(Exporters::default(), async |figures| {
            let batch = b"[{\"type\":\"platform.logsDropped\",\"record\":{\"reason\":\"\xFF\",\
                \"droppedRecords\":2}},{\"type\":\"platform.logsDropped\",\"record\":\
                {\"droppedBytes\":5}}]";
            figures.delivery(batch).await;
            assert_eq!(
                figures.take(),
                [("dropped_records", 2.0), ("dropped_bytes", 5.0)]
            );
        });
    }

    #[test]
    fn a_receiver_that_names_a_time_is_left_alone_until_then() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            count_and_export(&figures);
            let later = "HTTP/1.1 503 \r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n";
            receiver.answer(later).await;
            count_and_export(&figures);
            assert!(receiver.is_left_alone().await);
            // Also at the end.
            figures.finish(SOON).await;
            assert!(receiver.is_left_alone().await);
            assert!(0 < figures.deliver.losses().points);
        });
    }

    /// A status is an answer, however little of the rest follows it.
    #[test]
    fn a_batch_with_a_status_is_done_and_the_next_one_is_sent() {
        for half in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        ] {
            let (receiver, exporters) = Receiver::new();
            run(exporters, async |figures| {
                count_and_export(&figures);
                count_and_export(&figures);
                let (stalled, _) = receiver.request().await;
                (&stalled).write_all(half.as_bytes()).await.unwrap();
                receiver.answer(OK).await;
                future::zip(figures.finish(SOON), receiver.answer(OK)).await;
                assert!(figures.deliver.losses().is_empty());
            });
        }
    }

    /// The time for an answer is that of the settings; only the rest of one has less.
    #[test]
    fn a_status_is_waited_for_as_long_as_it_may_take() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            count_and_export(&figures);
            let (slow, _) = receiver.request().await;
            figures.clock().sleep(Duration::from_millis(150)).await;
            (&slow).write_all(OK.as_bytes()).await.unwrap();
            future::zip(figures.finish(SOON), receiver.answer(OK)).await;
            assert!(figures.deliver.losses().is_empty(), "one is sent again");
        });
    }

    #[test]
    fn points_that_the_receiver_rejects_are_lost() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            count_and_export(&figures);
            // `partial_success` with one in `rejected_data_points`.
            let partial = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x0a\x02\x08\x01";
            receiver.answer(partial).await;
            future::zip(figures.finish(SOON), receiver.answer(OK)).await;
            assert_eq!(figures.deliver.losses().points, 1);
        });
    }

    #[test]
    fn what_hangs_on_its_way_at_the_end_is_sent_over_a_new_connection() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            count_and_export(&figures);
            let (_hanging, _) = receiver.request().await;
            figures.lost_delivery(1);
            let receiving = async {
                for _ in 0..2 {
                    let request = receiver.answer(OK).await;
                    assert!(names(&request, "dropped_deliveries"));
                }
            };
            let ending = figures.finish(Duration::from_secs(2));
            future::zip(ending, receiving).await;
            assert!(figures.deliver.losses().is_empty());
        });
    }

    #[test]
    fn what_is_exported_while_the_end_sends_is_sent_by_it() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            figures.lost_delivery(1);
            let receiving = async {
                let (stream, _) = receiver.request().await;
                // A delivery is answered while the first batch is on its way.
                count_and_export(&figures);
                assert!(receiver.is_left_alone().await, "one at a time");
                (&stream).write_all(OK.as_bytes()).await.unwrap();
                receiver.answer(OK).await;
            };
            future::zip(figures.finish(SOON), receiving).await;
            assert!(figures.deliver.losses().is_empty());
        });
    }

    #[test]
    fn the_end_does_not_wait_longer_than_it_may() {
        let (receiver, exporters) = Receiver::new();
        run(exporters, async |figures| {
            figures.lost_delivery(1);
            // Nobody answers.
            figures.finish(Duration::from_millis(20)).await;
            assert!(0 < figures.deliver.losses().points);
            figures.finish(Duration::ZERO).await;
            drop(receiver);
        });
    }

    #[test]
    fn a_restore_forgets_what_waits_to_be_sent_and_what_was_lost() {
        let (receiver, exporters) = Receiver::new();
        run_as(InitType::SnapStart, exporters, async |figures| {
            count_and_export(&figures);
            let (mut hanging, _) = receiver.request().await;
            count_and_export(&figures);
            let restored =
                br#"[{"time":"2026-08-20T10:00:00Z","type":"platform.restoreStart","record":{}}]"#;
            figures.delivery(restored).await;
            // The connection is closed, not kept.
            while hanging
                .read(&mut [0; 64])
                .await
                .is_ok_and(|count| count != 0)
            {}
            assert!(figures.deliver.losses().is_empty());
            count_and_export(&figures);
            receiver.answer(OK).await;
        });
    }

    /// Every future that waits is woken: the report comes while `last_report` is asleep.
    #[test]
    fn the_last_report_ends_the_wait_for_it() {
        run(Exporters::default(), async |figures| {
            figures.invoke("a", None, None);
            let report = |id| {
                format!(
                    r#"[{{"type":"platform.report","record":{{"requestId":"{id}","metrics":{{"durationMs":1}}}}}}]"#
                )
            };
            let start = r#"[{"type":"platform.initReport","record":{"metrics":{"durationMs":1}}}]"#;
            let mut waiting = std::pin::pin!(figures.last_report());
            for early in [report("other").as_bytes(), start.as_bytes()] {
                assert!(future::poll_once(waiting.as_mut()).await.is_none());
                figures.delivery(early).await;
            }
            let reporting = async {
                future::yield_now().await;
                figures.delivery(report("a").as_bytes()).await;
            };
            future::zip(waiting, reporting).await;
        });
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_in_the_next_one_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("later").join("out");
        let exporters = Exporters {
            ndjson: Some(file.to_str().unwrap().to_owned()),
            ..Exporters::default()
        };
        run(exporters, async |figures| {
            for _ in 0..3 {
                count_and_export(&figures);
            }
            let lost = figures.deliver.losses();
            assert_eq!(lost.lines, 3);
            std::fs::create_dir(file.parent().unwrap()).unwrap();
            count_and_export(&figures);
            count_and_export(&figures);
            let written = std::fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = written.lines().collect();
            assert_eq!(lines.len(), 2);
            let told = [
                ("dropped_records", "1", 3),
                ("dropped_bytes", "B", lost.bytes),
            ];
            for (name, unit, value) in told {
                let point = format!(
                    r#""name":"{name}","kind":"counter","unit":"{unit}","attributes":{{"dropped_by":"exporter"}},"values":[{value}]"#
                );
                assert!(lines[0].contains(&point), "{point} in {written}");
                assert!(!lines[1].contains("exporter"), "{written}");
            }
        });
    }

    #[test]
    fn a_named_pipe_that_nobody_reads_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let exporters = Exporters {
            ndjson: Some(pipe.to_str().unwrap().to_owned()),
            ..Exporters::default()
        };
        run(exporters, async |figures| {
            // Without a reader, and with one that does not read.
            log::KEPT.set(Some(Vec::new()));
            count_and_export(&figures);
            assert_eq!(figures.deliver.losses().lines, 1);
            let path = pipe.to_str().unwrap();
            let warning = format!("a line for {path} is lost: ");
            let logged = log::KEPT.take().unwrap();
            assert!(logged[0].contains(&warning), "{logged:?}");
            let mut options = OpenOptions::new();
            let reader = options
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&pipe);
            for _ in 0..2_000 {
                count_and_export(&figures);
            }
            assert!(1 < figures.deliver.losses().lines);
            figures.finish(SOON).await;
            drop(reader);
        });
    }

    #[test]
    fn the_usage_of_all_processes_is_exported_where_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for is_wanted in [false, true] {
            let file = folder.path().join(is_wanted.to_string());
            let exporters = Exporters {
                ndjson: Some(file.to_str().unwrap().to_owned()),
                ..Exporters::default()
            };
            let clock = Clock::default();
            let figures = Figures::on_clock(clock, InitType::OnDemand, exporters, is_wanted);
            count_and_export(&figures);
            let written = std::fs::read_to_string(&file).unwrap();
            assert_eq!(written.contains("cpu_user_time"), is_wanted, "{written}");
        }
    }

    #[test]
    fn the_next_process_is_told_how_this_one_ended() {
        run(Exporters::default(), async |figures| {
            let told = |reason| figures.note_for_successor(reason);
            assert_eq!(told("failure"), Some(Predecessor::FailedInit));
            assert_eq!(told("spindown"), None);
        });
    }

    #[test]
    fn a_body_that_is_no_batch_is_a_delivery_that_was_lost() {
        run(Exporters::default(), async |figures| {
            figures.delivery(b"nonsense").await;
            let expected = [("dropped_deliveries", 1.0), ("dropped_bytes", 8.0)];
            assert_eq!(figures.take(), expected);
        });
    }

    #[test]
    fn a_large_batch_lets_others_have_their_turn() {
        run(Exporters::default(), async |figures| {
            let records = vec![r#"{"type":"platform.new"}"#; 10 * RECORDS_AT_ONCE];
            let batch = format!("[{}]", records.join(","));
            let mut delivery = std::pin::pin!(figures.delivery(batch.as_bytes()));
            let mut turns = 0;
            while future::poll_once(delivery.as_mut()).await.is_none() {
                turns += 1;
            }
            assert_eq!(turns, 10);
            assert_eq!(figures.take(), [("unknown_records", 500.0)]);
        });
    }
}
