//! The endpoints of the Extensions API: from a request to the registry and back.
//!
//! docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

use std::sync::Arc;
use std::time::Instant;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::body::{Reset, error_response};
use crate::environment::Env;
use crate::environment::extensions::{Notice, Refused, Report};
use crate::http::{Collected, Payload, header, json_response, object, response};
use crate::record::transcript::What;

/// The body of `register`. `null` stands for a missing member, as Go decodes it.
#[derive(Debug, Default, Deserialize)]
struct Registration {
    #[serde(default)]
    events: Option<Vec<String>>,
    /// Not in use any more; refused if there are any.
    #[serde(default, rename = "configurationKeys")]
    configuration_keys: Option<Vec<String>>,
}

/// `POST /extension/register`.
pub(crate) fn register(env: &Env, headers: &HeaderMap, body: &Collected) -> Response<Payload> {
    let Some(name) = header(headers, "lambda-extension-name") else {
        return refuse(&Refused {
            error_type: "Extension.InvalidExtensionName",
            message: "Empty extension name".to_owned(),
        });
    };
    let events = match events(&body.data) {
        Ok(events) => events,
        Err(message) => {
            return refuse(&Refused {
                error_type: "InvalidRequestFormat",
                message,
            });
        }
    };
    let mut inner = env.lock();
    let registered = match inner.extensions.register(&name, &events, Instant::now()) {
        Ok(registered) => registered,
        Err(refused) => return refuse(&refused),
    };
    let id = registered.id.to_string();
    let what = What::ExtensionRegistered {
        extension: name,
        external: registered.external,
        events: registered.event_names(),
    };
    drop(inner);
    env.record(what);
    env.notify();
    registered_response(env, headers, &id)
}

fn registered_response(env: &Env, headers: &HeaderMap, id: &str) -> Response<Payload> {
    let config = &env.shared.config;
    let mut body = json!({
        "functionName": config.function_name,
        "functionVersion": config.function_version,
        "handler": config.handler,
    });
    let features = header(headers, "lambda-extension-accept-feature").unwrap_or_default();
    if features
        .split(',')
        .any(|feature| feature.trim() == "accountId")
    {
        body["accountId"] = Value::from(config.account_id.clone());
    }
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        (IDENTIFIER, id),
    ];
    response(200, headers, Payload::sized(format!("{body}\n")))
}

pub(super) fn events(body: &[u8]) -> Result<Vec<String>, String> {
    let registration: Registration = object(body).map_err(|error| error.to_string())?;
    if registration
        .configuration_keys
        .is_some_and(|keys| !keys.is_empty())
    {
        return Err("configurationKeys are deprecated; use environment variables instead".into());
    }
    Ok(registration.events.unwrap_or_default())
}

/// `GET /extension/event/next`, which waits without a bound.
pub(crate) async fn next(
    env: &Env,
    headers: &HeaderMap,
    read_at: Instant,
) -> Result<Response<Payload>, Reset> {
    let id = match identifier(headers) {
        Ok(id) => id,
        Err(refused) => return Ok(refuse(&refused)),
    };
    let asked = env.lock().extensions.next(id, read_at);
    let (name, event) = match asked {
        Ok(asked) => asked,
        Err(refused) => return Ok(refuse(&refused)),
    };
    env.record(What::ExtensionReady {
        extension: name.clone(),
    });
    env.notify();
    let notice = event.await.map_err(|_gone| Reset)?;
    let what = match notice.as_ref() {
        Notice::Invoke { request_id, .. } => What::ExtensionEventSent {
            extension: name,
            event: "INVOKE",
            request_id: Some(request_id.clone()),
        },
        Notice::Shutdown { .. } => What::ExtensionEventSent {
            extension: name,
            event: "SHUTDOWN",
            request_id: None,
        },
    };
    env.record(what);
    Ok(render(&notice))
}

/// The platform sets the media type of an `INVOKE` event only. Go adds one to `SHUTDOWN`, which has
/// none.
fn render(notice: &Arc<Notice>) -> Response<Payload> {
    let body = Payload::sized(notice.json().to_string());
    let event_id = Uuid::new_v4().to_string();
    match notice.as_ref() {
        Notice::Invoke { .. } => {
            let headers = [
                (CONTENT_TYPE.as_str(), "application/json"),
                ("Lambda-Extension-Event-Identifier", event_id.as_str()),
            ];
            response(200, headers, body)
        }
        Notice::Shutdown { .. } => {
            let headers = [(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")];
            response(200, headers, body)
        }
    }
}

/// `POST /extension/init/error` and `/extension/exit/error`.
pub(crate) fn report(env: &Env, report: Report, headers: &HeaderMap) -> Response<Payload> {
    let reported = identifier(headers).and_then(|id| {
        let error_type = header(headers, ERROR_TYPE).ok_or_else(|| Refused {
            error_type: "Extension.MissingHeader",
            message: format!("{ERROR_TYPE} not found"),
        })?;
        let name = env.lock().extensions.report(report, id, &error_type)?;
        Ok((name, error_type))
    });
    match reported {
        Ok((extension, error_type)) => {
            env.record(What::ExtensionReported {
                extension,
                init: report == Report::Init,
                error_type,
            });
            env.notify();
            json_response(202, "{\"status\":\"OK\"}\n")
        }
        Err(refused) => refuse(&refused),
    }
}

/// The extension that a request names.
pub(crate) fn identifier(headers: &HeaderMap) -> Result<Uuid, Refused> {
    let Some(id) = header(headers, IDENTIFIER) else {
        return Err(Refused {
            error_type: "Extension.MissingExtensionIdentifier",
            message: format!("Missing {IDENTIFIER} header"),
        });
    };
    Uuid::parse_str(&id).map_err(|_malformed| Refused {
        error_type: "Extension.InvalidExtensionIdentifier",
        message: format!("Invalid {IDENTIFIER}"),
    })
}

pub(crate) fn refuse(refused: &Refused) -> Response<Payload> {
    error_response(403, refused.error_type, &refused.message)
}

const IDENTIFIER: &str = "Lambda-Extension-Identifier";
const ERROR_TYPE: &str = "Lambda-Extension-Function-Error-Type";
