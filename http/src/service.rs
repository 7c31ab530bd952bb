//! A service of tower as a handler.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Write as _;

use bantam::{Answer, Answered, Context, Error, Handler, Prelude};
use bytes::{Buf as _, Bytes};
use http::response::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};

use crate::event::Source;
use crate::handler::no_request;
use crate::reply::{Reply, text};
use crate::request;

/// Any error of a service or of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Runs futures to their end on the thread of the handler.
///
/// [`Local`] is for services that bring their own executor or need none. With the feature `tokio`,
/// a `tokio::runtime::Runtime` is one for those that use tokio's timers, sockets or tasks.
pub trait Executor {
    /// Runs a future to its end.
    fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T;
}

/// Polls the one future, on the thread of the handler.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Executor for Local {
    fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T {
        futures_lite::future::block_on(future)
    }
}

#[cfg(feature = "tokio")]
impl Executor for tokio::runtime::Runtime {
    fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T {
        Self::block_on(self, future)
    }
}

/// Makes a handler from a service of tower, such as a router of axum.
///
/// ```no_run
/// use axum::Router;
/// use axum::routing::get;
///
/// fn main() {
///     let router = Router::new().route("/", get(|| async { "hello\n" }));
///     bantam::main(bantam_http::service(router))
/// }
/// ```
///
/// A panic is an error of the invocation, and an error of the service as well, for which callers
/// see the status 502.
#[must_use = "hand it to `bantam::main`"]
pub const fn service<S>(service: S) -> Service<S> {
    Service {
        service,
        executor: Local,
        is_streamed: false,
    }
}

/// A service of tower as a handler; [`service()`] makes it.
#[must_use = "hand it to `bantam::main`"]
pub struct Service<S, X = Local> {
    service: S,
    executor: X,
    is_streamed: bool,
}

impl<S, X> Service<S, X> {
    /// Runs the service on another executor. It has to be ready for a frozen environment: between
    /// invocations nothing runs.
    pub fn on<Y: Executor>(self, executor: Y) -> Service<S, Y> {
        Service {
            service: self.service,
            executor,
            is_streamed: self.is_streamed,
        }
    }

    /// Sends the body of a response while the service makes it, each piece at once.
    ///
    /// This is for a function URL with the invoke mode `RESPONSE_STREAM` and for API Gateway with
    /// the response transfer mode `STREAM`. Any other caller gets a response without a body.
    pub fn streamed(mut self) -> Self {
        self.is_streamed = true;
        self
    }
}

impl<S, X, B> Handler for Service<S, X>
where
    S: tower_service::Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
    X: Executor,
{
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        let (request, source) = match request::read(event, context) {
            Ok(read) => read,
            Err(error) => return answer.error(no_request(&error)),
        };
        let request = request.map(Full::new);
        let (service, is_streamed) = (&mut self.service, self.is_streamed);
        self.executor.block_on(async move {
            let called = async {
                poll_fn(|context| service.poll_ready(context)).await?;
                service.call(request).await
            };
            match called.await {
                Err(error) => answer.error(Error::from(error.into())),
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    if is_streamed {
                        stream(answer, &head, body).await
                    } else {
                        respond(answer, source, &head, body).await
                    }
                }
            }
        })
    }
}

async fn respond<B: Body<Error: Into<BoxError>>>(
    answer: Answer<'_>,
    source: Source,
    head: &Parts,
    body: B,
) -> Answered {
    let body = std::pin::pin!(body);
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => answer.json(&Reply::new(source, head, &body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("a response of more than {BODY_BYTES_MAX} bytes");
            answer.error(Error::new("Function.ResponseSizeTooLarge", message))
        }
        Err(error) => answer.error(Error::from(error)),
    }
}

async fn stream<B: Body<Error: Into<BoxError>>>(
    answer: Answer<'_>,
    head: &Parts,
    body: B,
) -> Answered {
    let mut body = std::pin::pin!(body);
    let mut stream = answer.http_stream(&prelude(head));
    // The head goes out before the first piece, which may take its time.
    if let Err(error) = stream.flush() {
        return stream.error(error);
    }
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return stream.error(Error::from(error.into())),
        };
        // The platform takes no trailers of the response.
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        while data.has_remaining() {
            let piece = data.chunk();
            let length = piece.len();
            if let Err(error) = stream.write_all(piece) {
                return stream.error(error);
            }
            data.advance(length);
        }
        if let Err(error) = stream.flush() {
            return stream.error(error);
        }
    }
    stream.finish()
}

fn prelude(head: &Parts) -> Prelude {
    let mut prelude = Prelude::new(head.status.as_u16());
    for (name, value) in &head.headers {
        prelude = prelude.header(name.as_str(), &text(value));
    }
    prelude
}

impl<S, X> fmt::Debug for Service<S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("is_streamed", &self.is_streamed)
            .finish_non_exhaustive()
    }
}

/// Bytes of a body that is gathered: the limit of a response.
const BODY_BYTES_MAX: usize = 6_291_556;
