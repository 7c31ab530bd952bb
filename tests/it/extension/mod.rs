//! The extension beside a function.

mod deliveries;
mod exporters;
mod faults;
mod flood;
mod hostile;
mod kinds;
mod lifecycle;
mod otlp;
mod platform;
mod reported;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;
