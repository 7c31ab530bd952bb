//! Telemetry records as the platform writes them. Times are milliseconds since the start of the
//! world.

use super::START;
use crate::shared::time::EpochMs;

fn record(at: u64, kind: &str, members: &str) -> String {
    let time = EpochMs(START.0 + at).to_rfc3339();
    format!(r#"{{"time":"{time}","type":"platform.{kind}","record":{{{members}}}}}"#)
}

/// `initStart`, or `restoreStart` of a restore.
pub(super) fn phase_start(at: u64, kind: &str, init_type: &str) -> String {
    let members = format!(
        r#""initializationType":"{init_type}","phase":"init","functionName":"f","instanceId":"i""#
    );
    record(at, kind, &members)
}

/// `initReport`, `initRuntimeDone` or the same of a restore.
pub(super) fn phase_end(at: u64, kind: &str, status: &str, duration_ms: u64) -> String {
    let members = format!(r#""status":"{status}","metrics":{{"durationMs":{duration_ms}}}"#);
    record(at, kind, &members)
}

pub(super) fn start(at: u64, id: &str) -> String {
    record(at, "start", &format!(r#""requestId":"{id}""#))
}

pub(super) fn runtime_done(at: u64, id: &str, status: &str, duration_ms: u64) -> String {
    let metrics = format!(r#""metrics":{{"durationMs":{duration_ms}}}"#);
    let members = format!(r#""requestId":"{id}","status":"{status}",{metrics}"#);
    record(at, "runtimeDone", &members)
}

pub(super) fn report(at: u64, id: &str, status: &str, duration_ms: u64) -> String {
    let metrics = format!(r#""metrics":{{"durationMs":{duration_ms}}}"#);
    let members = format!(r#""requestId":"{id}","status":"{status}",{metrics}"#);
    record(at, "report", &members)
}
