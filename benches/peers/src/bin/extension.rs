//! The telemetry extension of the README of `lambda-extension`, counting what comes.

use std::sync::atomic::{AtomicUsize, Ordering};

use lambda_extension::{Error, Extension, LambdaTelemetry, SharedService, service_fn};

static EVENTS: AtomicUsize = AtomicUsize::new(0);

async fn handler(events: Vec<LambdaTelemetry>) -> Result<(), Error> {
    EVENTS.fetch_add(events.len(), Ordering::Relaxed);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let processor = SharedService::new(service_fn(handler));
    Extension::new()
        .with_telemetry_processor(processor)
        .run()
        .await
}
