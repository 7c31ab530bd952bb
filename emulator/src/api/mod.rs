//! The HTTP side of the emulator, in hyper.
//!
//! `route`, `runtime`, `extensions`, `telemetry` and `metadata` are what the processes of an
//! environment call, on two ports of its own that are served here. Its callers call `invoke` (with
//! `streaming`) and `function_url` (with `rest_api`, `url_reply` and `url_stream`), on the port
//! that `callers` serves.

mod body;
pub(crate) mod callers;
mod extensions;
mod function_name;
mod function_url;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod invoke;
mod metadata;
mod pace;
mod reported;
mod rest_api;
mod route;
mod runtime;
mod streaming;
mod telemetry;
mod url_reply;
mod url_stream;
mod web_request;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::api::runtime::Connection;
use crate::config::Initialization;
use crate::environment::{Env, Open};
use crate::fault::stream::{Control, FaultStream};
use crate::fault::{Drawn, FaultKind};
use crate::http::port::Port;
use crate::record::transcript::What;

/// Serves the environment's ports, each on a task of its own.
pub(crate) fn serve(env: Arc<Env>) {
    if let Some(metadata) = &env.metadata {
        let port = Arc::clone(&metadata.port);
        drop(tokio::spawn(accept_all(Arc::clone(&env), port)));
    }
    let port = Arc::clone(&env.port);
    drop(tokio::spawn(accept_all(env, port)));
}

async fn accept_all(env: Arc<Env>, port: Arc<Port>) {
    while let Some(stream) = port.accept().await {
        let drawn = env.shared.faults.connection();
        env.record(What::Connected {
            connection: drawn.number,
        });
        let connection = Connection {
            env: Arc::clone(&env),
            port: Arc::clone(&port),
            control: Control::default(),
            number: drawn.number,
        };
        let control = connection.control.clone();
        let number = drawn.number;
        let mut inner = env.lock();
        inner.connections.retain(|open| !open.task.is_finished());
        if connections_max(&env) <= inner.connections.len() {
            drop(inner);
            env.record(What::Disconnected {
                connection: drawn.number,
            });
            continue;
        }
        let task = tokio::spawn(serve_connection(connection, stream, drawn));
        inner.connections.push(Open {
            task: task.abort_handle(),
            control,
            number,
        });
    }
}

async fn serve_connection(connection: Connection, stream: TcpStream, drawn: Drawn) {
    let Connection { env, number, .. } = &connection;
    if apply(env, &connection.port, &stream, drawn).await {
        let _unset = stream.set_nodelay(true);
        let io = TokioIo::new(FaultStream::new(stream, connection.control.clone()));
        let service = service_fn(|request| runtime::serve(connection.clone(), request));
        // A connection that breaks is part of what is emulated; the transcript shows its end.
        let _broken = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
            .await;
    }
    env.record(What::Disconnected {
        connection: *number,
    });
}

/// Applies the faults of a connection; false if it is not to be served.
async fn apply(env: &Env, port: &Arc<Port>, stream: &TcpStream, drawn: Drawn) -> bool {
    let mut serve = true;
    for fault in drawn.faults {
        env.record(What::FaultApplied {
            fault: format!("{:?} at {:?}", fault.kind, fault.at),
        });
        match fault.kind {
            FaultKind::Delay(duration) => sleep(duration).await,
            FaultKind::Unreachable(duration) => {
                port.close_for(duration);
                serve = false;
            }
            FaultKind::ResetBefore => serve = false,
            FaultKind::Refuse { .. }
            | FaultKind::ResetAfter
            | FaultKind::ResetWaiting(_)
            | FaultKind::CutAt(_)
            | FaultKind::CloseAt(_)
            | FaultKind::SplitAt(_)
            | FaultKind::ByteByByte
            | FaultKind::Garbage(_)
            | FaultKind::Instead(_)
            | FaultKind::Status(..)
            | FaultKind::EarlyStatus(..) => {}
        }
    }
    if !serve {
        let _closed_anyway = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
    serve
}

/// The connections that an environment may have at once: its processes have some ten, and on
/// Managed Instances one more for each poll. A further one is closed.
fn connections_max(env: &Env) -> usize {
    let config = &env.shared.config;
    let is_managed = config.initialization == Initialization::ManagedInstances;
    CONNECTIONS_MAX + if is_managed { config.polls_max } else { 0 }
}

const CONNECTIONS_MAX: usize = 128;

/// As much as a Go server takes (`http.DefaultMaxHeaderBytes`): an X-Ray cause is a header and
/// may be long.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
