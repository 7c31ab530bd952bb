//! The runtime: events, answers, failures, and executables as handlers.

mod adapter;
mod api_gone;
mod errors;
mod events;
mod executable;
mod executable_streams;
mod faults;
mod hooks;
mod hostile_api;
mod hostile_server;
mod http_server;
mod mistakes;
mod panics;
mod persistent;
mod start;
mod steady;
mod streams;
mod workers;
