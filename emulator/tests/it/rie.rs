//! The same requests to AWS's own emulator of the Extensions API and to this one.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use emulator::Config;
use serde_json::Value;
use testkit::http::Client;
use testkit::loopback;
use testkit::namespace::with_folders;

use crate::support::{attached_with, unused_path};

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

/// One request after another, to every state an extension can be in without an invocation.
fn ask_everything(api: SocketAddr) -> Vec<Seen> {
    let mut asker = Asker {
        client: Client::connect(api),
        seen: Vec::new(),
        ids: Vec::new(),
    };
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

struct Asker {
    client: Client,
    seen: Vec<Seen>,
    ids: Vec<String>,
}

impl Asker {
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
        let content_type = answer.header("Content-Type").unwrap_or_default().to_owned();
        self.seen
            .push((what, answer.status, content_type, error_type, text));
        id
    }
}

/// AWS's emulator with a private `/opt`, in its init phase.
struct Rie {
    child: Child,
    api: SocketAddr,
}

impl Rie {
    fn start() -> Self {
        let rie = env::var("EMULATOR_RIE").unwrap();
        let opt = unused_path("rie");
        fs::create_dir_all(opt.join("extensions")).unwrap();
        let ext = opt.join("extensions/ext");
        fs::write(&ext, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&ext, fs::Permissions::from_mode(0o755)).unwrap();
        let [front, api] = loopback::free();
        let child = with_folders(&[(&opt, "/opt")])
            .arg(rie)
            .args(["--runtime-interface-emulator-address", &front.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .args(["/bin/sleep", "60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bound = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(front).is_err() {
            assert!(Instant::now() < bound, "it does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        // It initialises with the first invocation.
        thread::spawn(move || {
            let mut client = Client::connect(front);
            client.send(
                "POST",
                "/2015-03-31/functions/function/invocations",
                &[],
                b"{}",
            );
            drop(client.response());
        });
        while TcpStream::connect(api).is_err() {
            assert!(Instant::now() < bound, "it does not initialise");
            thread::sleep(Duration::from_millis(20));
        }
        // Until its extension has been started, which nothing shows, its name is unknown.
        thread::sleep(Duration::from_millis(500));
        Self { child, api }
    }
}

impl Drop for Rie {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
