//! The same web server behind AWS Lambda Web Adapter, behind the stock binary, and with the stock
//! binary beside it in the adapter's place: one table of events has the same requests and the same
//! answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::time::Duration;

use bantam_emulator::{Config, Emulator, Invoke};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::programs::{path, peer};

/// The server of the tests, ended with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Both, each with a server at an address of its own.
struct Both {
    adapter: Emulator,
    ours: Emulator,
    /// The stock binary under the adapter's name.
    beside: Emulator,
    _server: Server,
    _folder: TempDir,
}

fn start(variables: &[(&str, &str)]) -> Both {
    let id = process::id().to_be_bytes();
    let host = |last| format!("127.{}.{}.{last}", id[2], id[3]);
    let number = 3 * u8::try_from(variables.len()).unwrap();
    let (theirs, own, besides) = (host(200 + number), host(201 + number), host(202 + number));
    let config = |program: &Path, host: &str| {
        let mut config = Config::new(program);
        config.handler = path("http_server").to_str().unwrap().to_owned();
        config.timeout = Duration::from_secs(10);
        let own = [("AWS_LWA_HOST", host), ("BANTAM_HANDLER_MODE", "http")];
        for (name, value) in own.iter().chain(variables) {
            config.env.push(((*name).to_owned(), (*value).to_owned()));
        }
        config
    };
    let mut server = Command::new(path("http_server"));
    server.env_clear().env("AWS_LWA_HOST", &theirs);
    server.env("PORT", "8080").stdout(Stdio::null());
    let server = Server(server.stderr(Stdio::null()).spawn().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let extension = folder.path().join("extensions/lambda-adapter");
    fs::create_dir(extension.parent().unwrap()).unwrap();
    symlink(path("bantam"), &extension).unwrap();
    let mut beside = config(path("http_server"), &besides);
    beside.extensions = vec![extension];
    beside.env.push(("PORT".to_owned(), "8080".to_owned()));
    Both {
        adapter: Emulator::start(config(&peer("lambda-adapter"), &theirs)).unwrap(),
        ours: Emulator::start(config(path("bantam"), &own)).unwrap(),
        beside: Emulator::start(beside).unwrap(),
        _server: server,
        _folder: folder,
    }
}

impl Both {
    /// What both answer, in one form.
    fn answers(&self, event: &Value) -> [Value; 2] {
        let [theirs, ours, mut beside] =
            [&self.adapter, &self.ours, &self.beside].map(|emulator| {
                let invoke = Invoke {
                    tenant_id: Some("t".to_owned()),
                    trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
                    request_id: Some("8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
                    ..Invoke::new(event.to_string())
                };
                let outcome = emulator.invoke_with(invoke).unwrap();
                if let Some(error) = outcome.function_error {
                    let error: Value = serde_json::from_slice(&error.body).unwrap();
                    return json!({"error": error["errorMessage"]});
                }
                normal(serde_json::from_slice(&outcome.body).unwrap())
            });
        // The platform gives no extension the log group.
        for place in LOG_GROUPS {
            if let Some(group) = beside.pointer_mut(place) {
                assert_eq!(*group, json!(""));
                *group = ours.pointer(place).unwrap().clone();
            }
        }
        assert_eq!(beside, ours, "beside the server: {event}");
        [theirs, ours]
    }
}

/// An answer without what the forms leave open: the case of names, whether a header is in one list
/// or the other, and what an absent member means.
fn normal(mut answer: Value) -> Value {
    if answer.get("statusCode").is_none() {
        return request(answer);
    }
    let mut headers = Map::new();
    for list in ["headers", "multiValueHeaders"] {
        let members = answer.as_object_mut().unwrap().remove(list);
        for (name, value) in members.iter().filter_map(Value::as_object).flatten() {
            let value = match value {
                Value::String(value) => json!([value]),
                other => other.clone(),
            };
            headers.insert(name.to_ascii_lowercase(), value);
        }
    }
    answer["headers"] = Value::Object(headers);
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    let is_empty = body.is_empty();
    answer["body"] = match serde_json::from_str(&body) {
        Ok(seen @ Value::Object(_)) => request(seen),
        _ => json!(body),
    };
    if is_empty {
        answer["isBase64Encoded"] = json!(false);
    }
    if answer["statusDescription"].is_null() {
        answer.as_object_mut().unwrap().remove("statusDescription");
    }
    let length = json!(null);
    if answer["body"].is_object() {
        // The two contexts may be written in several ways.
        answer["headers"]["content-length"] = length;
    }
    answer
}

/// A request that the server has seen, without what may differ.
fn request(mut seen: Value) -> Value {
    if seen.get("headers").is_none() {
        return seen;
    }
    let headers = &mut seen["headers"];
    let json = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap_or_default();
    let mut lambda: Value = json(&headers["x-amzn-lambda-context"]);
    lambda["deadline"] = json!(0);
    lambda["env_config"]["log_stream"] = json!("");
    headers["x-amzn-lambda-context"] = lambda;
    headers["x-amzn-request-context"] = known(json(&headers["x-amzn-request-context"]));
    if headers.get("content-length") == Some(&json!("0")) {
        headers.as_object_mut().unwrap().remove("content-length");
    }
    if let Some(cookie) = headers.get_mut("cookie") {
        // Later versions of the adapter write a space, too.
        *cookie = json!(cookie.as_str().unwrap().replace("; ", ";"));
    }
    if headers["host"].as_str().unwrap().starts_with("127.") {
        headers["host"] = json!("the server");
    }
    // The order of the names of a query is none, and `+` and `%20` are one.
    let target = seen["target"].as_str().unwrap().replace('+', "%20");
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut query: Vec<&str> = query.split('&').collect();
    query.sort_unstable();
    seen["target"] = json!([path, query]);
    seen
}

/// A request context without the members that the adapter adds or does not know.
fn known(context: Value) -> Value {
    match context {
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(name, value)| (name, known(value)));
            let is_empty =
                |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other,
    }
}

fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/http");
    let event = fs::read(folder.join(name).with_extension("json")).unwrap();
    serde_json::from_slice(&event).unwrap()
}

/// An event of this form for another path of the server.
fn at(form: &str, path: &str) -> Value {
    let mut event = fixture(form);
    for name in ["path", "rawPath"] {
        if event.get(name).is_some() {
            event[name] = json!(path);
        }
    }
    for query in ["queryStringParameters", "multiValueQueryStringParameters"] {
        event.as_object_mut().unwrap().remove(query);
    }
    event["rawQueryString"] = json!("");
    event
}

/// Where it is in an answer to an HTTP event, and to any other.
const LOG_GROUPS: [&str; 2] = [
    "/body/headers/x-amzn-lambda-context/env_config/log_group",
    "/headers/x-amzn-lambda-context/env_config/log_group",
];

/// The forms that the adapter knows in its version on crates.io.
const FORMS: [&str; 5] = [
    "rest",
    "http",
    "function-url",
    "load-balancer",
    "load-balancer-multi",
];

#[test]
#[ignore = "needs .ci/peers"]
fn both_make_the_same_requests() {
    let both = start(&[]);
    for form in FORMS {
        let mut event = fixture(form);
        for name in ["path", "rawPath"] {
            if let Some(path) = event.get(name) {
                event[name] = json!(["/echo", path.as_str().unwrap()].concat());
            }
        }
        let [mut theirs, ours] = both.answers(&event);
        assert_eq!(ours["statusCode"], 200, "{form}: {ours}");
        let headers = &mut theirs["body"]["headers"];
        match form {
            // Of several values the adapter hands on the last alone.
            "rest" => headers["headername"] = json!("first|last"),
            // What is about the connection to the load balancer.
            "load-balancer" => {
                headers.as_object_mut().unwrap().remove("connection");
            }
            "load-balancer-multi" => {
                for name in ["expect", "te"] {
                    headers.as_object_mut().unwrap().remove(name);
                }
                // One header holds all cookies.
                headers["cookie"] = json!("name1=value1;name2=value2");
            }
            _ => {}
        }
        assert_eq!(ours, theirs, "{form}");
    }
    let [theirs, ours] = both.answers(&fixture("sqs"));
    assert_eq!(ours["target"], json!(["/events", [""]]));
    assert_eq!(ours, theirs);
}

#[test]
#[ignore = "needs .ci/peers"]
fn both_give_the_same_answers() {
    let both = start(&[("AWS_LWA_ERROR_STATUS_CODES", "503")]);
    let paths = [
        "/chunked",
        "/no-content",
        "/not-modified",
        "/until-close",
        "/close-after",
        "/binary",
        "/cookies",
        "/nowhere",
    ];
    for form in FORMS {
        for path in paths {
            let [mut theirs, mut ours] = both.answers(&at(form, path));
            assert_eq!(
                (theirs.get("error"), ours.get("error")),
                (None, None),
                "{form} {path}"
            );
            // What is about the connection to the server.
            for name in ["connection", "trailer"] {
                theirs["headers"].as_object_mut().unwrap().remove(name);
            }
            if path == "/not-modified" {
                // The length is that of the body that the caller has.
                for answer in [&mut theirs, &mut ours] {
                    answer["headers"]
                        .as_object_mut()
                        .unwrap()
                        .remove("content-length");
                }
            }
            assert_eq!(ours, theirs, "{form} {path}");
        }
    }
    let mut event = at("function-url", "/status");
    event["rawQueryString"] = json!("503");
    let [theirs, ours] = both.answers(&event);
    assert_eq!(
        ours,
        json!({"error": r#"{"statusCode":503,"body":"no\"t good"}"#})
    );
    // Its next version has the same words.
    let theirs = theirs["error"].as_str().unwrap();
    assert!(theirs.ends_with("error status code: 503"), "{theirs}");
}
