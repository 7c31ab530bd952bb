//! The interface between a test and a peer, and the function that a peer runs.

use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::http::Response;

use crate::programs;

/// A peer that runs one function.
pub(crate) trait Peer {
    /// The status of an answer that is an error of the function.
    const ERROR_STATUS: u16;

    /// Starts the peer and the function, and waits until it can be invoked.
    fn start(function: Function) -> Self;

    /// Invokes the function. One invocation at a time: an overlapping one ends RIE.
    fn invoke(&mut self, event: &[u8]) -> Response;

    /// Checks that `id` is the id of the last invocation, as far as the peer tells.
    fn check_request_id(&self, id: &str);

    /// Checks that the function was initialised once, as far as the peer tells. `process` is what
    /// the example `faulty` said of its process.
    fn check_one_init(&self, process: &Value);
}

/// A function to run.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) program: PathBuf,
    /// `_HANDLER`.
    pub(crate) handler: String,
    pub(crate) variables: Vec<(String, String)>,
}

impl Function {
    /// An example, which brings its handler.
    pub(crate) fn example(name: &str) -> Self {
        Self {
            program: programs::path(name).to_owned(),
            handler: "unused".to_owned(),
            variables: Vec::new(),
        }
    }

    /// The stock binary with an executable as the handler, from `examples` or by its path.
    pub(crate) fn stock(handler: &str) -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        Self {
            program: programs::path("bantam").to_owned(),
            handler: handler.to_owned(),
            variables: Vec::new(),
        }
        .variable("LAMBDA_TASK_ROOT", examples.to_str().unwrap())
    }

    #[must_use]
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}
