//! Managed Instances: several invocations at once, each in a worker.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Entry, Initialization, Invoke, LogLine, Outcome, What};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::http::Client;
use testkit::pipe::named_pipe;
use testkit::process::{state, status};

use super::http_server;
use crate::support::{Env, answers, count, faulty, function, start, stock};

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
    all_poll(&env);
    env
}

fn all_poll(env: &Env) {
    let all = |_: &[Entry]| env.environments()[0].polls == WORKERS;
    env.wait_until("a poll of each worker", all).unwrap();
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
fn invocations_run_at_once_each_in_a_process_of_its_own() {
    let env = started(faulty());
    let events = vec![r#"{"do":"sleep","ms":300}"#.to_owned(); WORKERS];
    for outcome in at_once(&env, &events) {
        assert_eq!(error_type(&outcome), None);
    }
    let transcript = env.transcript();
    let accepted = |what: &What| matches!(what, What::Accepted { .. });
    let first = transcript
        .iter()
        .position(|entry| accepted(&entry.what))
        .unwrap();
    let sent = |what: &What| matches!(what, What::EventSent { .. });
    assert_eq!(
        count(&transcript[..first], sent),
        WORKERS,
        "all ran when the first answered"
    );
    all_poll(&env);
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
    all_poll(&env);
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
    all_poll(&env);
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
    let errors = |entries: &[Entry]| {
        let path = format!(
            "/2018-06-01/runtime/invocation/{}/error",
            outcome.request_id
        );
        count(
            entries,
            |what| matches!(what, What::Request { path: p, .. } if *p == path),
        )
    };
    all_poll(&env);
    assert_eq!(errors(&env.transcript()), 1);
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

/// Each kind of handler that streams more than the sockets hold, and its event.
fn streaming_handlers() -> [(Config, String); 4] {
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
fn stalled(env: &Env, event: &str) -> Client {
    let mut caller = Client::connect(env.invoke_addr());
    let path = "/2021-11-15/functions/function/response-streaming-invocations";
    caller.send("POST", path, &[], event.as_bytes());
    assert_eq!(caller.head().unwrap().status, 200);
    caller
}

#[test]
fn a_stream_does_not_wait_for_its_caller_beyond_the_deadline() {
    for (mut config, event) in streaming_handlers() {
        config.timeout = Duration::from_secs(2);
        let env = started(config);
        let before: BTreeSet<u32> = workers(&env).into_iter().collect();
        let mut caller = stalled(&env, &event);
        // The worker asks for the next event while its caller still takes nothing.
        all_poll(&env);
        env.wait_for_log("the caller had not taken the response shortly before the deadline");
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
    all_poll(&env);
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
