//! The rules of an external extension.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::lab::{Asked, Lab, Miss, Probed, Run, SIGKILL, ensure};
use super::raw::{INTERNAL_ERROR, REQUEST_ID, Raw, in_ms};
use super::rule::Level::{Contract, Practice};
use super::rule::Rule;
use super::source::{EXTENSIONS_API, RFC_9112, RIE, TELEMETRY_API};
use crate::fault::{FaultKind, Step};
use crate::record::transcript::What;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "register.name",
        level: Contract,
        text: "The extension registers under its file's name.",
        source: EXTENSIONS_API,
        needs: None,
        probe: register,
    },
    Rule {
        id: "register.status-500",
        level: Contract,
        text: "The extension exits promptly when its registration meets 500.",
        source: EXTENSIONS_API,
        needs: None,
        probe: |lab| exits(lab, Step::Register(0)),
    },
    Rule {
        id: "next.identifier",
        level: Contract,
        text: "Each request for an event has the identifier from the registration, and none is \
               refused.",
        source: EXTENSIONS_API,
        needs: None,
        probe: identifier,
    },
    Rule {
        id: "next.after-invoke",
        level: Contract,
        text: "The extension asks for the next event after each invocation.",
        source: EXTENSIONS_API,
        needs: None,
        probe: after_invoke,
    },
    Rule {
        id: "next.status-500",
        level: Contract,
        text: "The extension exits promptly when its request for an event meets 500.",
        source: EXTENSIONS_API,
        needs: None,
        probe: |lab| exits(lab, Step::ExtensionNext(0)),
    },
    Rule {
        id: "event.byte-by-byte",
        level: Contract,
        text: "The extension reads an event that comes one byte at a time.",
        source: RFC_9112,
        needs: None,
        probe: byte_by_byte,
    },
    Rule {
        id: "event.split",
        level: Contract,
        text: "The extension reads an event that comes in two parts, wherever it is split.",
        source: RFC_9112,
        needs: None,
        probe: split,
    },
    Rule {
        id: "event.unknown-members",
        level: Practice,
        text: "The extension ignores members of an event that it does not know.",
        source: EXTENSIONS_API,
        needs: None,
        probe: |lab| raw(lab, json!({ "new": { "feature": [1] } })),
    },
    Rule {
        id: "event.no-tracing",
        level: Practice,
        text: "The extension takes an event without tracing, as AWS's emulator sends it.",
        source: RIE,
        needs: None,
        probe: |lab| raw(lab, json!({})),
    },
    Rule {
        id: "shutdown.exit",
        level: Contract,
        text: "The extension exits by itself within the time that SHUTDOWN gives it.",
        source: EXTENSIONS_API,
        needs: None,
        probe: shutdown,
    },
    Rule {
        id: "shutdown.exit-status",
        level: Practice,
        text: "It exits with the status 0: any other is recorded as Extension.ExitError.",
        source: RIE,
        needs: None,
        probe: exit_status,
    },
    Rule {
        id: "shutdown.unknown-reason",
        level: Practice,
        text: "It takes a reason that it does not know, as AWS's emulator gives one.",
        source: RIE,
        needs: None,
        probe: unknown_reason,
    },
    Rule {
        id: "shutdown.after-crash",
        level: Contract,
        text: "It exits in time when the environment ends because the runtime crashed.",
        source: EXTENSIONS_API,
        needs: Some("crash"),
        probe: after_crash,
    },
    Rule {
        id: "connection.event-cut",
        level: Practice,
        text: "The extension does not end, and the environment with it, when an event is cut off.",
        source: RIE,
        needs: None,
        probe: |lab| lives(lab, FaultKind::CutAt(40)),
    },
    Rule {
        id: "telemetry.not-supported",
        level: Practice,
        text: "The extension lives on where there is no Telemetry API, as in AWS's emulator: 202, \
               Telemetry.NotSupported.",
        source: RIE,
        needs: None,
        probe: |lab| no_telemetry(lab, 202),
    },
    Rule {
        id: "telemetry.refused",
        level: Practice,
        text: "The extension lives on when its subscription is refused with 400.",
        source: TELEMETRY_API,
        needs: None,
        probe: |lab| no_telemetry(lab, 400),
    },
    Rule {
        id: "telemetry.deliveries",
        level: Contract,
        text: "The extension takes each delivery: the platform sends again what is not answered \
               with 200.",
        source: TELEMETRY_API,
        needs: None,
        probe: deliveries,
    },
    Rule {
        id: "telemetry.strangers",
        level: Practice,
        text: "The extension lives on when others speak to its listener: bytes that are not HTTP, \
               requests that are no deliveries, a connection without a request.",
        source: TELEMETRY_API,
        needs: None,
        probe: strangers,
    },
];

/// Whether it registered for this event, or there is nothing to try.
fn takes(run: &Run<'_>, event: &str) -> Result<(), Miss> {
    let registered = run.count(
        |what| matches!(what, What::ExtensionRegistered { events, .. } if events.contains(&event)),
    )?;
    if registered == 0 {
        return Err(Miss::NotApplicable(format!("it takes no {event}")));
    }
    Ok(())
}

/// The registrations under its name.
fn registrations(run: &Run<'_>, lab: &Lab<'_>) -> Result<Vec<Asked>, Miss> {
    let name = lab.extension_name()?;
    let mut asked = run.requests("/extension/register")?;
    asked.retain(|asked| asked.header("lambda-extension-name") == Some(&name));
    Ok(asked)
}

fn register(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    let name = lab.extension_name()?;
    ensure(!registrations(&run, lab)?.is_empty(), || {
        format!("no registration under {name}")
    })?;
    Ok(name)
}

fn exits(lab: &Lab<'_>, at: Step) -> Probed {
    let run = lab.start_with_faults([(at, FaultKind::Status(500, INTERNAL_ERROR.to_owned()))])?;
    // Without its extension the environment does not start.
    let _failed = run.prepare();
    // Then all processes have ended: one that did not by itself was killed.
    let exited = run.count(
        |what| matches!(what, What::ExtensionExited { signal, .. } if *signal != Some(SIGKILL)),
    )?;
    ensure(exited > 0, || "it did not end by itself".to_owned())?;
    run.is_calm()?;
    Ok("exited".to_owned())
}

fn identifier(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for _ in 0..3 {
        run.answered()?;
    }
    let nexts = run.requests("/2020-01-01/extension/event/next")?;
    ensure(!nexts.is_empty(), || "no event was asked for".to_owned())?;
    let without = |asked: &&Asked| asked.header("lambda-extension-identifier").is_none();
    let without = nexts.iter().filter(without).count();
    ensure(without == 0, || format!("{without} requests have none"))?;
    let refused = run.find(|what| {
        if let What::Answered {
            status: status @ 400..,
            error_type,
            ..
        } = what
        {
            Some(format!("{status} {error_type:?}"))
        } else {
            None
        }
    })?;
    ensure(refused.is_none(), || {
        format!("refused: {}", refused.unwrap_or_default())
    })?;
    Ok(format!("{} requests", nexts.len()))
}

fn after_invoke(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for events in 1..=10 {
        run.answered()?;
        takes(&run, "INVOKE")?;
        // Looked at each time: of one that does not ask, each event takes the timeout.
        let ready = run.count(|what| matches!(what, What::ExtensionReady { .. }))?;
        ensure(ready > events, || {
            format!("{ready} requests around {events} events")
        })?;
    }
    Ok("asked after each of 10".to_owned())
}

/// One fault of the first event, and the extension and its environment live on.
fn lives(lab: &Lab<'_>, fault: FaultKind) -> Probed {
    let run = lab.start_with_faults([(Step::ExtensionNext(0), fault)])?;
    run.answered()?;
    takes(&run, "INVOKE")?;
    lives_on(&run)
}

fn lives_on(run: &Run<'_>) -> Probed {
    run.goes_on()?;
    let ended = run.count(|what| matches!(what, What::ExtensionExited { .. }))?;
    ensure(ended == 0, || "it ended".to_owned())?;
    run.is_calm()?;
    Ok("lived on".to_owned())
}

fn byte_by_byte(lab: &Lab<'_>) -> Probed {
    let faults = (0..5).map(|n| (Step::ExtensionNext(n), FaultKind::ByteByByte));
    let run = lab.start_with_faults(faults)?;
    for _ in 0..5 {
        run.answered()?;
    }
    takes(&run, "INVOKE")?;
    lives_on(&run)
}

fn split(lab: &Lab<'_>) -> Probed {
    lab.share(EVENT_BYTES, |lab, places| {
        let splits = places.iter().map(|at| FaultKind::SplitAt(*at));
        let faults = splits.enumerate();
        let faults = faults.map(|(n, split)| (Step::ExtensionNext(n), split));
        let run = lab.start_with_faults(faults)?;
        run.prepare()?;
        takes(&run, "INVOKE")?;
        for at in places {
            run.answered()
                .map_err(|miss| miss.at(format!("split before byte {at}")))?;
        }
        let ended = run.count(|what| matches!(what, What::ExtensionExited { .. }))?;
        ensure(ended == 0, || "it ended".to_owned())
    })?;
    Ok(format!("read, split at {EVENT_BYTES} places"))
}

/// The first event comes with these members beside the ones that are always there.
fn raw(lab: &Lab<'_>, members: Value) -> Probed {
    let mut event = json!({
        "eventType": "INVOKE",
        "deadlineMs": u64::try_from(in_ms(10_000)).unwrap_or_default(),
        "requestId": REQUEST_ID,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:function",
    });
    if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
        event.extend(members);
    }
    let answer = Raw::new(event.to_string().as_bytes())
        .with("Content-Type", "application/json")
        .bytes();
    lives(lab, FaultKind::Instead(answer))
}

/// Ends the environment and gives the end of the extension.
fn ended(run: Run<'_>) -> Result<(Option<i32>, bool), Miss> {
    let entries = run.stop().transcript;
    let (mut exit, mut shutdown) = (None, None);
    for entry in &entries {
        if let What::ExtensionExited { code, .. } = entry.what {
            exit = code;
        } else if let What::ExtensionShutdown { killed, .. } = entry.what {
            shutdown = Some(killed);
        }
    }
    let gone = || Miss::Broken("it was gone before".to_owned());
    Ok((exit, shutdown.ok_or_else(gone)?))
}

fn shutdown(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    takes(&run, "SHUTDOWN")?;
    let (_, killed) = ended(run)?;
    ensure(!killed, || "it had to be killed".to_owned())?;
    Ok("exited".to_owned())
}

fn exit_status(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    takes(&run, "SHUTDOWN")?;
    let (code, killed) = ended(run)?;
    ensure(!killed, || "it had to be killed".to_owned())?;
    ensure(code == Some(0), || format!("the status is {code:?}"))?;
    Ok("0".to_owned())
}

fn unknown_reason(lab: &Lab<'_>) -> Probed {
    let event = json!({
        "eventType": "SHUTDOWN",
        "shutdownReason": "SandboxTerminated",
        "deadlineMs": u64::try_from(in_ms(10_000)).unwrap_or_default(),
    });
    let answer = FaultKind::Instead(Raw::new(event.to_string().as_bytes()).bytes());
    let run = lab.start_with_faults([(Step::ExtensionNext(1), answer)])?;
    run.answered()?;
    // Of one that takes no INVOKE the first request gets SHUTDOWN, and that is of its start.
    takes(&run, "INVOKE")?;
    takes(&run, "SHUTDOWN")?;
    let (_, killed) = ended(run)?;
    ensure(!killed, || "it had to be killed".to_owned())?;
    Ok("exited".to_owned())
}

fn after_crash(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    takes(&run, "SHUTDOWN")?;
    run.ask("crash", Value::Null)?;
    run.wait_for("end of the extension", |what| {
        matches!(what, What::ExtensionShutdown { .. })
    })?;
    let killed = run.count(|what| matches!(what, What::ExtensionShutdown { killed: true, .. }))?;
    ensure(killed == 0, || "it had to be killed".to_owned())?;
    run.serves_on()?;
    Ok("exited, and was started again".to_owned())
}

/// Whether it subscribes, or there is nothing to try.
fn subscribes(run: &Run<'_>) -> Result<(), Miss> {
    if run.requests("/telemetry")?.is_empty() {
        return Err(Miss::NotApplicable("it takes no telemetry".to_owned()));
    }
    Ok(())
}

fn no_telemetry(lab: &Lab<'_>, status: u16) -> Probed {
    let body =
        r#"{"errorMessage":"Telemetry API is not supported","errorType":"Telemetry.NotSupported"}"#;
    // A client may ask for an older version of the schema, too.
    let faults = (0..4).map(|n| {
        (
            Step::Subscribe(n),
            FaultKind::Status(status, body.to_owned()),
        )
    });
    let run = lab.start_with_faults(faults)?;
    run.answered()?;
    subscribes(&run)?;
    lives_on(&run)
}

fn deliveries(lab: &Lab<'_>) -> Probed {
    let run = lab.start_with(|config| config.telemetry.flush_at_shutdown = true)?;
    for _ in 0..5 {
        run.answered()?;
    }
    subscribes(&run)?;
    let deliveries = run.stop().deliveries;
    let failed: u64 = deliveries.iter().map(|to| to.failures).sum();
    let why = deliveries.iter().find_map(|to| to.last_failure.clone());
    ensure(failed == 0, || format!("{failed} failed: {why:?}"))?;
    let batches: u64 = deliveries.iter().map(|to| to.batches).sum();
    ensure(batches > 0, || "no delivery was taken".to_owned())?;
    Ok("each".to_owned())
}

fn strangers(lab: &Lab<'_>) -> Probed {
    let run = lab.start_with(|config| config.freeze = false)?;
    run.answered()?;
    subscribes(&run)?;
    let uri = run.find(|what| {
        if let What::Subscribed { uri, .. } = what {
            uri.clone()
        } else {
            None
        }
    })?;
    let uri = uri.ok_or_else(|| Miss::NotApplicable("it takes none over HTTP".to_owned()))?;
    let port = uri.rsplit(':').next().unwrap_or_default();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let port = port.parse().unwrap_or(80);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let idle = TcpStream::connect(address).map_err(|error| Miss::Broken(error.to_string()))?;
    for bytes in STRANGE {
        // A listener may end the connection whenever it likes.
        let _ended = speak(address, bytes);
    }
    let lived = lives_on(&run);
    drop(idle);
    lived
}

fn speak(address: SocketAddr, bytes: &[u8]) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(bytes)?;
    stream.read(&mut [0; 1_024])
}

/// Bytes that no delivery has.
const STRANGE: [&[u8]; 6] = [
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nnot json",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n[{\"time\":1,\"type\":{},\"record\":[[[[\"]]]]",
];
/// More than an event with its head.
const EVENT_BYTES: usize = 640;
