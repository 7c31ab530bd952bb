//! The limits on what is read, each with its reason.

/// Bytes of a line. A log event has at most 1 MiB; escaped in JSON, with up to six bytes for one,
/// and as one of the events of a document it is longer.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;

/// Bytes of one element of a JSON document: a log event, a row, or one subject of the emulator. Of
/// a row of a CSV as well, which a quote that is not closed would make of the rest of the file.
pub(crate) const ELEMENT_BYTES_MAX: usize = 64 << 20;

/// Bytes of a message of a protobuf file, as a collector's file exporter writes it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Rows of Logs Insights that are held to be brought into the order of their times: a query gives
/// at most as many.
pub(crate) const ROWS_HELD_MAX: usize = 10_000;

/// Bytes of the texts of these rows, which are held no longer than up to here.
pub(crate) const ROWS_HELD_BYTES_MAX: usize = 16 << 20;

/// Milliseconds since 1970 of the last time that RFC 3339 can write: the end of the year 9999.
pub(crate) const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// The largest number that is a figure: a duration in milliseconds of up to all these years. Bytes
/// and counts are far below it.
pub(crate) const FIGURE_MAX: f64 = 253_402_300_799_999.0;

/// Environments that are kept. Each takes about 350 bytes. Later ones are counted and left out.
pub(crate) const ENVIRONMENTS_MAX: usize = 1_000_000;

/// Starts that are kept. Each takes about 260 bytes. Later ones are counted and left out.
pub(crate) const STARTS_MAX: usize = 1_000_000;

/// Names of functions, versions, zones, kinds and causes that are kept; a further name becomes
/// [`OTHER`].
pub(crate) const NAMES_MAX: usize = 100_000;

/// Bytes of a name; the rest is cut off. An ARN has at most 170.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// The name of what has no room for a name of its own.
pub(crate) const OTHER: &str = "other";

/// Problems that are shown with file and line; further ones are only counted.
pub(crate) const PROBLEMS_SHOWN_MAX: usize = 20;

/// Folders inside each other that are looked through for files.
pub(crate) const FOLDERS_DEEP_MAX: usize = 16;
