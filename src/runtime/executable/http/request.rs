//! The HTTP request that the server gets for an event.

use std::borrow::Cow;

use super::event::{self, COOKIE, HttpEvent, Origin, Pair, Query, Text, is_token};
use super::settings::Settings;
use crate::runtime::context::Context;
use crate::shared::base64;
use crate::shared::digits::hexadecimal;
use crate::shared::http::HeadWriter;
use crate::shared::json::{ascii, is_json, key, member};
use crate::shared::text::{push, push_decimal, same};

/// A request, ready to be written.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Who sent it; `None` for an event that is not an HTTP request.
    pub(super) origin: Option<Origin>,
    pub(super) method: Cow<'a, str>,
    pub(super) target: String,
    pub(super) head: Vec<u8>,
    pub(super) body: Cow<'a, [u8]>,
}

impl<'a> Request<'a> {
    /// The request for an event; `None` if the body is not the base64 that the event says it is.
    pub(super) fn new(event: &'a [u8], context: &Context<'_>, settings: &Settings) -> Option<Self> {
        match event::parse(event) {
            Some(event) => Self::of(event, context, settings),
            None => Some(Self::pass_through(event, context, settings)),
        }
    }

    /// True if the response has no body.
    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The request that an event holds.
    #[inline(never)]
    fn of(event: HttpEvent<'a>, context: &Context<'_>, settings: &Settings) -> Option<Self> {
        let body = match (event.body, event.is_base64) {
            (body, true) => Cow::Owned(base64::decode(body.as_bytes())?),
            (Cow::Borrowed(body), false) => Cow::Borrowed(body.as_bytes()),
            (Cow::Owned(body), false) => Cow::Owned(body.into_bytes()),
        };
        let mut target = Vec::new();
        write_target(&mut target, &event.path, &event.query, &settings.base_path);
        let target = String::from_utf8(target).unwrap_or_default();
        let host = event.headers.iter().find(|(name, _)| is(name, "host"));
        let host = host.filter(|(_, host)| host.bytes().all(|byte| byte.is_ascii_graphic()));
        let host = host.map_or(&*settings.server.authority, |(_, host)| host);
        let mut head = Vec::new();
        let mut writer = HeadWriter::request(&mut head, &event.method, &[&target], host);
        let source = &*settings.authorization_source;
        let mut names = event.headers.iter().map(|(name, _)| name);
        let has_source = names.any(|name| !name.is_empty() && is(name, source));
        let own = [
            Some("host"),
            Some("expect"),
            Some(COOKIE),
            Some(CONTENT_LENGTH),
            Some(REQUEST_CONTEXT),
            Some(LAMBDA_CONTEXT),
            has_source.then_some(AUTHORIZATION),
            context.trace_id().map(|_| TRACE_ID),
            context.tenant_id().map(|_| TENANT_ID),
        ];
        for (name, value) in &event.headers {
            // What `Connection` lists was between the client and AWS, which has added fields since:
            // a client could list those.
            if !is_token(name.as_bytes()) || is_hop_by_hop(name, &[]) {
                continue;
            }
            // Also if it is one of those, such as `Authorization` itself.
            if is(name, source) {
                writer = writer.field(AUTHORIZATION, value.as_bytes());
            } else if !own.iter().flatten().any(|own| is(name, own)) {
                writer = writer.field(name, value.as_bytes());
            }
        }
        // HTTP/2 has a field for each cookie, and HTTP/1.1 one for all:
        // <https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3>.
        let fields = if event.cookies.is_empty() {
            &event.headers
        } else {
            &event.cookies
        };
        let cookies = fields.iter().filter(|(name, _)| is(name, COOKIE));
        let cookies: Vec<&str> = cookies.map(|(_, cookie)| &**cookie).collect();
        if !cookies.is_empty() {
            writer = writer.field(COOKIE, cookies.join("; ").as_bytes());
        }
        finish(
            writer,
            &event.method,
            event.context.get(),
            context,
            settings,
            body.len(),
        );
        Some(Self {
            origin: Some(event.origin),
            method: event.method,
            target,
            head,
            body,
        })
    }

    /// An event that is not an HTTP request, posted as it is.
    fn pass_through(event: &'a [u8], context: &Context<'_>, settings: &Settings) -> Self {
        let target = settings.pass_through_path.clone();
        let mut head = Vec::new();
        let host = &*settings.server.authority;
        let writer = HeadWriter::request(&mut head, POST, &[&target], host)
            .constant("content-type: application/json");
        finish(writer, POST, "null", context, settings, event.len());
        Self {
            origin: None,
            method: Cow::Borrowed(POST),
            target,
            head,
            body: Cow::Borrowed(event),
        }
    }
}

/// Adds what every request has.
fn finish(
    head: HeadWriter<'_>,
    method: &str,
    request_context: &str,
    context: &Context<'_>,
    settings: &Settings,
    body_bytes: usize,
) {
    let lambda_context = lambda_context(context, settings);
    let head = head
        .optional_field(TRACE_ID, context.trace_id())
        .optional_field(TENANT_ID, context.tenant_id())
        .field(REQUEST_CONTEXT, &ascii(request_context))
        .field(LAMBDA_CONTEXT, &ascii(&lambda_context));
    // <https://www.rfc-editor.org/rfc/rfc9110#section-8.6>
    if body_bytes == 0 && !matches!(method, "POST" | "PUT" | "PATCH") {
        head.end();
    } else {
        head.end_with_length(body_bytes);
    }
}

/// What the server learns about the invocation: the JSON of `lambda_runtime`'s `Context`, which AWS
/// Lambda Web Adapter sends.
#[inline(never)]
fn lambda_context(context: &Context<'_>, settings: &Settings) -> String {
    let mut out = Vec::new();
    push(&mut out, "{\"deadline\":");
    push_decimal(&mut out, context.deadline_ms().unwrap_or(0));
    push(&mut out, ",\"identity\":");
    let identity = context.cognito_identity().unwrap_or_default();
    if let Some([Some(Text(id)), Some(Text(pool_id))]) = event::identity(identity.as_bytes()) {
        push(&mut out, "{");
        member("identityPoolId", &pool_id, &mut out);
        member("identityId", &id, &mut out);
        push(&mut out, "}");
    } else {
        push(&mut out, "null");
    }
    push(&mut out, ",\"client_context\":");
    let client_context = context.client_context().unwrap_or_default();
    let is_known = is_json(client_context.as_bytes());
    push(&mut out, if is_known { client_context } else { "null" });
    let texts = [
        ("request_id", Some(context.request_id())),
        ("invoked_function_arn", context.invoked_function_arn()),
        ("xray_trace_id", context.trace_id()),
        ("tenant_id", context.tenant_id()),
        // These are members of `env_config`.
        ("function_name", context.function_name()),
        ("version", context.function_version()),
        ("log_stream", Some(&settings.log_stream)),
        ("log_group", Some(&settings.log_group)),
    ];
    for (name, value) in texts {
        if name == "function_name" {
            push(&mut out, ",\"env_config\":{\"memory\":");
            push_decimal(&mut out, context.memory_mb().unwrap_or(0).into());
        }
        match value {
            Some(text) => member(name, text, &mut out),
            None => {
                key(name, &mut out);
                push(&mut out, "null");
            }
        }
    }
    push(&mut out, "}}");
    String::from_utf8(out).unwrap_or_default()
}

/// Writes the path without the base path, and the query.
#[inline(never)]
fn write_target(out: &mut Vec<u8>, path: &str, query: &Query<'_>, base_path: &str) {
    // A base path ends where a part of the path does: `/api` is not the start of `/apiary`.
    let rest = path.strip_prefix(base_path);
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = rest.unwrap_or(path);
    if !path.starts_with('/') {
        out.push(b'/');
    }
    // A gateway has decoded the path, and some servers refuse what no path holds:
    // <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>.
    encode(out, path, |byte| !b"\"#<>?[\\]^`{|}".contains(&byte));
    let mut mark = b'?';
    match query {
        Query::Raw(query) if query.is_empty() => {}
        Query::Raw(query) => {
            out.push(mark);
            encode(out, query, is_of_query);
        }
        Query::Encoded(pairs) => {
            for (name, value) in pairs {
                out.push(mark);
                encode(out, name, is_of_query);
                out.push(b'=');
                encode(out, value, is_of_query);
                mark = b'&';
            }
        }
        Query::Decoded(pairs) => {
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            for (name, value) in pairs {
                out.push(mark);
                encode(out, name, is_safe);
                out.push(b'=');
                encode(out, value, is_safe);
                mark = b'&';
            }
        }
    }
}

/// True for what a query holds as it is, percent signs included.
fn is_of_query(byte: u8) -> bool {
    !b"\"#<>".contains(&byte)
}

/// Appends text with every byte percent-encoded that is not visible ASCII, or not allowed, or a
/// percent sign that two digits do not follow:
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.
fn encode(out: &mut Vec<u8>, text: &str, is_allowed: impl Fn(u8) -> bool) {
    let mut rest = text.as_bytes();
    while let [byte, ref after @ ..] = *rest {
        rest = after;
        let is_code = || after.get(..2).and_then(hexadecimal).is_some();
        if byte.is_ascii_graphic() && is_allowed(byte) && (byte != b'%' || is_code()) {
            out.push(byte);
        } else {
            let digit = |value: u8| value + if value < 10 { b'0' } else { b'A' - 10 };
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xF)]);
        }
    }
}

/// True if a field is about the connection that it came over, by its name, or because one of
/// these fields lists it as such.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>
pub(super) fn is_hop_by_hop(name: &str, fields: &[Pair<'_>]) -> bool {
    let is_listed = |(field, value): &Pair<'_>| {
        is(field, "connection") && is_in_list(value.as_bytes(), name.as_bytes())
    };
    HOP_BY_HOP.iter().any(|other| is(name, other)) || fields.iter().any(is_listed)
}

fn is_in_list(list: &[u8], name: &[u8]) -> bool {
    let mut items = list.split(|byte| *byte == b',');
    items.any(|item| same(item.trim_ascii(), name))
}

/// True if the names are the same.
pub(super) fn is(name: &str, other: &str) -> bool {
    same(name.as_bytes(), other.as_bytes())
}

const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const POST: &str = "POST";
const AUTHORIZATION: &str = "authorization";
const CONTENT_LENGTH: &str = "content-length";
const LAMBDA_CONTEXT: &str = "x-amzn-lambda-context";
const REQUEST_CONTEXT: &str = "x-amzn-request-context";
const TENANT_ID: &str = "x-amz-tenant-id";
const TRACE_ID: &str = "x-amzn-trace-id";
