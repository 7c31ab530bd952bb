//! The port for callers: the Invoke API, and beside it the function as a web server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::body::text_response;
use crate::api::{function_url, invoke};
use crate::environment::pool::Pool;
use crate::http::port::Port;
use crate::http::{PAYLOAD_BYTES_MAX, Payload, collect, host_fault};

/// Serves the port until it is shut.
///
/// What a caller may take is bounded: connections, the time they wait for a request, bytes and
/// fields (100, by hyper) of a head, bytes and time of a body. How long the answer takes is the
/// function's time.
pub(crate) async fn accept_all(pool: Arc<Pool>, port: Arc<Port>) {
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(stream) = port.accept().await {
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            // One that does not take it at once goes without.
            let _untold = stream.try_write(FULL);
            continue;
        };
        let pool = Arc::clone(&pool);
        drop(tokio::spawn(async move {
            serve_connection(pool, stream).await;
            drop(permit);
        }));
    }
}

async fn serve_connection(pool: Arc<Pool>, stream: TcpStream) {
    let _unset = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else {
        // It is gone already.
        return;
    };
    let service = service_fn(|request| serve(Arc::clone(&pool), peer, request));
    // A caller that goes away does not concern the others.
    let _broken = http1::Builder::new()
        .title_case_headers(true)
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn serve(
    pool: Arc<Pool>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Some(fault) = host_fault(&parts) {
        return Ok(text_response(400, fault));
    }
    // A success would make a tunnel of the connection (RFC 9110 section 9.3.6).
    if parts.method == Method::CONNECT {
        return Ok(text_response(405, "the emulator is no proxy\n"));
    }
    let Ok(body) = timeout(BODY_TIME_MAX, collect(body, PAYLOAD_BYTES_MAX + 1)).await else {
        return Ok(text_response(408, "the body did not come in time\n"));
    };
    // An event that was cut off must not be taken for a whole one (RFC 9112 section 8).
    if body.truncated {
        return Ok(text_response(400, "the body is broken or incomplete\n"));
    }
    Ok(if is_api(parts.uri.path()) {
        invoke::serve(pool, &parts, &body).await
    } else {
        function_url::serve(pool, &parts, &body.data, peer).await
    })
}

/// Connections at once: half of the descriptors that a process has by default, of which an
/// environment needs some ten.
const CONNECTIONS_MAX: usize = 512;

/// Bytes of a head: AWS's load balancers take as much of all fields together.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may wait for the head of its first or next request to be complete.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the body of a request may take, of at most 6 MB.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\r\ntoo many connections\n";

/// Whether a path belongs to the Invoke API, whose operations begin with the date of their version.
fn is_api(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    matches!(first, "2015-03-31" | "2021-11-15")
}

#[cfg(test)]
mod tests {
    use super::is_api;

    #[test]
    fn a_path_of_an_api_begins_with_its_date() {
        let table = [
            ("/2015-03-31/functions/f/invocations", true),
            (
                "/2021-11-15/functions/f/response-streaming-invocations",
                true,
            ),
            ("/2015-03-31", true),
            // As a page of a blog may be called.
            ("/2018-06-01", false),
            ("/2024-05-01/x", false),
            ("/", false),
            ("/hello", false),
            ("/2015-03-31x/functions", false),
            ("/2015-03-31-1/functions", false),
            ("/2015-3-31/functions", false),
            ("/orders/2015-03-31", false),
        ];
        for (path, expected) in table {
            assert_eq!(is_api(path), expected, "{path}");
        }
    }
}
