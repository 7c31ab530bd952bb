//! What processes give to the Telemetry API, as functions of bytes that panic where a promise is
//! broken.

#![expect(
    clippy::unwrap_used,
    reason = "a target ends where a promise is broken"
)]

use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::event::{Event, Rendered};
use super::subscription::{Destination, Subscription};
use crate::config::LogFormat;
use crate::config::telemetry::SchemaVersion;

/// A subscription is in the limits of the platform, or refused with a reason.
pub(crate) fn subscription(data: &[u8]) {
    let accepted = [SchemaVersion::V2022_12_13, SchemaVersion::V2025_01_29];
    match Subscription::parse(data, &accepted) {
        Ok(subscription) => {
            let buffering = subscription.buffering;
            assert!((1_000..=10_000).contains(&buffering.items_max));
            assert!((262_144..=1_048_576).contains(&buffering.bytes_max));
            assert!((25..=30_000).contains(&buffering.timeout.as_millis()));
            assert!((1..=3).contains(&subscription.types.len()));
            let port = subscription.destination.port();
            assert!(port != 0 && port != 9_001);
            if let Destination::Http { path, .. } = subscription.destination {
                assert!(path.starts_with('/'), "{path}");
            }
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// A log line becomes a record on one line. A string in it is the line; an object is the line as it
/// was written.
pub(crate) fn log_line(data: &[u8]) {
    let line = String::from_utf8_lossy(data).into_owned();
    let is_object = line.trim().starts_with('{')
        && !line.trim().contains('\n')
        && serde_json::from_str::<IgnoredAny>(line.trim()).is_ok();
    let events = [
        (Event::FunctionLog(line.clone()), "function"),
        (Event::ExtensionLog(line.clone()), "extension"),
    ];
    for (event, name) in events {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234);
        for format in [LogFormat::Text, LogFormat::Json] {
            let rendered = Rendered::new(&event, time, format);
            let text: Value = serde_json::from_slice(rendered.json(false)).unwrap();
            assert_eq!(text["record"], line);
            assert_eq!(text["type"], name);
            assert_eq!(text["time"], "1970-01-01T00:00:01.234Z");
            let record = rendered.json(true);
            assert!(!record.contains(&b'\n'));
            if format == LogFormat::Json && is_object {
                let expected = format!(
                    r#"{{"time":"1970-01-01T00:00:01.234Z","type":"{name}","record":{}}}"#,
                    line.trim()
                );
                assert_eq!(record, expected.as_bytes());
                serde_json::from_slice::<IgnoredAny>(record).unwrap();
            } else {
                assert_eq!(record, rendered.json(false));
            }
        }
    }
}
