//! The helpers of these tests.

use std::fs;
use std::path::PathBuf;

use bantam_emulator::{Config, Emulator, Entry, Outcome, What};
use serde_json::Value;
use testkit::http::{Client, Response};

/// The function `echo` with the default configuration.
pub(crate) fn echo() -> Config {
    Config::new(example("echo"))
}

/// An example of this crate.
pub(crate) fn example(name: &str) -> PathBuf {
    // Tests are built into `deps`, examples beside it.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p bantam-emulator --examples",
        path.display()
    );
    path
}

/// A process that does nothing: the test is the runtime, and the platform watches the process.
pub(crate) fn idler() -> Config {
    let mut config = Config::new("/bin/sleep");
    config.args = vec!["600".into()];
    config
}

/// No function: the test is the runtime.
pub(crate) fn attached() -> (Emulator, Client) {
    attached_with(Config::new(""))
}

pub(crate) fn attached_with(config: Config) -> (Emulator, Client) {
    let emulator = Emulator::start(config).unwrap();
    let client = Client::connect(emulator.environments()[0].runtime_api);
    (emulator, client)
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The recorded error type and the error's message.
pub(crate) fn error_of(outcome: &Outcome) -> (String, String) {
    let Some(error) = &outcome.function_error else {
        panic!("no error: {outcome:?}")
    };
    let message = json(&error.body)["errorMessage"]
        .as_str()
        .unwrap()
        .to_owned();
    (error.error_type.clone(), message)
}

pub(crate) fn count(entries: &[Entry], test: impl Fn(&What) -> bool) -> usize {
    entries.iter().filter(|entry| test(&entry.what)).count()
}

/// A path no other test uses, without a file.
pub(crate) fn unused_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("emulator-{}-{name}", std::process::id()));
    let _missing = fs::remove_file(&path);
    path
}

/// The calls of a runtime.
pub(crate) trait RuntimeClient {
    fn next(&mut self) -> Response;

    /// `POST /runtime/invocation/{id}/{what}`
    fn report(&mut self, id: &str, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Response;
}

impl RuntimeClient for Client {
    fn next(&mut self) -> Response {
        self.get("/2018-06-01/runtime/invocation/next")
    }

    fn report(&mut self, id: &str, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let target = format!("/2018-06-01/runtime/invocation/{id}/{what}");
        self.post(&target, headers, body)
    }
}

/// The parts of a response that a runtime reads.
pub(crate) trait RuntimeResponse {
    fn request_id(&self) -> String;

    /// `errorType` of an error's body.
    fn error_type(&self) -> String;
}

impl RuntimeResponse for Response {
    fn request_id(&self) -> String {
        self.header("Lambda-Runtime-Aws-Request-Id")
            .unwrap()
            .to_owned()
    }

    fn error_type(&self) -> String {
        self.json()["errorType"].as_str().unwrap().to_owned()
    }
}
