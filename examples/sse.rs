//! Server-sent events: a page shows lines while the function makes them.
//!
//! It is for a function URL with the invoke mode `RESPONSE_STREAM`. The path `/events` gives the
//! events, any other one the page that shows them.
//!
//! ```console
//! cargo emulator run --function target/debug/examples/sse --invoke-mode response_stream
//! curl --no-buffer http://127.0.0.1:PORT/events
//! ```

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::time::Duration;

use bantam::{Answer, Answered, Context, Prelude, ResponseStream};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    raw_path: Cow<'a, str>,
}

fn serve(event: &[u8], _: &Context<'_>, answer: Answer<'_>) -> Answered {
    let request: Request<'_> = match serde_json::from_slice(event) {
        Ok(request) => request,
        Err(error) => return answer.error(error),
    };
    let (content_type, write): (_, fn(&mut ResponseStream<'_>) -> io::Result<()>) =
        if request.raw_path == "/events" {
            ("text/event-stream", events)
        } else {
            ("text/html", |stream| stream.write_all(PAGE.as_bytes()))
        };
    let prelude = Prelude::new(200).header("Content-Type", content_type);
    let mut stream = answer.http_stream(&prelude);
    match write(&mut stream) {
        Ok(()) => stream.finish(),
        Err(error) => stream.error(error),
    }
}

/// Counts down, and says that it is done: a browser would ask for the events again otherwise.
fn events(stream: &mut ResponseStream<'_>) -> io::Result<()> {
    for number in (1..=3).rev() {
        write!(stream, "data: {number}\n\n")?;
        stream.flush()?;
        wait();
    }
    stream.write_all(b"event: done\ndata: lift-off\n\n")
}

/// Stands for the work between two events.
#[expect(clippy::disallowed_methods, reason = "there is nothing to wait for")]
fn wait() {
    std::thread::sleep(Duration::from_millis(300));
}

const PAGE: &str = r#"<!DOCTYPE html>
<title>Server-sent events</title>
<ul id="lines"></ul>
<script>
  const events = new EventSource("/events");
  const show = text => lines.append(Object.assign(document.createElement("li"), { textContent: text }));
  events.onmessage = event => show(event.data);
  events.addEventListener("done", event => { show(event.data); events.close(); });
</script>
"#;

fn main() {
    bantam::main(bantam::handler_fn(serve))
}
