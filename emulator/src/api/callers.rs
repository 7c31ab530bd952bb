//! The port for callers: the Invoke API, and beside it the function as a web server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::api::{function_url, invoke};
use crate::environment::pool::Pool;
use crate::http::port::Port;
use crate::http::{PAYLOAD_BYTES_MAX, Payload, collect};

/// Serves the port until it is shut.
pub(crate) async fn accept_all(pool: Arc<Pool>, port: Arc<Port>) {
    while let Some(stream) = port.accept().await {
        let _unset = stream.set_nodelay(true);
        let Ok(peer) = stream.peer_addr() else {
            // It is gone already.
            continue;
        };
        let pool = Arc::clone(&pool);
        drop(tokio::spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&pool), peer, request));
            // A caller that goes away does not concern the others.
            let _broken = http1::Builder::new()
                .title_case_headers(true)
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }));
    }
}

async fn serve(
    pool: Arc<Pool>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = collect(body, PAYLOAD_BYTES_MAX + 1).await;
    Ok(if is_api(parts.uri.path()) {
        invoke::serve(pool, &parts, &body).await
    } else {
        function_url::serve(pool, &parts, &body.data, peer).await
    })
}

/// Whether a path belongs to an API of AWS: each begins with the date of its version.
fn is_api(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    let mut parts = first.split('-');
    let mut digits = |length| {
        parts.next().is_some_and(|part: &str| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit())
        })
    };
    digits(4) && digits(2) && digits(2) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_api;

    #[test]
    fn a_path_of_an_api_begins_with_a_date() {
        let table = [
            ("/2015-03-31/functions/f/invocations", true),
            (
                "/2021-11-15/functions/f/response-streaming-invocations",
                true,
            ),
            ("/2018-06-01", true),
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
