//! The platform of a world: what it does step by step, and what came of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::{LocalExecutor, Task};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::Value;

use super::{Answer, World};
use crate::extension::account::Accounting;
use crate::extension::api;
use crate::extension::clock::Clock;
use crate::extension::deliver::Deliver;
use crate::extension::events::{self, Shutdown};
use crate::extension::export::emf::Emf;
use crate::extension::export::losses::Losses;
use crate::extension::export_by_the_clock;
use crate::extension::figures::Figures;
use crate::extension::io::{self, Notify};
use crate::extension::log;
use crate::extension::settings::{Exporters, InitType, Otlp, OtlpReceiver, Sampling};
use crate::extension::zone;
use crate::shared::time::{Deadline, EpochMs};

/// One thing that happens to the extension.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The INVOKE event of a request.
    Invoke(String),
    /// A delivery of telemetry records.
    Deliver(Vec<String>),
    /// A delivery that is cut off.
    CutOff,
    /// Everything stands still, for this long by the wall clock and by the monotonic clock. The
    /// wall clock may have been put back.
    Freeze { wall_ms: i64, monotonic_ms: u64 },
    /// Lines can be written to the file from now on, or cannot.
    File { works: bool },
    /// The OTLP receiver answers like this from now on.
    Receiver(Answer),
    /// The metadata endpoint answers like this from now on.
    Metadata(Answer),
    /// The SHUTDOWN event with the time until the process is killed, or SIGTERM without one.
    Shutdown {
        reason: &'static str,
        left_ms: Option<i64>,
    },
}

/// What came of the steps.
#[derive(Debug)]
pub(super) struct Played {
    /// The lines of the file.
    pub(super) lines: Vec<Value>,
    /// The lines of EMF.
    pub(super) emf: Vec<String>,
    /// The batches that the OTLP receiver took.
    pub(super) batches: Vec<ExportMetricsServiceRequest>,
    /// The traces that it took.
    pub(super) traces: Vec<ExportTraceServiceRequest>,
    pub(super) losses: Losses,
    /// The requests that the metadata endpoint got.
    pub(super) metadata_requests: usize,
    /// The extension's own lines of the log.
    pub(super) log: Vec<String>,
    /// The time from SHUTDOWN to the exit of the process.
    pub(super) end: Duration,
}

/// Plays the steps in an environment of this type; before each of them the time in milliseconds
/// passes that is given with it. The last one is SHUTDOWN.
pub(super) fn play(init_type: InitType, steps: Vec<(u64, Step)>) -> Played {
    play_with(None, init_type, steps)
}

/// The same with EMF of these settings.
pub(super) fn play_with(emf: Option<Emf>, init_type: InitType, steps: Vec<(u64, Step)>) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk(folder.path().to_owned());
    fs::create_dir(disk.folder(true)).unwrap();
    let world: &'static World = Box::leak(Box::new(World::new()));
    let clock = Clock { world: Some(world) };
    let deliver = Deliver::new(
        Exporters {
            emf,
            ..exporters(&disk)
        },
        clock,
    );
    let mut accounting = Accounting::new(init_type, clock.now());
    accounting.handle_start(5.0, 9.0);
    accounting.resource.function_name = "f".to_owned();
    let figures = Figures::new(accounting, INTERVAL, deliver, clock, false);
    let figures = Rc::new(figures);

    let executor: io::Executor = LocalExecutor::new().leak();
    figures.spawn(executor);
    let zones = zone::Source::of_world().watch(Rc::clone(&figures));
    io::spawn(executor, zones).detach();
    if init_type == InitType::ManagedInstances {
        io::spawn(executor, export_by_the_clock(Rc::clone(&figures), INTERVAL)).detach();
    }
    let platform = Rc::new(Platform {
        world,
        figures: Rc::clone(&figures),
        disk,
        events: RefCell::default(),
        changed: Notify::default(),
        buffering: api::buffering(init_type != InitType::ManagedInstances),
        deliveries: RefCell::new(Some(Vec::new())),
    });
    let playing = Rc::clone(&platform);
    io::spawn(executor, async move {
        for (wait_ms, step) in steps {
            playing.world.sleep(Duration::from_millis(wait_ms)).await;
            playing.play(step, executor);
        }
    })
    .detach();
    let began = world.run(executor, platform.serve(executor));
    let (traces, batches): (Vec<_>, Vec<_>) = world
        .received
        .take()
        .into_iter()
        .partition(|(target, _)| target == TRACES);
    let batches = batches.iter();
    let traces = traces.iter();
    Played {
        lines: platform.disk.lines(),
        emf: world.printed(),
        batches: batches
            .map(|(_, body)| ExportMetricsServiceRequest::decode(&**body).unwrap())
            .collect(),
        traces: traces
            .map(|(_, body)| ExportTraceServiceRequest::decode(&**body).unwrap())
            .collect(),
        losses: figures.losses(),
        metadata_requests: world.metadata_requests.get(),
        log: log::KEPT.take().unwrap(),
        end: world.monotonic() - began,
    }
}

fn exporters(disk: &Disk) -> Exporters {
    Exporters {
        ndjson: Some(disk.folder(true).join("lines").to_str().unwrap().to_owned()),
        otlp: Some(Otlp {
            metrics: Some(receiver("/v1/metrics")),
            traces: Some((Sampling::of_all_starts(), receiver(TRACES))),
            attributes: Vec::new(),
        }),
        ..Exporters::default()
    }
}

/// A world has no sockets.
fn receiver(target: &str) -> OtlpReceiver {
    OtlpReceiver {
        timeout_ms: 1_000,
        ..OtlpReceiver::at(([0, 0, 0, 0], 0).into(), target)
    }
}

struct Platform {
    world: &'static World,
    figures: Rc<Figures>,
    disk: Disk,
    events: RefCell<VecDeque<Step>>,
    /// Notified when there is an event.
    changed: Notify,
    buffering: Duration,
    /// The deliveries that are being taken; `None` once nobody listens.
    deliveries: RefCell<Option<Vec<Task<()>>>>,
}

impl Platform {
    /// The extension's loop of events; the time of SHUTDOWN.
    async fn serve(self: &Rc<Self>, executor: io::Executor) -> Instant {
        let listening = Listening(Rc::clone(self));
        let listening = io::spawn(executor, async move {
            let _listening = listening;
            future::pending::<()>().await;
        });
        loop {
            self.changed
                .until(|| !self.events.borrow().is_empty())
                .await;
            let event = self.events.borrow_mut().pop_front();
            match event {
                Some(Step::Invoke(id)) => {
                    let deadline = Deadline(EpochMs(self.world.now().0 + 3_000));
                    self.figures.invoke(&id, Some(deadline), None);
                }
                Some(Step::Shutdown { reason, left_ms }) => {
                    let deadline =
                        left_ms.map(|left| self.world.now().0.saturating_add_signed(left));
                    let shutdown = Shutdown {
                        reason: reason.to_owned(),
                        deadline: deadline.map(|at| Deadline(EpochMs(at))),
                    };
                    let began = self.world.monotonic();
                    let figures = &self.figures;
                    events::end(shutdown, figures, Some(listening), self.buffering).await;
                    return began;
                }
                other => unreachable!("{other:?} is no event"),
            }
        }
    }

    fn play(&self, step: Step, executor: io::Executor) {
        match step {
            event @ (Step::Invoke(_) | Step::Shutdown { .. }) => {
                self.events.borrow_mut().push_back(event);
                self.changed.notify();
            }
            Step::Deliver(records) => self.deliver(executor, records),
            Step::CutOff => self.figures.lost_delivery(0),
            Step::Freeze {
                wall_ms,
                monotonic_ms,
            } => {
                let back = Duration::from_millis(wall_ms.min(0).unsigned_abs());
                self.world.wall.set(self.world.wall.get() - back);
                let wall = Duration::from_millis(wall_ms.max(0).unsigned_abs());
                self.world.pass(wall, Duration::from_millis(monotonic_ms));
            }
            Step::File { works } => self.disk.set(works),
            Step::Receiver(answer) => self.world.answer.set(answer),
            Step::Metadata(answer) => self.world.metadata.set(answer),
        }
    }

    /// A delivery, unless nobody listens any more.
    fn deliver(&self, executor: io::Executor, records: Vec<String>) {
        if let Some(deliveries) = &mut *self.deliveries.borrow_mut() {
            let figures = Rc::clone(&self.figures);
            let body = format!("[{}]", records.join(","));
            deliveries.push(io::spawn(executor, async move {
                figures.delivery(body.as_bytes()).await;
            }));
        }
    }
}

/// The task of the listener: dropping it ends what is being delivered.
struct Listening(Rc<Platform>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.deliveries.take();
    }
}

/// A folder that the file of the lines is in, or is moved away from.
struct Disk(PathBuf);

impl Disk {
    fn folder(&self, works: bool) -> PathBuf {
        self.0.join(if works { "here" } else { "away" })
    }

    fn set(&self, works: bool) {
        // It may be there already.
        fs::rename(self.folder(!works), self.folder(works)).ok();
    }

    fn lines(&self) -> Vec<Value> {
        self.set(true);
        let lines = fs::read_to_string(self.folder(true).join("lines")).unwrap_or_default();
        let lines = lines.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

const TRACES: &str = "/v1/traces";

const INTERVAL: Duration = Duration::from_secs(60);
