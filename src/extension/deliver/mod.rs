//! Encoded batches on their way to their receivers. The only part of the export that does I/O.

pub(super) mod lines;
pub(super) mod otlp;
