//! Managed Instances: several invocations at once, each in a worker.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Entry, Initialization, Invoke, LogLine, Outcome, What};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::child::Child;
use testkit::http::Client;
use testkit::pipe::named_pipe;
use testkit::process::{state, status};

use super::http_server;
use crate::support::{Env, answers, count, ended_late, faulty, function, start, stock};

const WORKERS: usize = 4;

/// A function with so many workers.
fn managed(mut config: Config) -> Config {
    config.initialization = Initialization::ManagedInstances;
    config.max_concurrency = WORKERS;
    config
}

/// Starts it, and waits until every worker asks for an event.
fn started(config: Config) -> Env {
    let env = start(managed(config));
    env.prepare().unwrap();
    env.wait_for_polls(WORKERS);
    env
}

/// Invokes with all events at once.
fn at_once(env: &Env, events: &[String]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let mut invoked = Vec::new();
        for event in events {
            invoked.push(scope.spawn(|| env.invoke(event.clone()).unwrap()));
        }
        let outcomes = invoked.into_iter().map(|outcome| outcome.join().unwrap());
        outcomes.collect()
    })
}

fn error_type(outcome: &Outcome) -> Option<&str> {
    let error = outcome.function_error.as_ref()?;
    Some(error.raw_type.as_deref().unwrap_or(&error.error_type))
}

fn process(env: &Env) -> u64 {
    env.respond(r#"{"do":"process"}"#)["pid"].as_u64().unwrap()
}

/// The process ids of the workers: the children of the first process.
fn workers(env: &Env) -> Vec<u32> {
    let pid = env.environments()[0].pid.unwrap();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn each_worker_is_a_process_of_its_own() {
    let env = started(faulty());
    env.wait_for_polls(WORKERS);
    // The oldest poll gets the next event, so each worker gets one of so many.
    let processes: BTreeSet<u64> = (0..WORKERS).map(|_| process(&env)).collect();
    assert_eq!(processes.len(), WORKERS);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_panic_breaks_one_invocation_and_its_worker_serves_the_next() {
    let env = started(faulty());
    let panic = r#"{"do":"panic","message":"boom"}"#.to_owned();
    let mut events = vec![r#"{"do":"sleep","ms":300}"#.to_owned(); WORKERS - 1];
    events.push(panic);
    let before: BTreeSet<u32> = workers(&env).into_iter().collect();
    let outcomes = at_once(&env, &events);
    let [neighbours @ .., broken] = &*outcomes else {
        panic!("{outcomes:?}");
    };
    assert_eq!(error_type(broken), Some("Function.Panic"));
    assert!(
        neighbours
            .iter()
            .all(|outcome| error_type(outcome).is_none())
    );
    assert_eq!(answers(&env, broken), 1);
    env.wait_for_polls(WORKERS);
    let after: BTreeSet<u32> = workers(&env).into_iter().collect();
    assert_eq!(before, after, "it starts again in place");
}

#[test]
fn the_invocation_of_a_worker_that_is_killed_is_answered_and_the_worker_replaced() {
    let folder = tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = stock("handler.sh");
    config
        .env
        .push(("PIPE".to_owned(), pipe.to_str().unwrap().to_owned()));
    let env = started(config);
    let outcome = thread::scope(|scope| {
        let invoked = scope.spawn(|| env.invoke(r#"{"do":"stay"}"#).unwrap());
        let handler: u32 = fs::read_to_string(&pipe).unwrap().trim().parse().unwrap();
        kill(u32::try_from(status(handler).ppid).unwrap());
        invoked.join().unwrap()
    });
    assert_eq!(error_type(&outcome), Some("Runtime.ExitError"));
    let document: Value = serde_json::from_slice(&outcome.body).unwrap();
    let message = "the process ended with signal: 9 (SIGKILL) before it had answered, as when \
        there is not enough memory";
    assert_eq!(document["errorMessage"], message);
    assert_eq!(answers(&env, &outcome), 1);
    env.wait_for_polls(WORKERS);
    assert_eq!(workers(&env).len(), WORKERS);
    for _ in 0..=WORKERS {
        assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
    }
    env.wait_for_log("ended with signal: 9 (SIGKILL); it is started again in 0 ms");
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_worker_past_its_deadline_is_reported_once_and_replaced() {
    let mut config = faulty();
    config.timeout = Duration::from_secs(1);
    let env = started(config);
    let before: BTreeSet<u32> = workers(&env).into_iter().collect();
    let outcome = env.invoke(r#"{"do":"sleep","ms":600000}"#).unwrap();
    assert!(outcome.function_error.is_some());
    env.wait_for_polls(WORKERS);
    let path = format!(
        "/2018-06-01/runtime/invocation/{}/error",
        outcome.request_id
    );
    let transcript = env.transcript();
    let errors = transcript.iter().filter_map(|entry| match &entry.what {
        What::Request {
            path: p, headers, ..
        } if *p == path => Some(headers),
        _ => None,
    });
    let name = "lambda-runtime-function-error-type";
    let errors: Vec<_> = errors
        .map(|headers| headers.iter().find(|header| header.0 == name).unwrap())
        .collect();
    assert_eq!(errors, [&(name.to_owned(), "Function.Timeout".to_owned())]);
    env.wait_for_log("the invocation went on at the deadline, so its process was replaced");
    let after: BTreeSet<u32> = workers(&env).into_iter().collect();
    assert_eq!(
        before.intersection(&after).count(),
        WORKERS - 1,
        "its neighbours run on"
    );
    for _ in 0..=WORKERS {
        process(&env);
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_single_worker_past_its_deadline_is_replaced_as_well() {
    let mut config = managed(faulty());
    config.max_concurrency = 1;
    config.timeout = Duration::from_secs(1);
    let env = start(config);
    let outcome = env.invoke(r#"{"do":"sleep","ms":600000}"#).unwrap();
    assert!(outcome.function_error.is_some());
    env.wait_for_log("the invocation went on at the deadline, so its process was replaced");
    process(&env);
    assert_eq!(env.spawned(), 1);
}

/// Each kind of handler that streams more than the sockets hold, and its event.
pub(super) fn streaming_handlers() -> [(Config, String); 4] {
    let set = |config: &mut Config, name: &str, value: &str| {
        config.env.push((name.to_owned(), value.to_owned()));
    };
    let mut executable = stock("streaming.sh");
    set(&mut executable, "BANTAM_INVOKE_MODE", "response_stream");
    set(&mut executable, "BYTES", "100000000");
    let mut persistent = stock("persistent.sh");
    set(&mut persistent, "BANTAM_HANDLER_MODE", "persistent");
    let mut server = http_server::server("");
    set(&mut server, "AWS_LWA_INVOKE_MODE", "response_stream");
    let texts = json!(["x".repeat(1_000_000)]);
    [
        (
            faulty(),
            format!(r#"{{"stream":{texts},"times":100,"end":"finish"}}"#),
        ),
        (executable, r#"{"do":"large"}"#.to_owned()),
        (persistent, r#"{"do":"stream-large"}"#.to_owned()),
        (server, http_server::event("GET", "/large?100000000")),
    ]
}

/// A caller who takes the head of the response and nothing more.
pub(super) fn stalled(env: &Env, event: &str) -> Client {
    let mut caller = Client::connect(env.invoke_addr());
    let path = "/2021-11-15/functions/function/response-streaming-invocations";
    caller.send("POST", path, &[], event.as_bytes());
    assert_eq!(caller.head().unwrap().status, 200);
    caller
}

/// Streams to a caller who stalls, until the function gives up waiting for him.
///
/// It waits only once the sockets are full, and how long it takes to fill them depends on the
/// machine. Where the deadline comes before that, a later one is tried.
pub(super) fn given_up(
    config: &Config,
    event: &str,
    mut start: impl FnMut(Config) -> Env,
) -> (Env, Client) {
    let timed_out = |lines: &[LogLine]| {
        let ends = ["Function.Timeout", "Task timed out"];
        let mut all = lines.iter();
        all.any(|line| ends.iter().any(|end| line.text.contains(end)))
    };
    for seconds in [2, 8, 30] {
        // The API refuses the next call while the caller stalls, so the runtime would exit at last.
        let grace = Duration::from_millis(500);
        let env = start(ended_late(config.clone(), seconds, grace));
        let caller = stalled(&env, event);
        env.wait_for_log_line("the deadline", timed_out);
        let given_up = "the caller had not taken the response shortly before the deadline";
        if env.function_log().contains(given_up) {
            return (env, caller);
        }
    }
    panic!("the sockets are never full");
}

#[test]
fn a_stream_does_not_wait_for_its_caller_beyond_the_deadline() {
    for (config, event) in streaming_handlers() {
        let mut before = BTreeSet::new();
        let (env, mut caller) = given_up(&config, &event, |config| {
            let env = started(config);
            before = workers(&env).into_iter().collect();
            env
        });
        // The worker asks for the next event while its caller still takes nothing.
        env.wait_for_polls(WORKERS);
        let after: BTreeSet<u32> = workers(&env).into_iter().collect();
        assert_eq!(before, after, "no worker is lost");
        // What it took stays a part: the platform says that it failed.
        let mut rest = Vec::new();
        while let Some(chunk) = caller.chunk().unwrap() {
            rest = chunk;
        }
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains("InvokeComplete"), "{rest}");
        assert!(rest.contains("ErrorCode"), "{rest}");
        let failed = |what: &What| matches!(what, What::InvokeDone { error: Some(_), .. });
        assert_eq!(count(&env.transcript(), failed), 1);
        assert_eq!(env.spawned(), 1);
    }
}

/// Its writes do not wait for the caller, so nothing in the process notices the deadline.
#[test]
fn a_worker_that_streams_past_its_deadline_is_replaced() {
    let mut config = faulty();
    config.timeout = Duration::from_secs(1);
    let env = started(config);
    let before: BTreeSet<u32> = workers(&env).into_iter().collect();
    let outcome = env.invoke(r#"{"stream":["one"],"end":"hang"}"#).unwrap();
    assert!(outcome.function_error.is_some());
    env.wait_for_log("the invocation went on at the deadline, so its process was replaced");
    env.wait_for_polls(WORKERS);
    let after: BTreeSet<u32> = workers(&env).into_iter().collect();
    assert_eq!(before.intersection(&after).count(), WORKERS - 1);
}

#[test]
fn the_failed_initialisation_of_all_workers_is_reported_once() {
    for (how, error_type) in [("error", "Error"), ("panic", "Function.Panic")] {
        let mut config = managed(faulty());
        config.env.push(("FAULTY_INIT".to_owned(), how.to_owned()));
        let env = start(config);
        env.prepare().unwrap_err();
        let report = env.stop();
        let init_errors = report
            .transcript
            .iter()
            .filter_map(|entry| match &entry.what {
                What::Request { path, headers, .. } if path.ends_with("/init/error") => {
                    Some(headers)
                }
                _ => None,
            });
        let types: Vec<_> = init_errors
            .map(|headers| {
                let name = "lambda-runtime-function-error-type";
                let (_, value) = headers.iter().find(|(n, _)| n == name).unwrap();
                value.rsplit('.').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(types, [error_type.rsplit('.').next().unwrap()], "{how}");
    }
}

#[test]
fn the_trace_header_is_in_no_variable_of_xray() {
    let invoke = |event: &str| Invoke {
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        ..Invoke::new(event)
    };
    for config in [faulty(), stock("handler.sh")] {
        let env = started(config);
        let outcome = env.invoke_with(invoke(r#"{"do":"context"}"#)).unwrap();
        let context: Value = serde_json::from_slice(&outcome.body).unwrap();
        assert_eq!(
            context["traceId"],
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"
        );
        let variable = &context["traceVariable"];
        assert!(variable.is_null() || variable == "", "{context}");
    }
}

#[test]
fn a_persistent_handler_runs_in_each_worker() {
    let mut config = stock("persistent.sh");
    let mode = ("BANTAM_HANDLER_MODE".to_owned(), "persistent".to_owned());
    config.env.push(mode);
    let env = started(config);
    let handlers = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let all = workers(&env);
    let handlers: Vec<_> = all.iter().map(|pid| handlers(pid).unwrap()).collect();
    assert!(
        handlers.iter().all(|children| !children.is_empty()),
        "{handlers:?}"
    );
}

#[test]
fn a_persistent_handler_that_asks_for_it_gets_sigterm_in_each_worker() {
    let mut config = stock("persistent.sh");
    for (name, value) in [("BANTAM_HANDLER_MODE", "persistent"), ("FIRST", "gentle")] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    let report = started(config).stop();
    let said = report.log.iter();
    let said = said.filter(|line| line.text.contains("closing the database"));
    assert_eq!(said.count(), WORKERS, "{:?}", report.log);
}

#[test]
fn workers_do_not_outlive_a_supervisor_that_is_killed() {
    let env = started(faulty());
    let all = workers(&env);
    assert_eq!(all.len(), WORKERS);
    kill(env.environments()[0].pid.unwrap());
    let start = Instant::now();
    let runs = |pid: &u32| !matches!(state(*pid), None | Some('Z' | 'X'));
    while all.iter().any(runs) {
        assert!(start.elapsed() < Duration::from_secs(10), "they go on");
        thread::yield_now();
    }
}

/// The function with so many processes at most. Of root's processes the kernel counts none, so it
/// runs as the user that is named, of whom there are no others.
fn limited(folder: &Path, user: u32, processes: usize) -> Config {
    let mut config = faulty();
    let program = folder.join("bootstrap");
    fs::copy(&config.program, &program).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    let words = [
        "prlimit",
        &format!("--nproc={processes}"),
        "setpriv",
        &format!("--reuid={user}"),
        "--clear-groups",
        program.to_str().unwrap(),
    ];
    config.program = "/usr/bin/env".into();
    config.args = words.map(str::to_owned).to_vec();
    config
}

/// A user id for each test of each run.
fn user(test: u32) -> u32 {
    100_000 + 10 * std::process::id() + test
}

/// One more process of the user, which runs when this returns.
fn another_process(folder: &Path, user: u32) -> Child {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), "--clear-groups"]);
    command.args(["sh", "-c", "echo here; exec sleep 600"]);
    let mut child = Child::start(&mut command, folder, "another");
    while child.stdout() != "here\n" {
        assert_eq!(child.exited_within(Duration::from_millis(10)), None);
    }
    child
}

#[test]
#[ignore = "needs root"]
fn a_worker_that_cannot_be_started_is_given_up_and_the_others_serve() {
    let folder = tempdir().unwrap();
    let env = started(limited(folder.path(), user(0), WORKERS + 1));
    let all = workers(&env);
    let mut another = another_process(folder.path(), user(0));
    kill(all[0]);
    let fault = "worker 0 cannot be started: Resource temporarily unavailable (os error 11); it is";
    for end in ["started again in 50 ms", "not started again"] {
        env.wait_for_log(&format!("{fault} {end}"));
    }
    // The platform keeps the place of a worker that was killed while it waited.
    let broken = |_: &usize| {
        let outcome = env.invoke(r#"{"do":"process"}"#).unwrap();
        outcome.function_error.is_some()
    };
    assert_eq!((0..WORKERS).filter(broken).count(), 1);
    assert_eq!((0..WORKERS).filter(broken).count(), 0);
    assert_eq!(workers(&env), all[1..]);

    // There is room for one again.
    another.stop();
    env.wait_for_polls(WORKERS - 1);
    kill(all[1]);
    env.wait_for_log("worker 1 ended with signal: 9 (SIGKILL) while it waited for an event; it is");
    assert_eq!((0..WORKERS).filter(broken).count(), 1);
    assert_eq!(workers(&env).len(), WORKERS - 1);
    let _others: Vec<_> = (0..WORKERS)
        .map(|_| another_process(folder.path(), user(0)))
        .collect();
    for pid in workers(&env) {
        kill(pid);
    }
    env.wait_until("end", ended_with_1).unwrap();
    env.wait_for_log("no worker can serve invocations");
}

#[test]
#[ignore = "needs root"]
fn an_init_error_says_why_no_worker_can_be_started() {
    let folder = tempdir().unwrap();
    let env = start(managed(limited(folder.path(), user(1), 1)));
    env.prepare().unwrap_err();
    env.wait_until("end", ended_with_1).unwrap();
    let transcript = env.transcript();
    let reports = transcript.iter().filter_map(|entry| match &entry.what {
        What::Request { path, body, .. } if path.ends_with("/init/error") => Some(body),
        _ => None,
    });
    let reports: Vec<Value> = reports
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let [error] = &*reports else {
        panic!("{reports:?}");
    };
    assert_eq!(error["errorType"], "Runtime.WorkerFailed");
    let message = "worker 3 cannot be started: Resource temporarily unavailable (os error 11)";
    assert_eq!(error["errorMessage"], message);
}

/// The first process has ended with 1, once.
fn ended_with_1(entries: &[Entry]) -> bool {
    let exited = |what: &What| {
        matches!(
            what,
            What::Exited {
                code: Some(1),
                signal: None
            }
        )
    };
    count(entries, exited) == 1
}

#[test]
fn the_hook_before_the_end_runs_in_each_worker_and_the_supervisor_is_registered() {
    let env = started(function("hooks"));
    let registered = |what: &What| {
        matches!(
            what,
            What::ExtensionRegistered {
                external: false,
                ..
            }
        )
    };
    assert_eq!(count(&env.transcript(), registered), 1);
    let report = env.stop();
    let ran = |line: &&LogLine| line.text.contains("hook shutdown");
    assert_eq!(report.log.iter().filter(ran).count(), WORKERS);
}

#[test]
fn sigterm_goes_on_to_the_workers_and_ends_the_supervisor_well() {
    let env = started(faulty());
    let pid = env.environments()[0].pid.unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let exited = |what: &What| {
        matches!(
            what,
            What::Exited {
                code: Some(0),
                signal: None
            }
        )
    };
    let is_over = |entries: &[Entry]| count(entries, exited) == 1;
    env.wait_until("end", is_over).unwrap();
    env.wait_for_log("stopped by a signal");
}
