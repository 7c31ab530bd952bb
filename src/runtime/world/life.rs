//! A life of an execution environment: what is asked of the function, and what goes wrong.

use crate::shared::backoff::Jitter;

/// A life as the platform and the function live it. Its [`Debug`](std::fmt::Debug) form is source
/// code, so that a life which fails can be kept as a test.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Chooses who runs when, and where bytes are split.
    pub(super) seed: u64,
    pub(super) kind: Kind,
    /// An executable's response is streamed.
    pub(super) is_streamed: bool,
    /// How long an executable takes until it is ready.
    pub(super) start_ms: u64,
    /// Workers of Managed Instances; 0 for a process that serves every invocation.
    pub(super) workers: usize,
    /// Programs whose initialisation does not succeed, from the first on.
    pub(super) failed_inits: Vec<Init>,
    /// Whether the environment is restored from a snapshot.
    pub(super) is_restored: bool,
    /// Whether another thread panics in each program, once an event has come.
    pub(super) always_panics: bool,
    pub(super) invocations: Vec<Invocation>,
    /// Faults, each with the number of the exchange that it meets.
    pub(super) faults: Vec<(usize, Fault)>,
    pub(super) ending: Ending,
}

/// What the handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A function of this program.
    Function,
    /// An executable that is started for each event.
    OneShot,
    Persistent,
    /// An executable that is an HTTP server.
    Server,
}

/// An initialisation that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Init {
    Fails,
    Panics,
    Exits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The time before it, by the wall clock and by the monotonic clock. Without workers the
    /// environment is frozen then, and the wall clock may be put back.
    pub(super) idle_ms: (i64, u64),
    pub(super) timeout_ms: u64,
    pub(super) act: Act,
    pub(super) event_bytes: usize,
}

/// What the handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Responds,
    Fails,
    /// Its response is over the limit.
    RespondsTooMuch,
    Panics,
    /// Another thread panics while it runs.
    IsPanickedOn,
    /// It responds after so many milliseconds.
    Sleeps(u64),
    /// It ends the process with this code.
    Exits(u8),
    /// The kernel kills the process.
    IsKilled,
    /// It streams so many parts, each after a pause.
    Streams {
        parts: usize,
        bytes: usize,
        pause_ms: u64,
        end: StreamEnd,
    },
}

/// How a handler ends what it streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Finishes,
    Fails,
    /// It drops the stream and ends the process. An executable is killed.
    Drops,
    Panics,
    /// Another thread panics. An executable breaks its protocol.
    IsPanickedOn,
}

/// How an executable ends what it does for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    Well,
    /// By the way that its protocol has for it.
    Fails,
    Breaks,
    Exits(u8),
    IsKilled,
}

impl Act {
    pub(super) const fn goes(self) -> Goes {
        match self {
            Self::Responds
            | Self::RespondsTooMuch
            | Self::Sleeps(_)
            | Self::Streams {
                end: StreamEnd::Finishes,
                ..
            } => Goes::Well,
            Self::Fails
            | Self::Streams {
                end: StreamEnd::Fails,
                ..
            } => Goes::Fails,
            Self::IsPanickedOn
            | Self::Streams {
                end: StreamEnd::IsPanickedOn,
                ..
            } => Goes::Breaks,
            Self::Panics
            | Self::Streams {
                end: StreamEnd::Panics,
                ..
            } => Goes::Exits(101),
            Self::Exits(code) => Goes::Exits(code),
            Self::IsKilled
            | Self::Streams {
                end: StreamEnd::Drops,
                ..
            } => Goes::IsKilled,
        }
    }

    /// How long the handler takes.
    pub(super) const fn takes_ms(self) -> u64 {
        match self {
            Self::Sleeps(ms) => ms,
            Self::Streams {
                parts, pause_ms, ..
            } => parts as u64 * pause_ms,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is refused.
    Refused,
    /// No connection is taken for so many exchanges.
    Gone(usize),
    /// The connection was closed while it was idle: nothing can be written.
    Closed,
    /// The connection is lost after this many bytes of the request, which the API drops.
    RequestCut(usize),
    /// The API acts on the request, and the connection is lost after this many bytes of the
    /// response.
    ResponseCut(usize),
    /// The API answers with this status and does nothing.
    Status(u16),
    /// The API answers with something that is not HTTP.
    Garbage,
    /// The API answers with an event that does not say which invocation it is.
    NoIdentity,
    /// The API announces an event over the limit.
    TooLarge,
    /// The API answers after so many milliseconds.
    Slow(u64),
    /// Another thread of the process panics before the exchange.
    PanicBefore,
    /// Another thread of the process panics after the exchange.
    PanicAfter,
    /// The kernel kills the process before the exchange.
    Kill,
    /// The kernel kills the process once the API has accepted an answer of it.
    KillAfter,
    /// The wall clock is set.
    Clock(i64),
}

/// How the life ends, once every invocation has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The API says that there are no more events.
    Gone,
    /// The platform kills every process.
    Killed,
    /// The platform sends SIGTERM first.
    Term,
}

impl Life {
    /// The life that a seed makes up.
    pub(super) fn of(seed: u64) -> Self {
        let mut author = Author(Jitter::new(seed));
        let kind = author.pick(&[
            Kind::Function,
            Kind::Function,
            Kind::Function,
            Kind::OneShot,
            Kind::Persistent,
            Kind::Server,
        ]);
        let is_streamed = author.chance(50);
        let start_ms = author.pick(&[0, 0, 5, 300]);
        let workers = if author.chance(15) {
            author.pick(&[2, 2, 3, 4])
        } else {
            0
        };
        let failed_inits = if kind != Kind::OneShot && author.chance(8) {
            let count = 1 + author.below(3);
            let inits = [Init::Fails, Init::Panics, Init::Exits];
            (0..count).map(|_| author.pick(&inits)).collect()
        } else {
            Vec::new()
        };
        let count = 1 + author.below(6);
        let invocations: Vec<Invocation> = (0..count).map(|_| author.invocation()).collect();
        // Three exchanges for each invocation reach beyond the end, where faults do no harm.
        let exchanges = 3 * invocations.len() + workers;
        let count = author.pick(&[0, 0, 1, 1, 2, 3, 5, 8]);
        let mut faults = Vec::new();
        for _ in 0..count {
            let (at, fault) = (author.below(exchanges), author.fault());
            // A fault may last for a few exchanges.
            let lasts = author.pick(&[1, 1, 1, 2, 3]);
            faults.extend((at..at + lasts).map(|at| (at, fault)));
        }
        faults.sort_by_key(|(at, _)| *at);
        let is_restored = workers == 0 && author.chance(10);
        let always_panics = kind == Kind::Function && author.chance(3);
        Self {
            seed,
            kind,
            is_streamed,
            start_ms,
            workers,
            failed_inits,
            is_restored,
            always_panics,
            invocations,
            faults,
            ending: author.pick(&[Ending::Gone, Ending::Killed, Ending::Term]),
        }
    }

    /// Whether the environment of workers ends as soon as the last answer has arrived, and not once
    /// each of them waits. The supervisor may answer once more then.
    pub(super) fn is_cut_off(&self) -> bool {
        self.workers != 0 && self.ending != Ending::Gone && self.seed.is_multiple_of(4)
    }

    /// Lives that lack one thing of this one, the largest first.
    pub(super) fn shorter(&self) -> Vec<Self> {
        let mut lives = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut life = self.clone();
            change(&mut life);
            lives.push(life);
        };
        for index in (0..self.invocations.len()).rev() {
            add(&|life| {
                life.invocations.remove(index);
            });
        }
        for index in (0..self.faults.len()).rev() {
            add(&|life| {
                life.faults.remove(index);
            });
        }
        if !self.failed_inits.is_empty() {
            add(&|life| {
                life.failed_inits.pop();
            });
        }
        if self.is_restored {
            add(&|life| life.is_restored = false);
        }
        if self.always_panics {
            add(&|life| life.always_panics = false);
        }
        if self.is_streamed {
            add(&|life| life.is_streamed = false);
        }
        if self.start_ms != 0 {
            add(&|life| life.start_ms = 0);
        }
        if 2 < self.workers {
            add(&|life| life.workers -= 1);
        }
        if self.ending != Ending::Gone {
            add(&|life| life.ending = Ending::Gone);
        }
        for (index, invocation) in self.invocations.iter().enumerate() {
            if invocation.act != Act::Responds {
                add(&|life| life.invocations[index].act = Act::Responds);
            }
            if invocation.idle_ms != (0, 0) {
                add(&|life| life.invocations[index].idle_ms = (0, 0));
            }
            if invocation.event_bytes != 0 {
                add(&|life| life.invocations[index].event_bytes = 0);
            }
        }
        lives
    }
}

struct Author(Jitter);

impl Author {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.random() % end as u64).unwrap()
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.0.random() % (most + 1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn invocation(&mut self) -> Invocation {
        let most = self.pick(&[0, 0, 50, 3_000, 7_200_000]);
        let (wall_ms, monotonic_ms) = (self.up_to(most), self.up_to(most));
        let is_put_back = self.chance(5);
        let wall_ms = wall_ms.cast_signed() * if is_put_back { -1 } else { 1 };
        let timeout_ms = self.pick(&[1_000, 3_000, 30_000]);
        let sleep_ms = self.up_to(timeout_ms + 2_000);
        let stream = Act::Streams {
            parts: self.below(4),
            bytes: self.pick(&[0, 10, 3_000, 70_000]),
            pause_ms: self.pick(&[0, 0, 5, timeout_ms / 2]),
            end: self.pick(&[
                StreamEnd::Finishes,
                StreamEnd::Finishes,
                StreamEnd::Fails,
                StreamEnd::Drops,
                StreamEnd::Panics,
                StreamEnd::IsPanickedOn,
            ]),
        };
        let act = match self.below(32) {
            0..12 => Act::Responds,
            12..14 => Act::Fails,
            14 => Act::RespondsTooMuch,
            15..18 => Act::Panics,
            18 => Act::IsPanickedOn,
            19..22 => Act::Sleeps(sleep_ms),
            22 => Act::Exits(self.pick(&[0, 1, 7])),
            23 => Act::IsKilled,
            _ => stream,
        };
        Invocation {
            idle_ms: (wall_ms, monotonic_ms),
            timeout_ms,
            act,
            event_bytes: self.pick(&[0, 10, 200, 9_000]),
        }
    }

    fn fault(&mut self) -> Fault {
        // Most heads are of 200 to 400 bytes.
        let bytes = self.below(450);
        match self.below(21) {
            0 => Fault::Refused,
            1 => Fault::Gone(self.pick(&[2, 5, 12, 20])),
            2 => Fault::Closed,
            3..6 => Fault::RequestCut(bytes),
            6..9 => Fault::ResponseCut(bytes),
            9..12 => Fault::Status(self.pick(&[204, 302, 400, 403, 404, 410, 413, 429, 500, 503])),
            12 => Fault::Garbage,
            13 => Fault::NoIdentity,
            14 => Fault::TooLarge,
            15 => Fault::Slow(self.pick(&[1, 30, 900, 5_000])),
            16 => Fault::PanicBefore,
            17 => Fault::PanicAfter,
            18 => Fault::Kill,
            19 => Fault::KillAfter,
            _ => Fault::Clock(self.pick(&[-86_400_000, -2_000, 2_000, 86_400_000])),
        }
    }
}
