//! The same requests to AWS's own emulator of the Extensions API and to this one.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bantam_emulator::{Config, Emulator, Initialization, What};
use serde_json::Value;
use testkit::http::{Client, Response, exchange};
use testkit::loopback;
use testkit::namespace::with_folders;

use crate::support::{attached_with, count, idler, unused_path};

/// Status, content type, error type and message. The message of a JSON parser is its own affair.
type Seen = (&'static str, u16, String, String, String);

#[test]
#[ignore = "needs aws-lambda-rie and root: EMULATOR_RIE=/path/to/aws-lambda-rie"]
fn every_answer_is_that_of_the_runtime_interface_emulator() {
    let rie = Rie::start();
    let theirs = ask_everything(rie.api);
    let mut config = Config::new("");
    config.extensions = vec!["/opt/extensions/ext".into()];
    config.handler = "sleep".into();
    let (emulator, _client) = attached_with(config);
    let ours = ask_everything(emulator.environments()[0].runtime_api);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

/// On Managed Instances, where the test is every worker of the runtime.
#[test]
#[ignore = "needs aws-lambda-rie and root: EMULATOR_RIE=/path/to/aws-lambda-rie"]
fn every_answer_of_the_router_is_that_of_the_runtime_interface_emulator() {
    let rie = Rie::launch(&[
        ("AWS_LAMBDA_MAX_CONCURRENCY", "4"),
        ("AWS_LAMBDA_FUNCTION_TIMEOUT", "1"),
    ]);
    let first = Caller::start(rie.front, "first");
    rie.await_api();
    let theirs = ask_the_router(rie.front, rie.api, first);
    let mut config = idler();
    config.initialization = Initialization::ManagedInstances;
    config.max_concurrency = 4;
    config.timeout = Duration::from_secs(1);
    config.poll_wait = Duration::ZERO;
    let emulator = Emulator::start(config).unwrap();
    let first = Caller::start(emulator.invoke_addr(), "first");
    let is_there = |entries: &[_]| count(entries, |w| matches!(w, What::Spawned { .. })) == 1;
    emulator.wait_until("process", is_there).unwrap();
    let api = emulator.environments()[0].runtime_api;
    let ours = ask_the_router(emulator.invoke_addr(), api, first);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

/// A caller that waits for its outcome on a thread.
struct Caller {
    outcome: thread::JoinHandle<Response>,
}

impl Caller {
    fn start(front: SocketAddr, event: &str) -> Self {
        let body = format!("\"{event}\"");
        let path = "/2015-03-31/functions/function/invocations";
        let outcome =
            thread::spawn(move || exchange(front, "POST", path, &[], body.as_bytes()).unwrap());
        Self { outcome }
    }

    /// The response, or the type of the error.
    fn end(self, what: &'static str) -> Seen {
        let outcome = self.outcome.join().unwrap();
        let body: Value = serde_json::from_slice(&outcome.body).unwrap_or_default();
        let error_type = body["errorType"].as_str().unwrap_or_default().to_owned();
        let text = if error_type.is_empty() {
            outcome.text()
        } else {
            String::new()
        };
        (what, outcome.status, String::new(), error_type, text)
    }
}

/// One request after another, to every state that an invocation can be in.
fn ask_the_router(front: SocketAddr, api: SocketAddr, first: Caller) -> Vec<Seen> {
    let mut one = Asker::connect(api);
    one.answer("unknown id", "x", "response", &[], b"{}");
    one.answer("unknown id", "x", "error", &[], b"{}");
    one.client
        .send("GET", "/2018-06-01/runtime/restore/next", &[], b"");
    one.see("no snapshots");
    let id = one.next("first");
    one.answer("answered", &id, "response", &[], b"1");
    one.seen.push(first.end("answered"));
    one.answer("again", &id, "response", &[], b"2");
    one.answer("then an error", &id, "error", &[], b"{}");
    for what in ["late init error", "a second one"] {
        let path = "/2018-06-01/runtime/init/error";
        one.client.send("POST", path, &[], b"{}");
        one.see(what);
    }
    let mode = ("Lambda-Runtime-Function-Response-Mode", "buffered");
    one.invoked(front, "bad mode", "response", &[mode], b"1");
    let large = vec![b'1'; 6 * 1024 * 1024 + 101];
    one.invoked(front, "too large", "response", &[], &large);
    let header = ("Lambda-Runtime-Function-Error-Type", "Function.Asked");
    let body = br#"{"errorType":"Function.Asked","errorMessage":"asked for"}"#;
    one.invoked(front, "error", "error", &[header], body);
    for how in ["response", "error"] {
        one.poll();
        let caller = Caller::start(front, "late");
        let id = one.event("late");
        one.seen.push(caller.end("late"));
        one.answer("late", &id, how, &[], b"{}");
        one.answer("late again", &id, how, &[], b"{}");
    }
    one.poll();
    one.client.reconnect();
    // Nothing tells when the end of the connection was seen.
    thread::sleep(Duration::from_millis(300));
    let lost = Caller::start(front, "lost");
    one.seen.push(lost.end("lost poll"));
    one.poll();
    let caller = Caller::start(front, "nonce");
    let id = one.event("nonce");
    let wrong = ("Lambda-Runtime-Invocation-Id", "of before");
    one.answer("an earlier attempt", &id, "response", &[wrong], b"1");
    one.answer("an earlier attempt", &id, "error", &[wrong], b"{}");
    one.answer("this attempt", &id, "response", &[], b"2");
    one.seen.push(caller.end("this attempt"));
    one.seen
}

/// One request after another, to every state an extension can be in without an invocation.
fn ask_everything(api: SocketAddr) -> Vec<Seen> {
    let mut asker = Asker::connect(api);
    let both = r#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let name = |name| Some(("Lambda-Extension-Name", name));
    asker.register("no name", None, both);
    asker.register("no JSON", name("ext"), "[");
    asker.register("wrong type", name("ext"), r#"{"events":1}"#);
    asker.register("keys", name("ext"), r#"{"configurationKeys":["a"]}"#);
    asker.register("wrong event", name("ext"), r#"{"events":["Invoke"]}"#);
    asker.register("not its name", name("ext.bin"), both);
    let ext = asker.register("external", name("ext"), both);
    asker.register("external again", name("ext"), both);
    let internal = asker.register("internal", name("in"), r#"{"events":["INVOKE"]}"#);
    asker.register("internal again", name("in"), "{}");
    let third = asker.register("without events", name("third"), "{}");
    let unknown = "00000000-0000-4000-8000-000000000000".to_owned();
    for path in ["event/next", "init/error", "exit/error"] {
        let method = if path == "event/next" { "GET" } else { "POST" };
        asker.call("no identifier", method, path, None, true);
        asker.call("malformed", method, path, Some("x"), true);
        asker.call("unknown", method, path, Some(&unknown), true);
    }
    asker.call("no type", "POST", "init/error", Some(&ext), false);
    asker.call("no type", "POST", "exit/error", Some(&ext), false);
    asker.call("init error", "POST", "init/error", Some(&internal), true);
    asker.call("second", "POST", "init/error", Some(&internal), true);
    asker.call("then exit", "POST", "exit/error", Some(&internal), true);
    asker.call("then next", "GET", "event/next", Some(&internal), true);
    asker.call("exit error", "POST", "exit/error", Some(&third), true);
    asker.call("second", "POST", "exit/error", Some(&third), true);
    asker.call("then init", "POST", "init/error", Some(&third), true);
    asker.call("then next", "GET", "event/next", Some(&third), true);
    asker.call("wrong method", "GET", "register", None, true);
    asker.call("wrong method", "POST", "event/next", Some(&ext), true);
    asker.call("wrong path", "GET", "next", Some(&ext), true);
    let mut waiting = Client::connect(api);
    let headers = [("Lambda-Extension-Identifier", ext.as_str())];
    waiting.send("GET", "/2020-01-01/extension/event/next", &headers, b"");
    // Nothing tells when the request was taken, but the refusal of a second one; asked too early,
    // it would be the one that waits.
    thread::sleep(Duration::from_millis(300));
    asker.call("a second next", "GET", "event/next", Some(&ext), true);
    asker.call(
        "init error when ready",
        "POST",
        "init/error",
        Some(&ext),
        true,
    );
    let mut runtime = Client::connect(api);
    runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    thread::sleep(Duration::from_millis(300));
    asker.register("late", name("late"), "{}");
    asker.register("late external", name("ext"), both);
    asker.seen
}

/// Headers of an event that its server adds, and that it sends only if its caller did.
const NOT_COMPARED: [&str; 2] = ["Date", "Lambda-Runtime-Trace-Id"];

struct Asker {
    client: Client,
    seen: Vec<Seen>,
    ids: Vec<String>,
}

impl Asker {
    fn connect(api: SocketAddr) -> Self {
        Self {
            client: Client::connect(api),
            seen: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Sends `next`. Nothing tells when it is in the queue.
    fn poll(&mut self) {
        let path = "/2018-06-01/runtime/invocation/next";
        self.client.send("GET", path, &[], b"");
        thread::sleep(Duration::from_millis(300));
    }

    /// The event that the poll was given, its headers seen, and its id.
    fn event(&mut self, what: &'static str) -> String {
        let event = self.client.response().unwrap();
        // Older versions of it send headers without a value, as this emulator does; newer ones
        // leave them out.
        let headers = event.headers.iter().filter(|(_, value)| !value.is_empty());
        let mut names: Vec<_> = headers.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.retain(|name| !NOT_COMPARED.contains(name));
        let seen = (
            what,
            event.status,
            names.join(" "),
            String::new(),
            event.text(),
        );
        self.seen.push(seen);
        let id = event.header("Lambda-Runtime-Aws-Request-Id").unwrap();
        id.to_owned()
    }

    fn next(&mut self, what: &'static str) -> String {
        let path = "/2018-06-01/runtime/invocation/next";
        self.client.send("GET", path, &[], b"");
        self.event(what)
    }

    fn answer(
        &mut self,
        what: &'static str,
        id: &str,
        how: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let path = format!("/2018-06-01/runtime/invocation/{id}/{how}");
        self.client.send("POST", &path, headers, body);
        self.see(what);
    }

    /// An invocation that is answered so.
    fn invoked(
        &mut self,
        front: SocketAddr,
        what: &'static str,
        how: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        self.poll();
        let caller = Caller::start(front, what);
        let id = self.event(what);
        self.answer(what, &id, how, headers, body);
        self.seen.push(caller.end(what));
    }

    fn register(&mut self, what: &'static str, name: Option<(&str, &str)>, body: &str) -> String {
        let headers: Vec<(&str, &str)> = name.into_iter().collect();
        let path = "/2020-01-01/extension/register";
        self.client.send("POST", path, &headers, body.as_bytes());
        self.see(what)
    }

    fn call(
        &mut self,
        what: &'static str,
        method: &str,
        path: &str,
        id: Option<&str>,
        typed: bool,
    ) {
        let mut headers = Vec::new();
        headers.extend(id.map(|id| ("Lambda-Extension-Identifier", id)));
        if typed {
            headers.push(("Lambda-Extension-Function-Error-Type", "Extension.Bad"));
        }
        let path = format!("/2020-01-01/extension/{path}");
        self.client.send(method, &path, &headers, b"{}");
        self.see(what);
    }

    fn see(&mut self, what: &'static str) -> String {
        let answer = self.client.response().unwrap();
        let id = answer
            .header("Lambda-Extension-Identifier")
            .unwrap_or_default();
        let id = id.to_owned();
        if !id.is_empty() {
            self.ids.push(id.clone());
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let error_type = body["errorType"].as_str().unwrap_or_default().to_owned();
        let mut text = String::from_utf8_lossy(&answer.body).trim_end().to_owned();
        if let Some(message) = body["errorMessage"].as_str() {
            text = message.to_owned();
        } else if body.is_object() {
            let names: Vec<&String> = body.as_object().unwrap().keys().collect();
            text = format!("{names:?}");
        }
        if error_type == "InvalidRequestFormat" && !text.starts_with("configurationKeys") {
            text.clear();
        }
        for id in &self.ids {
            text = text.replace(id, "ID");
        }
        // Its two servers write this in two ways.
        text = text.replace("Error: state", "Error: State");
        let content_type = answer.header("Content-Type").unwrap_or_default().to_owned();
        self.seen
            .push((what, answer.status, content_type, error_type, text));
        id
    }
}

/// Makes a program that does nothing for a minute.
fn sleeper(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "#!/bin/sh\nexec sleep 60\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// AWS's emulator with a private `/opt`, in its init phase.
struct Rie {
    child: Child,
    front: SocketAddr,
    api: SocketAddr,
}

impl Rie {
    /// With one extension, in its init phase.
    fn start() -> Self {
        let rie = Self::launch(&[]);
        // It initialises with the first invocation.
        drop(Caller::start(rie.front, ""));
        rie.await_api();
        // Until its extension has been started, which nothing shows, its name is unknown.
        thread::sleep(Duration::from_millis(500));
        rie
    }

    fn launch(variables: &[(&str, &str)]) -> Self {
        let rie = env::var("EMULATOR_RIE").unwrap();
        let folder = unused_path(&format!("rie-{}", variables.len()));
        let (opt, var) = (folder.join("opt"), folder.join("var"));
        if variables.is_empty() {
            sleeper(&opt.join("extensions/ext"));
        } else {
            fs::create_dir_all(&opt).unwrap();
        }
        // On Managed Instances it takes the program from here, whatever its arguments say.
        sleeper(&var.join("task/bootstrap"));
        let [front, api] = loopback::free();
        let child = with_folders(&[(&opt, "/opt"), (&var, "/var")])
            .arg(rie)
            .args(["--runtime-interface-emulator-address", &front.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .args(["/bin/sleep", "60"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bound = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(front).is_err() {
            assert!(Instant::now() < bound, "it does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, front, api }
    }

    fn await_api(&self) {
        let bound = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.api).is_err() {
            assert!(Instant::now() < bound, "it does not initialise");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rie {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
