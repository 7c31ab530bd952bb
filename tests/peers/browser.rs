//! A browser as the client of a function URL that streams server-sent events.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bantam_emulator::{Config, Emulator, UrlInvokeMode};
use tempfile::{TempDir, tempdir_in};
use testkit::http::{Request, Server};
use testkit::pipe::named_pipe;

use crate::programs::{path, peer};

/// Chromium without a window, at an address.
fn chromium(profile: &Path, arguments: &[&str], address: &str) -> Command {
    let mut command = Command::new(peer("chromium"));
    command
        // A container has no user namespaces for the sandbox, and the page is the test's own.
        .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(address)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn folder() -> TempDir {
    tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn streaming(program: &Path) -> Config {
    let mut config = Config::new(program);
    config.url_invoke_mode = UrlInvokeMode::ResponseStream;
    config.timeout = Duration::from_secs(60);
    // A page's icon must not start a second server beside the first.
    config.concurrency_max = 1;
    config
}

#[test]
#[ignore = "needs .ci/peers"]
fn chromium_shows_the_events_of_the_example() {
    let emulator = Emulator::start(streaming(path("sse"))).unwrap();
    let address = format!("http://{}/", emulator.invoke_addr());
    let profile = folder();
    // Time that nobody waits for: it stands still as long as the page loads anything.
    let arguments = ["--dump-dom", "--virtual-time-budget=5000"];
    let output = chromium(profile.path(), &arguments, &address)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = String::from_utf8(output.stdout).unwrap();
    let lines = "<li>3</li><li>2</li><li>1</li><li>lift-off</li>";
    assert!(page.contains(lines), "{page}");
}

/// The browser, ended with this.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What the page has seen next. Other requests are the browser's own.
fn seen(requests: &Receiver<Request>) -> String {
    loop {
        let request = requests.recv_timeout(Duration::from_secs(60)).unwrap();
        if let Some(data) = request.target.strip_prefix("/seen/") {
            return data.to_owned();
        }
    }
}

/// The server behind the stock binary sends the second event when the page has told of the first.
#[test]
#[ignore = "needs .ci/peers"]
fn chromium_has_an_event_before_the_next_is_made() {
    let (folder, profile) = (folder(), folder());
    let pipe = named_pipe(folder.path());
    let observer = Server::with_status("204 No Content");
    let page = format!(
        r#"<!DOCTYPE html><script>
        const events = new EventSource("/events-stream");
        events.onmessage = event => {{ new Image().src = "http://{}/seen/" + event.data; }};
        </script>"#,
        observer.address
    );
    let mut config = streaming(path("bantam"));
    config.handler = path("http_server").to_str().unwrap().to_owned();
    for (name, value) in [
        ("BANTAM_HANDLER_MODE", "http"),
        ("AWS_LWA_INVOKE_MODE", "response_stream"),
        ("AWS_LWA_HOST", &host()),
        ("PIPE", pipe.to_str().unwrap()),
        ("PAGE", &page),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    let emulator = Emulator::start(config).unwrap();
    let address = format!("http://{}/page", emulator.invoke_addr());
    // It stays open, as a window does.
    let arguments = ["--remote-debugging-port=0"];
    let mut command = chromium(profile.path(), &arguments, &address);
    let _browser = Browser(command.stdout(Stdio::null()).spawn().unwrap());
    assert_eq!(seen(&observer.requests), "1");
    fs::write(&pipe, "now").unwrap();
    assert_eq!(seen(&observer.requests), "2");
}

/// An address of this process, since the server's port is always the same.
fn host() -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{high}.{low}.199")
}
