//! The metadata endpoint of one environment: its port, its token and the document.
//!
//! docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html
//!
//! On Lambda it has the address of the Runtime API today, which nobody promises. Here it has a port
//! of its own, so that a client has to use `AWS_LAMBDA_METADATA_API`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::environment::Env;
use crate::http::port::Port;
use crate::record::outcome::Metadata;

/// The endpoint of one environment.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) port: Arc<Port>,
    /// `AWS_LAMBDA_METADATA_TOKEN`.
    pub(crate) token: String,
}

impl Endpoint {
    pub(crate) fn new(port: Arc<Port>) -> Self {
        let token = Uuid::new_v4().to_string();
        Self { port, token }
    }

    pub(crate) fn describe(&self) -> Metadata {
        Metadata {
            api: self.port.addr(),
            token: self.token.clone(),
        }
    }
}

impl Env {
    /// The document and how long it stays valid; `None` without zones.
    pub(crate) fn metadata_document(&self) -> Option<(Value, Duration)> {
        let config = &self.shared.config;
        let restores = self.lock().restores;
        let zones = config.availability_zones.len();
        // The first environment is in the first zone; each restore goes to another one.
        let at = usize::try_from(self.id).ok()?.checked_add(restores)?;
        let zone = config.availability_zones.get(at.checked_rem(zones)?)?;
        let mut document = json!({ "AvailabilityZoneID": zone });
        if self.is_managed() {
            document["CapacityProviderArn"] = Value::from(format!(
                "arn:aws:lambda:{}:{}:capacity-provider:default",
                config.region, config.account_id
            ));
        }
        let max_age = if self.takes_snapshots() && restores == 0 {
            MAX_AGE_BEFORE_SNAPSHOT
        } else {
            MAX_AGE
        };
        Some((document, max_age))
    }
}

/// "max-age=43200": an environment does not move.
const MAX_AGE: Duration = Duration::from_secs(43_200);
/// "Shorter" before a snapshot, because the restored environment is elsewhere; this is the value in
/// the example of aws-lambda-runtime-interface-emulator (`internal/lmds/example_test.go`).
const MAX_AGE_BEFORE_SNAPSHOT: Duration = Duration::from_secs(1);
