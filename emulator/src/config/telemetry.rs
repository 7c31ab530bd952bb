//! The Telemetry API's settings.

use std::time::Duration;

/// A version of the schema of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaVersion {
    /// Log lines are strings.
    V2022_07_01,
    /// Log lines are objects when the log format is JSON.
    V2022_12_13,
    /// As the one before; the only one on managed instances.
    V2025_01_29,
}

/// How the Telemetry API behaves where Lambda leaves it open or a test wants it otherwise.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// Subscriptions are answered 202 `Telemetry.NotSupported` and nothing is ever sent, as by
    /// the default mode of aws-lambda-runtime-interface-emulator and by SAM.
    pub stubbed: bool,
    /// The schema versions a subscription may ask for. Others get a `ValidationError`.
    pub schema_versions: Vec<SchemaVersion>,
    /// Batches go out with `Transfer-Encoding: chunked` in chunks of this size, and not with
    /// `Content-Length`.
    pub chunk_bytes: Option<usize>,
    /// The size of each subscriber's queue, and of the backlog before the first subscription.
    /// Records that do not fit are dropped and reported in `platform.logsDropped`.
    pub queue_bytes_max: usize,
    /// The pause after a first failed delivery. It doubles with each further one.
    pub retry_pause_min: Duration,
    /// The longest pause.
    pub retry_pause_max: Duration,
    /// The queues are flushed before the extensions get `SHUTDOWN`, as on Managed Instances.
    /// Elsewhere it is a race: Lambda sends the last records when they are due, and an extension
    /// exits when it likes.
    pub flush_at_shutdown: bool,
    /// Types of records, `platform.initReport` for one, that no subscriber gets.
    pub lost: Vec<String>,
    /// Types of records that come late: behind the next `platform.report`, in the order in which
    /// they were made. Without such a report they are lost.
    pub late: Vec<String>,
}

impl SchemaVersion {
    /// Every version there is, oldest first.
    pub const ALL: [Self; 3] = [Self::V2022_07_01, Self::V2022_12_13, Self::V2025_01_29];

    /// As it stands in a subscription.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2022_07_01 => "2022-07-01",
            Self::V2022_12_13 => "2022-12-13",
            Self::V2025_01_29 => "2025-01-29",
        }
    }

    /// Whether a log line that is a JSON object is sent as one.
    pub(crate) fn has_objects(self) -> bool {
        match self {
            Self::V2022_07_01 => false,
            Self::V2022_12_13 | Self::V2025_01_29 => true,
        }
    }
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            stubbed: false,
            schema_versions: SchemaVersion::ALL.to_vec(),
            chunk_bytes: None,
            queue_bytes_max: 4 * 1024 * 1024,
            retry_pause_min: Duration::from_millis(20),
            retry_pause_max: Duration::from_secs(1),
            flush_at_shutdown: false,
            lost: Vec::new(),
            late: Vec::new(),
        }
    }
}
