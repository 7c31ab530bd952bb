//! What the platform saw of each invocation: it began once, ended once, and one answer at most was
//! accepted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bantam_emulator::{Emulator, Seen, What};

/// What has been seen so far, by a thread that keeps up with the emulator.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    seen: Mutex<Account>,
    /// The number of the last request that the platform read, of any process.
    requests: AtomicUsize,
    /// Whether the emulator is gone.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Account {
    open: HashMap<String, Counts>,
    /// Invocations that ended, the last of them: nothing may come behind.
    ended: VecDeque<(String, Counts)>,
    /// Their number.
    done: u64,
    /// Every process that was started.
    processes: Vec<u32>,
    /// Points that were lost on the way to OTLP receivers, as the extensions say at their ends.
    lost_points: u64,
    killed: u64,
    killed_waiting: usize,
    unanswered: HashSet<String>,
    faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    begun: u32,
    accepted: u32,
    /// The connection that the event was sent on, while it is open.
    connection: Option<usize>,
}

impl Outcomes {
    /// Watches everything that happens from now on.
    pub(crate) fn watch(emulator: &Emulator) -> Watched {
        let outcomes = Arc::new(Self::default());
        let (seeing, receiver) = (Arc::clone(&outcomes), emulator.watch());
        let thread = thread::spawn(move || seeing.read(&receiver));
        Watched { outcomes, thread }
    }

    fn read(&self, receiver: &Receiver<Seen>) {
        loop {
            let seen = match receiver.recv_timeout(PAUSE) {
                Ok(seen) => seen,
                Err(RecvTimeoutError::Timeout) if !self.is_over.load(Ordering::Relaxed) => continue,
                Err(_) => return,
            };
            let mut account = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match seen {
                Seen::Entry(entry) => {
                    if let What::Request { request, .. } = entry.what {
                        self.requests.store(request, Ordering::Relaxed);
                    } else {
                        account.see(entry.what);
                    }
                }
                Seen::Line(line) if line.extension.is_some() => {
                    account.lost_points += lost_points(&line.text);
                }
                Seen::Line(line) if line.text.contains(KILLED_WAITING) => {
                    account.killed_waiting += 1;
                }
                Seen::Line(_) => {}
            }
        }
    }

    /// The number of the last request that the platform read.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The thread that sees, and what it saw.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) outcomes: Arc<Outcomes>,
    thread: thread::JoinHandle<()>,
}

/// What was seen from the beginning to the end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Invocations that began and ended.
    pub(crate) done: u64,
    pub(crate) processes: Vec<u32>,
    pub(crate) lost_points: u64,
    /// Extensions that did not end in their time after SHUTDOWN. What they had is lost.
    pub(crate) killed: u64,
    /// Workers that were killed while they waited for an event, as their supervisor says.
    pub(crate) killed_waiting: usize,
    /// Invocations without an answer, which had no connection any more when they ended.
    pub(crate) unanswered: HashSet<String>,
    pub(crate) faults: Vec<String>,
}

impl Watched {
    /// Waits until all is seen. The emulator has to be gone.
    pub(crate) fn end(self) -> Told {
        self.outcomes.is_over.store(true, Ordering::Relaxed);
        // A panic of the thread was printed by it, and the counts do not add up then.
        self.thread.join().ok();
        let mut account = self.outcomes.seen.lock();
        let account = account.as_deref_mut();
        let account = account.map(std::mem::take).unwrap_or_default();
        let mut faults = account.faults;
        for (id, counts) in &account.open {
            faults.push(format!("invocation {id} did not end: {counts:?}"));
        }
        Told {
            done: account.done,
            processes: account.processes,
            lost_points: account.lost_points,
            killed: account.killed,
            killed_waiting: account.killed_waiting,
            unanswered: account.unanswered,
            faults,
        }
    }
}

impl Account {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what else happens is not counted"
    )]
    fn see(&mut self, what: What) {
        match what {
            What::InvokeStart { request_id } => self.open.entry(request_id).or_default().begun += 1,
            What::EventSent {
                connection,
                request_id,
                ..
            } => {
                if let Some(counts) = self.open.get_mut(&request_id) {
                    counts.connection = Some(connection);
                }
            }
            What::Disconnected { connection } => {
                for counts in self.open.values_mut() {
                    counts.connection = counts.connection.filter(|own| *own != connection);
                }
            }
            What::Accepted { request_id, .. } => {
                if let Some(counts) = self.open.get_mut(&request_id) {
                    counts.accepted += 1;
                } else {
                    let late = self.ended.iter().rev().find(|(id, _)| *id == request_id);
                    // On Managed Instances the caller may be answered before.
                    if late.is_none_or(|(_, counts)| counts.accepted != 0) {
                        self.faults.push(format!("{request_id} is answered again"));
                    }
                }
            }
            What::InvokeDone { request_id, .. } => {
                let counts = self.open.remove(&request_id).unwrap_or_default();
                if counts.begun != 1 || 1 < counts.accepted {
                    self.faults
                        .push(format!("invocation {request_id} ended with {counts:?}"));
                }
                if counts.accepted == 0 && counts.connection.is_none() {
                    self.unanswered.insert(request_id.clone());
                }
                self.done += 1;
                self.ended.push_back((request_id, counts));
                if ENDED_MAX < self.ended.len() {
                    self.ended.pop_front();
                }
            }
            What::ExtensionShutdown { killed: true, .. } => self.killed += 1,
            What::Spawned { pid } | What::ExtensionSpawned { pid, .. } => self.processes.push(pid),
            _ => {}
        }
    }
}

/// The points of "17 points and 0 spans ... were lost in the life of this environment".
fn lost_points(line: &str) -> u64 {
    if !line.contains("were lost in the life of this environment") {
        return 0;
    }
    let before = line.split_once(" points").map(|(before, _)| before);
    let digits = before.and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What the supervisor says of such a worker.
const KILLED_WAITING: &str = "(SIGKILL) while it waited for an event";

/// How long nothing may come until it is asked whether the emulator is gone.
const PAUSE: Duration = Duration::from_millis(200);

/// Invocations that are remembered after their end.
const ENDED_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_an_extension_are_read() {
        let line = "WARN 42 points and 3 spans for OTLP receivers and 1 lines or datagrams were lost \
                    in the life of this environment";
        assert_eq!(lost_points(line), 42);
        assert_eq!(lost_points("42 points"), 0);
    }

    #[test]
    fn a_second_answer_is_a_fault() {
        let id = || "id".to_owned();
        let accepted = || What::Accepted {
            request_id: id(),
            error: false,
        };
        let mut account = Account::default();
        account.see(What::InvokeStart { request_id: id() });
        account.see(accepted());
        account.see(What::InvokeDone {
            request_id: id(),
            error: None,
        });
        assert!(account.faults.is_empty());
        account.see(accepted());
        assert_eq!(account.faults.len(), 1);
    }

    #[test]
    fn an_invocation_is_unanswered_if_its_connection_has_ended_before_the_answer() {
        let mut account = Account::default();
        let ids = ["answered", "open", "ended", "unsent"];
        for (connection, id) in ids.into_iter().enumerate() {
            let request_id = id.to_owned();
            account.see(What::InvokeStart { request_id });
            if id != "unsent" {
                account.see(What::EventSent {
                    connection,
                    request_id: id.to_owned(),
                    invocation_id: String::new(),
                });
            }
        }
        account.see(What::Accepted {
            request_id: "answered".to_owned(),
            error: false,
        });
        for connection in [0, 2] {
            account.see(What::Disconnected { connection });
        }
        for id in ids {
            account.see(What::InvokeDone {
                request_id: id.to_owned(),
                error: None,
            });
        }
        let unanswered = ["ended", "unsent"].map(str::to_owned);
        assert_eq!(account.unanswered, HashSet::from(unanswered));
    }
}
