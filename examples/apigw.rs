//! A typed handler for an API Gateway HTTP API, with the types of `aws_lambda_events`.

use aws_lambda_events::encodings::Body;
use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use bantam::Context;
use http::header::{CONTENT_TYPE, HeaderValue};

fn hello(
    request: ApiGatewayV2httpRequest,
    context: &Context<'_>,
) -> Result<ApiGatewayV2httpResponse, bantam::Error> {
    let name = request
        .query_string_parameters
        .first("name")
        .unwrap_or("world");
    let path = request.raw_path.as_deref().unwrap_or("/");
    let text = format!(
        "hello {name}, this is {path}, request {}\n",
        context.request_id()
    );
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = 200;
    response
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.body = Some(Body::Text(text));
    Ok(response)
}

fn main() {
    bantam::main(bantam::typed!(hello))
}
