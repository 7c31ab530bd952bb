//! What a caller asks for, and what it has to get.

use std::fmt;

use bantam_emulator::Invoke;
use fastrand::Rng;
use serde_json::{Value, json};

/// One invocation and the outcomes that are right.
pub(crate) struct Action {
    pub(crate) invoke: Invoke,
    pub(crate) expects: Expects,
}

pub(crate) enum Expects {
    /// This response.
    Body(Vec<u8>),
    /// A response with this text in it.
    Text(String),
    /// An error of one of these types.
    Error(&'static [&'static str]),
}

impl fmt::Display for Expects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().take(SHOWN_MAX).collect::<String>();
        match self {
            Self::Body(body) => f.write_str(&shown(&String::from_utf8_lossy(body))),
            Self::Text(text) => write!(f, "a response with {}", shown(text)),
            Self::Error(types) => write!(f, "an error of {types:?}"),
        }
    }
}

/// Characters of a response that are shown where it is wrong.
pub(crate) const SHOWN_MAX: usize = 200;

impl Action {
    fn new(event: &Value, expects: Expects) -> Self {
        Self {
            invoke: Invoke::new(event.to_string()),
            expects,
        }
    }
}

/// What the function of a phase may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Responses, streams, errors and panics. The process goes on after each.
    Gentle,
    /// Beside that, exits and timeouts: a new process each time.
    Harsh,
    /// Requests to a web server, good and bad.
    Http,
    /// The same, of which the responses are streamed.
    HttpStreamed,
}

impl Mix {
    pub(crate) fn action(self, rng: &mut Rng) -> Action {
        match self {
            Self::Gentle => gentle(rng),
            Self::Harsh => harsh(rng),
            Self::Http => http(rng),
            Self::HttpStreamed => {
                let mut action = http(rng);
                action.invoke.streaming = true;
                action
            }
        }
    }
}

fn gentle(rng: &mut Rng) -> Action {
    match rng.u32(..1_000) {
        0..20 => Action::new(
            &json!({"do": "chosen"}),
            Expects::Error(&["Function.OutOfMoney"]),
        ),
        20..30 => Action::new(
            &json!({"do": "panic", "message": text(rng, 40)}),
            Expects::Error(&["Function.Panic"]),
        ),
        30..60 => stream(rng),
        // No event of this function.
        60..65 => Action::new(
            &json!({"do": text(rng, 10)}),
            Expects::Error(&["Runtime.UnmarshalError"]),
        ),
        65..67 => echo(rng, 2_000_000),
        _ => echo(rng, 600),
    }
}

fn harsh(rng: &mut Rng) -> Action {
    match rng.u32(..100) {
        0..10 => Action::new(
            &json!({"do": "exit", "code": rng.i32(0..3)}),
            Expects::Error(&["Runtime.ExitError"]),
        ),
        10..12 => Action::new(
            &json!({"do": "sleep", "ms": 60_000}),
            Expects::Error(&["Sandbox.Timedout"]),
        ),
        _ => gentle(rng),
    }
}

fn echo(rng: &mut Rng, length_max: usize) -> Action {
    let value = json!(text(rng, length_max));
    let response = value.to_string().into_bytes();
    Action::new(
        &json!({"do": "echo", "value": value}),
        Expects::Body(response),
    )
}

/// A response that is streamed, to its end or up to an error.
fn stream(rng: &mut Rng) -> Action {
    let texts: Vec<String> = (0..rng.usize(1..6)).map(|_| text(rng, 200)).collect();
    let fails = rng.u32(..4) == 0;
    let end = if fails { "chosen" } else { "finish" };
    let expects = if fails {
        Expects::Error(&["Function.OutOfMoney"])
    } else {
        Expects::Body(texts.concat().into_bytes())
    };
    // The function knows such an event by its first member.
    let event = format!(r#"{{"stream":{},"end":"{end}"}}"#, json!(texts));
    Action {
        invoke: Invoke {
            streaming: true,
            ..Invoke::new(event)
        },
        expects,
    }
}

fn http(rng: &mut Rng) -> Action {
    let lost = Expects::Error(&["Function.ConnectionLost"]);
    match rng.u32(..1_000) {
        0..5 => request("GET", "/die", "", Expects::Error(&["Function.ExitStatus"])),
        5..10 => request("GET", "/cut", "", lost),
        10..15 => request(
            "GET",
            "/garbage",
            "",
            Expects::Error(&["Function.ProtocolError"]),
        ),
        15..20 => request("GET", "/half", "", lost),
        20..40 => request("GET", "/close-quietly", "", Expects::Text("bye".to_owned())),
        _ => {
            // The server answers with what it was sent.
            let token = format!("{:016x}", rng.u64(..));
            let body = token.repeat(rng.usize(1..60));
            request("POST", "/echo", &body, Expects::Text(token))
        }
    }
}

fn request(method: &str, path: &str, body: &str, expects: Expects) -> Action {
    let event = json!({
        "rawPath": path,
        "rawQueryString": "",
        "body": body,
        "requestContext": {"http": {"method": method}},
    });
    Action::new(&event, expects)
}

/// A text of letters, of signs that JSON escapes and of ones beyond ASCII: mostly short, at most
/// about `length_max` bytes.
fn text(rng: &mut Rng, length_max: usize) -> String {
    const SIGNS: [char; 12] = [
        'a',
        'b',
        ' ',
        '"',
        '\\',
        '\n',
        '\u{1}',
        '\u{e9}',
        '\u{2028}',
        '\u{1f600}',
        '{',
        '<',
    ];
    let top = rng.usize(1..=length_max);
    let length = rng.usize(..=top);
    let sign = |_| rng.choice(SIGNS).unwrap_or('x');
    (0..length / 2).map(sign).collect()
}
