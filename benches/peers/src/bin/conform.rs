//! A function that the conformance run asks, on `lambda_runtime`. Its actions are in the
//! documentation of `bantam_emulator::conform`.

use std::env;
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, service_fn};
use serde_json::{Value, json};

const ACTIONS: [&str; 8] = [
    "context", "crash", "echo", "fail", "init", "large", "sleep", "stream",
];

async fn serve(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    if event.payload.get("conform") == Some(&json!("stream")) {
        return Ok(FunctionResponse::StreamingResponse(stream(event.payload)));
    }
    buffered(event)
        .await
        .map(FunctionResponse::BufferedResponse)
}

fn stream(asked: Value) -> Response<Body> {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        let chunks = asked.get("chunks").and_then(Value::as_array);
        for chunk in chunks.into_iter().flatten().filter_map(Value::as_str) {
            sender.send_data(chunk.to_owned().into()).await?;
        }
        if asked.get("fail") == Some(&Value::Bool(true)) {
            sender.abort();
            return Ok(());
        }
        Ok::<_, Error>(())
    });
    Response::from(body)
}

async fn buffered(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (asked, context) = event.into_parts();
    let number = |name: &str| asked.get(name).and_then(Value::as_u64).unwrap_or_default();
    match asked.get("conform").and_then(Value::as_str) {
        Some("actions") => Ok(json!(ACTIONS)),
        Some("context") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let deadline = Duration::from_millis(context.deadline);
            Ok(json!({
                "requestId": context.request_id,
                "functionArn": context.invoked_function_arn,
                "remainingMs": deadline.saturating_sub(now).as_secs_f64() * 1e3,
                "clientContext": context.client_context.map(|client| json!({ "custom": client.custom })),
                "tenantId": context.tenant_id,
                "trace": env::var("_X_AMZN_TRACE_ID").ok(),
            }))
        }
        Some("fail") => Err("asked to fail".into()),
        Some("large") => Ok(json!("x".repeat(usize::try_from(number("bytes"))?))),
        Some("sleep") => {
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            Ok(asked)
        }
        Some("crash") => process::exit(1),
        _ => Ok(asked),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if env::var("CONFORM_INIT").is_ok_and(|asked| asked == "fail") {
        return Err("asked to fail".into());
    }
    lambda_runtime::run(service_fn(serve)).await
}
