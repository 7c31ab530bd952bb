//! Managed Instances: several invocations at once, and an environment that ends with its process.

use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use bantam_emulator::{
    Config, Emulator, Error, Fault, FaultKind, Initialization, Invoke, InvokeKind, LogFormat,
    Outcome, Step, What,
};
use testkit::http::{Client, exchange};
use testkit::process::state;

use crate::support::{
    RuntimeClient as _, RuntimeResponse as _, count, echo, error_of, example, idler, json,
};

/// A function on Managed Instances.
fn managed(mut config: Config, max_concurrency: usize) -> Config {
    config.initialization = Initialization::ManagedInstances;
    config.max_concurrency = max_concurrency;
    config
}

/// An environment whose workers are these clients of the test. The first one waits for an event,
/// which is the init.
fn workers<const N: usize>(config: Config) -> (Emulator, [Client; N]) {
    let emulator = Emulator::start(config).unwrap();
    let clients = thread::scope(|scope| {
        let prepared = scope.spawn(|| emulator.prepare().unwrap());
        let spawned = |what: &What| matches!(what, What::Spawned { .. });
        let is_spawned = |entries: &[_]| count(entries, spawned) == 1;
        emulator.wait_until("process", is_spawned).unwrap();
        let api = emulator.environments()[0].runtime_api;
        let mut clients = std::array::from_fn(|_| Client::connect(api));
        poll(&mut clients[0]);
        prepared.join().unwrap();
        clients
    });
    (emulator, clients)
}

/// Sends `next` and leaves it open.
fn poll(client: &mut Client) {
    client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
}

/// Waits until so many polls are in the queue.
fn wait_for_polls(emulator: &Emulator, expected: usize) {
    let polled = |what: &What| matches!(what, What::Polled { polls } if *polls == expected);
    let are_there = |entries: &[_]| count(entries, polled) > 0;
    emulator.wait_until("polls", are_there).unwrap();
}

/// Invokes with each event on a thread of its own, in this order, while `play` runs.
fn while_invoked<T>(
    emulator: &Emulator,
    events: &[&str],
    play: impl FnOnce() -> T,
) -> (Vec<Outcome>, T) {
    thread::scope(|scope| {
        let started = |what: &What| matches!(what, What::InvokeStart { .. });
        let before = count(&emulator.transcript(), started);
        let mut invoked = Vec::new();
        for (n, event) in events.iter().enumerate() {
            invoked.push(scope.spawn(|| emulator.invoke(*event).unwrap()));
            let are_started = |entries: &[_]| count(entries, started) > before + n;
            emulator.wait_until("invocation", are_started).unwrap();
        }
        let played = play();
        let outcomes = invoked.into_iter().map(|outcome| outcome.join().unwrap());
        (outcomes.collect(), played)
    })
}

/// The status and the message of a refused invocation.
fn refused(result: Result<Outcome, Error>) -> (u16, String) {
    match result {
        Err(Error::Refused {
            status, message, ..
        }) => (status, message),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn memory_is_enforced() {
    let mut config = managed(echo(), 2);
    config.enforce_memory = true;
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"allocate","mb":200}"#).unwrap();
    let (error_type, message) = error_of(&outcome);
    assert_eq!(error_type, "Runtime.OutOfMemory");
    assert!(message.ends_with("signal: killed"), "{message}");
    let exceeded = |what: &What| matches!(what, What::MemoryExceeded { kb } if *kb > 128 * 1_024);
    assert!(count(&emulator.transcript(), exceeded) > 0);
}

#[test]
fn invocations_run_at_once_and_are_answered_in_any_order() {
    let (emulator, mut clients) = workers::<3>(managed(idler(), 3));
    poll(&mut clients[1]);
    wait_for_polls(&emulator, 2);
    poll(&mut clients[2]);
    wait_for_polls(&emulator, 3);
    let events = ["0", "1", "2"];
    let (outcomes, ()) = while_invoked(&emulator, &events, || {
        let environment = emulator.environments().remove(0);
        assert_eq!((environment.polls, environment.invocations), (0, 3));
        for n in [2, 0, 1] {
            let event = clients[n].response().unwrap();
            assert_eq!(
                event.text(),
                events[n],
                "the polls are served in their order"
            );
            let response = format!("\"{n}\"");
            let id = event.request_id();
            let answered = clients[n].report(&id, "response", &[], response.as_bytes());
            assert_eq!(answered.status, 202);
            let again = clients[n].report(&id, "response", &[], b"{}");
            let refusal = (again.status, again.error_type());
            assert_eq!(refusal, (400, "InvalidRequestID".to_owned()));
        }
    });
    let bodies: Vec<_> = outcomes.iter().map(|o| o.body.as_slice()).collect();
    assert_eq!(bodies, [b"\"0\"", b"\"1\"", b"\"2\""]);
    assert_eq!(emulator.environments().len(), 1);
}

/// Begins a streamed response.
fn begin(client: &mut Client, id: &str) {
    let head = format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\n\
         Transfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
    );
    client.write(head.as_bytes()).unwrap();
}

/// Sends a chunk of one byte.
fn write(client: &mut Client, byte: char) {
    client.write(format!("1\r\n{byte}\r\n").as_bytes()).unwrap();
}

#[test]
fn streamed_responses_do_not_mix() {
    let (emulator, mut clients) = workers::<2>(managed(idler(), 2));
    poll(&mut clients[1]);
    wait_for_polls(&emulator, 2);
    let path = "/2021-11-15/functions/function/response-streaming-invocations";
    let mut callers = [(); 2].map(|()| Client::connect(emulator.invoke_addr()));
    let mut ids = Vec::new();
    for (caller, client) in callers.iter_mut().zip(&mut clients) {
        caller.send("POST", path, &[], b"{}");
        let id = client.response().unwrap().request_id();
        begin(client, &id);
        ids.push(id);
    }
    for client in &mut clients {
        write(client, 'a');
    }
    for (client, byte) in clients.iter_mut().zip(['b', 'c']) {
        write(client, byte);
        client.write(b"0\r\n\r\n").unwrap();
        assert_eq!(client.response().unwrap().status, 202);
    }
    for (caller, byte) in callers.iter_mut().zip(['b', 'c']) {
        // Each payload stands at the end of its event, before a checksum of four bytes.
        let body = caller.response().unwrap().text();
        let parts = body.matches("PayloadChunk").count();
        assert!(parts == 2 && body.contains(byte), "{body:?}");
        assert!(body.contains("InvokeComplete"));
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_streamed_response_that_takes_too_long_is_cut_off_for_the_caller_alone() {
    let mut config = managed(idler(), 1);
    config.timeout = Duration::from_secs(1);
    let (emulator, mut clients) = workers::<1>(config);
    let [client] = &mut clients;
    let invoke = Invoke {
        streaming: true,
        ..Invoke::new("{}")
    };
    let outcome = thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke_with(invoke).unwrap());
        let id = client.response().unwrap().request_id();
        begin(client, &id);
        write(client, '1');
        invoked.join().unwrap()
    });
    let error_type = outcome.function_error.unwrap().error_type;
    assert_eq!(error_type, "Sandbox.Timedout");
    write(client, '2');
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.response().unwrap().error_type(), "InvokeTimeout");
    poll(client);
    wait_for_polls(&emulator, 1);
}

#[test]
fn an_invocation_that_finds_no_room_is_throttled() {
    let mut config = managed(idler(), 1);
    config.poll_wait = Duration::from_millis(10);
    let (emulator, mut clients) = workers::<2>(config);
    let (_, ()) = while_invoked(&emulator, &["{}"], || {
        let event = clients[0].response().unwrap();
        // As many run as may, whoever else waits.
        poll(&mut clients[1]);
        wait_for_polls(&emulator, 1);
        let (status, message) = refused(emulator.invoke("{}"));
        assert_eq!(status, 429);
        assert!(message.contains("Runtime.Unavailable"), "{message}");
        let path = "/2015-03-31/functions/function/invocations";
        let http = exchange(emulator.invoke_addr(), "POST", path, &[], b"{}").unwrap();
        assert_eq!(http.status, 429);
        let error_type = http.header("X-Amzn-Errortype");
        assert_eq!(error_type, Some("TooManyRequestsException"));
        clients[0].report(&event.request_id(), "response", &[], b"{}");
    });
    let (outcomes, ()) = while_invoked(&emulator, &["{}"], || {
        let event = clients[1].response().unwrap();
        clients[1].report(&event.request_id(), "response", &[], b"1");
    });
    assert_eq!(outcomes[0].body, b"1");
    // Nobody waits.
    assert_eq!(refused(emulator.invoke("{}")).0, 429);
}

#[test]
fn an_invocation_waits_for_a_worker_that_is_about_to_ask() {
    let mut config = managed(idler(), 2);
    config.poll_wait = Duration::from_secs(60);
    let (emulator, mut clients) = workers::<1>(config);
    let [client] = &mut clients;
    for _ in 0..3 {
        thread::scope(|scope| {
            let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
            let event = client.response().unwrap();
            client.report(&event.request_id(), "response", &[], b"{}");
            invoked.join().unwrap();
            let next = scope.spawn(|| emulator.invoke("{}").unwrap());
            let event = client.next();
            client.report(&event.request_id(), "response", &[], b"{}");
            assert_eq!(next.join().unwrap().function_error, None);
            poll(client);
        });
    }
}

#[test]
fn an_event_waits_in_its_queue_for_room() {
    let mut config = managed(idler(), 1);
    config.poll_wait = Duration::from_millis(10);
    let (emulator, mut clients) = workers::<1>(config);
    let [client] = &mut clients;
    let event = |text: &str| Invoke {
        kind: InvokeKind::Event,
        ..Invoke::new(text)
    };
    for text in ["\"first\"", "\"second\""] {
        assert_eq!(emulator.invoke_with(event(text)).unwrap().status, 202);
    }
    let mut seen = vec![client.response().unwrap()];
    client.report(&seen[0].request_id(), "response", &[], b"{}");
    seen.push(client.next());
    client.report(&seen[1].request_id(), "response", &[], b"{}");
    let mut texts: Vec<_> = seen.iter().map(testkit::http::Response::text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["\"first\"", "\"second\""]);
}

#[test]
fn a_lost_poll_costs_an_invocation() {
    let (emulator, mut clients) = workers::<2>(managed(idler(), 2));
    poll(&mut clients[1]);
    wait_for_polls(&emulator, 2);
    let disconnects =
        |entries: &[_]| count(entries, |what| matches!(what, What::Disconnected { .. })) == 1;
    clients[0].reconnect();
    emulator.wait_until("end", disconnects).unwrap();
    assert_eq!(emulator.environments()[0].polls, 2, "it stays in the queue");
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.Unknown");
    let (outcomes, ()) = while_invoked(&emulator, &["{}"], || {
        let event = clients[1].response().unwrap();
        clients[1].report(&event.request_id(), "response", &[], b"{}");
    });
    assert_eq!(outcomes[0].function_error, None);
}

#[test]
fn a_fault_can_lose_a_poll_that_waits() {
    let mut config = managed(idler(), 1);
    let patience = Duration::from_millis(1);
    config.faults = vec![Fault::new(Step::Next(0), FaultKind::ResetWaiting(patience))];
    let (emulator, mut clients) = workers::<1>(config);
    let [client] = &mut clients;
    let (_, error) = client.rest();
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.Unknown");
}

#[test]
fn the_queue_of_polls_has_an_end() {
    let mut config = managed(idler(), 2);
    config.polls_max = 2;
    let (emulator, mut clients) = workers::<3>(config);
    poll(&mut clients[1]);
    wait_for_polls(&emulator, 2);
    let refused = clients[2].next();
    let answer = (refused.status, refused.error_type());
    assert_eq!(answer, (500, "InternalServerError".to_owned()));
    let (outcomes, ()) = while_invoked(&emulator, &["{}"], || {
        let event = clients[0].response().unwrap();
        clients[0].report(&event.request_id(), "response", &[], b"{}");
        poll(&mut clients[2]);
    });
    assert_eq!(outcomes[0].function_error, None);
    let polled = |what: &What| matches!(what, What::Polled { .. });
    let has_room = |entries: &[_]| count(entries, polled) == 3;
    emulator.wait_until("room", has_room).unwrap();
}

#[test]
fn the_timeout_ends_the_wait_of_the_caller_alone() {
    let mut config = managed(idler(), 1);
    config.timeout = Duration::from_millis(200);
    let (emulator, mut clients) = workers::<1>(config);
    let [client] = &mut clients;
    let pid = emulator.environments()[0].pid.unwrap();
    for what in ["response", "error"] {
        let outcome = emulator.invoke("{}").unwrap();
        let (error_type, message) = error_of(&outcome);
        assert_eq!(error_type, "Sandbox.Timedout");
        assert!(message.ends_with("Task timed out after 0.20 seconds"));
        let event = client.response().unwrap();
        let mut late = || client.report(&event.request_id(), what, &[], b"{}");
        let answer = late();
        let gone = (answer.status, answer.error_type());
        assert_eq!(gone, (410, "InvokeTimeout".to_owned()));
        assert_eq!(late().status, 400, "it is told once");
        poll(client);
        wait_for_polls(&emulator, 1);
    }
    let environment = emulator.environments().remove(0);
    assert_eq!((environment.id, environment.pid), (0, Some(pid)));
    assert!(matches!(state(pid), Some('S' | 'R')));
    let ends = |what: &What| matches!(what, What::Killed | What::Reset { .. });
    assert_eq!(count(&emulator.transcript(), ends), 0);
}

#[test]
fn the_end_of_the_process_ends_the_environment_for_good() {
    let emulator = Emulator::start(managed(echo(), 3)).unwrap();
    emulator.prepare().unwrap();
    wait_for_polls(&emulator, 3);
    let events = [r#"{"do":"sleep"}"#, r#"{"do":"sleep"}"#, r#"{"do":"exit"}"#];
    let (outcomes, ()) = while_invoked(&emulator, &events, || ());
    for outcome in outcomes {
        let (error_type, message) = error_of(&outcome);
        assert_eq!(error_type, "Runtime.ExitError");
        assert!(message.ends_with("Runtime exited with error: exit status 1"));
    }
    let gone = |entries: &[_]| count(entries, |what| *what == What::Shutdown) == 1;
    emulator.wait_until("end of the environment", gone).unwrap();
    assert!(emulator.environments().is_empty());
    // Another environment takes its place.
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!((outcome.environment, outcome.function_error), (1, None));
    assert!(outcome.timing.cold);
}

#[test]
fn an_answer_in_the_socket_counts_though_the_process_ends() {
    let emulator = Emulator::start(managed(echo(), 1)).unwrap();
    let outcome = emulator.invoke(r#"{"do":"answer_and_exit"}"#).unwrap();
    assert_eq!(
        (outcome.body.as_slice(), outcome.function_error),
        (&b"\"last\""[..], None)
    );
}

#[test]
fn an_init_that_fails_is_not_repeated() {
    for (how, expected) in [
        ("error", "Function.NoLuck"),
        ("exit", "Runtime.ExitError"),
        ("hang", "Sandbox.Timedout"),
    ] {
        let mut config = managed(echo(), 2);
        config.env = vec![("ECHO_INIT".into(), how.into())];
        if how == "hang" {
            config.timeout = Duration::from_millis(300);
            config.init_timeout = Duration::from_millis(20);
        }
        let emulator = Emulator::start(config).unwrap();
        let outcome = emulator.invoke("{}").unwrap();
        assert_eq!(error_of(&outcome).0, expected, "{how}");
        let spawned = |what: &What| matches!(what, What::Spawned { .. });
        assert_eq!(count(&emulator.transcript(), spawned), 1, "{how}");
        assert!(emulator.environments().is_empty(), "{how}");
        let Err(Error::Init { error_type, .. }) = emulator.prepare() else {
            panic!("{how}: there is nothing to wait for");
        };
        assert_eq!(error_type, expected);
        assert!(emulator.environments().is_empty(), "{how}");
    }
}

#[test]
fn a_worker_that_fails_to_start_does_not_keep_the_others() {
    let emulator = Emulator::start(managed(idler(), 2)).unwrap();
    thread::scope(|scope| {
        let prepared = scope.spawn(|| emulator.prepare());
        let spawned = |what: &What| matches!(what, What::Spawned { .. });
        let is_spawned = |entries: &[_]| count(entries, spawned) == 1;
        emulator.wait_until("process", is_spawned).unwrap();
        let mut client = Client::connect(emulator.environments()[0].runtime_api);
        let mut report = || client.post("/2018-06-01/runtime/init/error", &[], b"{}");
        assert_eq!(report().status, 202);
        assert_eq!(report().error_type(), "InvalidStateTransition");
        poll(&mut client);
        prepared.join().unwrap().unwrap();
    });
    assert_eq!(emulator.environments()[0].polls, 1);
}

#[test]
fn an_init_error_of_a_worker_is_the_reason_when_the_process_ends() {
    let (emulator, mut clients) = workers::<2>(managed(idler(), 2));
    let pid = emulator.environments()[0].pid.unwrap();
    let (outcomes, ()) = while_invoked(&emulator, &["{}"], || {
        let header = ("Lambda-Runtime-Function-Error-Type", "Function.NoLuck");
        let body = br#"{"errorMessage":"no luck","errorType":"Function.NoLuck"}"#;
        let path = "/2018-06-01/runtime/init/error";
        let mut report = || clients[1].post(path, &[header], body);
        assert_eq!(report().status, 202, "others are ready");
        assert_eq!(report().status, 403);
        kill(pid);
    });
    let reason = ("Function.NoLuck".to_owned(), "no luck".to_owned());
    assert_eq!(error_of(&outcomes[0]), reason);
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_runtime_sees_the_headers_and_variables_of_managed_instances() {
    let mut config = managed(echo(), 2);
    config.log_format = LogFormat::Text;
    let emulator = Emulator::start(config).unwrap();
    let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    assert_eq!(variables["AWS_LAMBDA_MAX_CONCURRENCY"], "2");
    assert_eq!(variables["AWS_LAMBDA_LOG_FORMAT"], "JSON");
    assert!(variables.get("_X_AMZN_TRACE_ID").is_none());
    let headers = json(&emulator.invoke(r#"{"do":"headers"}"#).unwrap().body);
    let headers: Vec<&str> = headers
        .as_array()
        .unwrap()
        .iter()
        .map(|header| header.as_str().unwrap())
        .collect();
    for empty in [
        "Lambda-Runtime-Client-Context",
        "Lambda-Runtime-Cognito-Identity",
    ] {
        assert!(
            headers.contains(&format!("{empty}:").as_str()),
            "{headers:?}"
        );
    }
    let tenant = |header: &&str| header.starts_with("Lambda-Runtime-Aws-Tenant-Id");
    assert!(!headers.iter().any(tenant));
    let log = emulator.log();
    let platform = log.iter().filter(|line| line.platform);
    for line in platform {
        assert!(line.text.starts_with("{\"time\":"), "{}", line.text);
    }
}

#[test]
fn after_any_fault_the_function_is_served_again() {
    let kinds = [
        FaultKind::Refuse { times: 1 },
        FaultKind::Unreachable(Duration::from_millis(10)),
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::ResetWaiting(Duration::from_millis(1)),
        FaultKind::CutAt(20),
        FaultKind::CloseAt(20),
        FaultKind::SplitAt(20),
        FaultKind::ByteByByte,
        FaultKind::Delay(Duration::from_millis(10)),
        FaultKind::Garbage(b"no HTTP".to_vec()),
        FaultKind::Status(500, "{}".into()),
        FaultKind::EarlyStatus(500, "{}".into()),
    ];
    for kind in kinds {
        for at in [Step::Next(0), Step::Next(1), Step::Response(0)] {
            let mut config = managed(echo(), 2);
            config.timeout = Duration::from_millis(500);
            config.poll_wait = Duration::from_millis(100);
            config.faults = vec![Fault::new(at, kind.clone())];
            let emulator = Emulator::start(config).unwrap();
            let mut served = 0;
            for _ in 0..20 {
                match emulator.invoke("{}") {
                    Ok(outcome) if outcome.function_error.is_none() => served += 1,
                    Ok(_) | Err(Error::Refused { status: 429, .. }) => {}
                    Err(error) => panic!("{at:?} {kind:?}: {error}"),
                }
                if served == 3 {
                    break;
                }
            }
            assert_eq!(served, 3, "{at:?} {kind:?}");
        }
    }
}

#[test]
fn a_request_id_is_in_flight_once() {
    let (emulator, mut clients) = workers::<2>(managed(idler(), 2));
    poll(&mut clients[1]);
    wait_for_polls(&emulator, 2);
    let invoke = Invoke {
        request_id: Some("id".into()),
        ..Invoke::new("{}")
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| emulator.invoke_with(invoke.clone()).unwrap());
        let event = clients[0].response().unwrap();
        assert_eq!(refused(emulator.invoke_with(invoke.clone())).0, 400);
        clients[0].report(&event.request_id(), "response", &[], b"{}");
        assert_eq!(first.join().unwrap().function_error, None);
    });
}

/// The function with the example extension under the name `ext`, which does what it is asked.
fn with_extension(asked: &str, folder: &tempfile::TempDir) -> Config {
    let mut config = managed(echo(), 2);
    let link = folder.path().join("ext");
    symlink(example("extension"), &link).unwrap();
    config.extensions.push(link);
    config.env.push(("EXTENSION".into(), asked.into()));
    config
}

#[test]
fn telemetry_has_the_invocations_interleaved_and_no_runtime_done() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_extension("events=SHUTDOWN,log,telemetry", &folder);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    wait_for_polls(&emulator, 2);
    let long = r#"{"do":"sleep","ms":300}"#;
    let (outcomes, ()) = while_invoked(&emulator, &[long, "{}"], || ());
    let ids: Vec<_> = outcomes.iter().map(|o| o.request_id.clone()).collect();
    let report = emulator.stop();
    let lines = report.log.iter();
    let batches = lines.filter_map(|line| line.text.strip_prefix("telemetry "));
    let records: Vec<_> = batches
        .flat_map(|batch| json(batch.as_bytes()).as_array().unwrap().clone())
        .collect();
    let invocations: Vec<(String, String)> = records
        .iter()
        .filter(|record| record["record"]["requestId"].is_string())
        .map(|record| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (text(&record["type"]), text(&record["record"]["requestId"]))
        })
        .collect();
    // Nothing says which of the two begins first.
    let second = usize::from(invocations[0].1 == ids[0]);
    let expected = [
        ("platform.start", 1 - second),
        ("platform.start", second),
        ("platform.report", 1),
        ("platform.report", 0),
    ];
    assert_eq!(
        invocations,
        expected.map(|(kind, n)| (kind.to_owned(), ids[n].clone()))
    );
    let report = &records
        .iter()
        .rfind(|r| r["type"] == "platform.report")
        .unwrap()["record"];
    let metrics = report["metrics"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["durationMs"]);
    assert!(metrics["durationMs"].as_f64().unwrap() >= 300.0);
    let spans = report["spans"].as_array().unwrap().iter();
    let names: Vec<_> = spans.map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["responseLatency", "responseDuration"]);
    assert_eq!(report["status"], "success");
}

#[test]
fn an_extension_that_ends_takes_the_environment_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_extension("events=SHUTDOWN,log,exit=idle", &folder);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let extension = emulator.environments()[0].extensions[0].pid.unwrap();
    let (outcomes, ()) = while_invoked(&emulator, &[r#"{"do":"sleep"}"#], || kill(extension));
    assert_eq!(error_of(&outcomes[0]).0, "Extension.Crash");
    let gone = |entries: &[_]| count(entries, |what| *what == What::Shutdown) == 1;
    emulator.wait_until("end of the environment", gone).unwrap();
    assert!(emulator.environments().is_empty());
}

#[test]
fn the_runtime_gets_sigterm_and_its_share_before_the_extensions_are_shut_down() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_extension("events=SHUTDOWN,log", &folder);
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let entries = emulator.stop().transcript;
    let at = |test: fn(&What) -> bool| {
        let found = entries.iter().position(|entry| test(&entry.what));
        found.unwrap_or_else(|| panic!("{entries:#?}"))
    };
    let terminated = at(|what| *what == What::Terminated);
    assert!(
        terminated
            < at(|what| matches!(
                what,
                What::Exited {
                    signal: Some(15),
                    ..
                }
            ))
    );
    let told = |what: &What| {
        matches!(
            what,
            What::ExtensionEventSent {
                event: "SHUTDOWN",
                request_id: None,
                ..
            }
        )
    };
    assert!(terminated < at(told));
}
