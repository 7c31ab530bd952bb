//! A router of axum as a function.
//!
//! With an argument the body of a response goes out while it is made.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use bantam_http::{Invocation, RequestContext};
use serde::Deserialize;

#[derive(Deserialize)]
struct Range {
    from: u32,
}

/// Counts for five events, one every 10 ms.
async fn count(Query(range): Query<Range>) -> impl IntoResponse {
    let numbers = futures_lite::stream::iter(range.from..range.from + 5);
    let events = futures_lite::stream::StreamExt::then(numbers, async |number: u32| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(Event::default().data(number.to_string()))
    });
    Sse::new(events)
}

/// A body that fails behind so many pieces.
async fn fail(Path(pieces): Path<usize>) -> Body {
    let pieces = std::iter::repeat_n("piece\n", pieces).map(Ok);
    let failure = Err(std::io::Error::other("the disk is full"));
    Body::from_stream(futures_lite::stream::iter(pieces.chain([failure])))
}

async fn greet(Path(name): Path<String>) -> String {
    format!("hello {name}\n")
}

async fn cookies(headers: HeaderMap) -> impl IntoResponse {
    let cookies = headers.get("cookie").cloned();
    let text = cookies.map(|cookies| String::from_utf8_lossy(cookies.as_bytes()).into_owned());
    let set = [("set-cookie", "a=1"), ("set-cookie", "b=2; HttpOnly")];
    (
        StatusCode::CREATED,
        AppendHeaders(set),
        text.unwrap_or_default(),
    )
}

async fn invocation(request: axum::extract::Request) -> String {
    let invocation = request.extensions().get::<Invocation>();
    let context = request.extensions().get::<RequestContext>();
    let id = invocation.map(|invocation| invocation.request_id.as_str());
    format!("{id:?} {}", context.map_or("", RequestContext::json))
}

fn main() -> Result<(), std::io::Error> {
    let router = Router::new()
        .route("/greet/{name}", get(greet))
        .route("/count", get(count))
        .route("/fail/{pieces}", get(fail))
        .route("/cookies", get(cookies))
        .route("/invocation", get(invocation))
        .route("/echo", post(async |body: axum::body::Bytes| body));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let service = bantam_http::service(router).on(runtime);
    if std::env::args_os().len() > 1 {
        bantam::main(service.streamed())
    }
    bantam::main(service)
}
