//! The export request of the trace of a start.
//!
//! Attributes are those of the conventions where they have one:
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>.

use super::message::Message;
use super::{any_value, attribute, request, text_attribute};
use crate::extension::metric::{Batch, Detail, Resource};
use crate::extension::trace::{Span, Trace};
use crate::shared::backoff::Jitter;

/// The id of the trace: the one of the invocation that waited, or a new one.
pub(in crate::extension) fn trace_id(trace: &Trace, ids: &mut Jitter) -> [u8; 16] {
    match trace.parent {
        Some(parent) => parent.trace_id,
        None => (u128::from(ids.random()) << 64 | u128::from(ids.random())).to_be_bytes(),
    }
}

/// The body of the request that exports a trace. `batch` has the figures of the same start, of
/// which the properties are on the root, and `given` are attributes of the resource.
pub(in crate::extension) fn encode(
    resource: &Resource,
    given: &[(String, String)],
    batch: &Batch,
    trace: &Trace,
    trace_id: [u8; 16],
    ids: &mut Jitter,
) -> Vec<u8> {
    let span_ids: Vec<[u8; 8]> = trace
        .spans
        .iter()
        .map(|_| ids.random().to_be_bytes())
        .collect();
    request(resource, given, &mut |out| {
        for (place, (one, id)) in trace.spans.iter().zip(&span_ids).enumerate() {
            let is_root = place == one.parent;
            let parent = match is_root {
                true => trace.parent.and_then(|parent| parent.span_id),
                false => span_ids.get(one.parent).copied(),
            };
            out.message(scope_spans::SPANS, &mut |out| {
                out.bytes(span::TRACE_ID, &trace_id);
                out.bytes(span::SPAN_ID, id);
                if let Some(parent) = &parent {
                    out.bytes(span::PARENT_SPAN_ID, parent);
                }
                span(one, out);
                if is_root {
                    start(batch, trace, out);
                }
            });
        }
    })
}

fn span(one: &Span, out: &mut Message) {
    out.string(span::NAME, one.name);
    out.integer(span::KIND, SPAN_KIND_INTERNAL);
    out.fixed(span::START_TIME, one.start_ns);
    out.fixed(span::END_TIME, one.end_ns);
}

/// Writes what the root has beside what every span has.
fn start(batch: &Batch, trace: &Trace, out: &mut Message) {
    attribute(span::ATTRIBUTES, "faas.coldstart", out, &mut |out| {
        out.integer(any_value::BOOL, trace.is_cold_start.into());
    });
    // The points of a start have the same attributes: its kind, its cause.
    let first = batch.points.iter().take(1);
    let mut failure = None;
    for (name, value) in first.flat_map(|point| &point.attributes) {
        // It is below, by the name that the conventions have.
        if *name == "error_type" {
            failure = Some(value);
        } else {
            text_attribute(span::ATTRIBUTES, &["bantam.", name].concat(), value, out);
        }
    }
    for (name, value) in &batch.properties {
        let name = match *name {
            "request_id" => "faas.invocation_id".to_owned(),
            // In the span itself, and in the resource.
            "trace_id" | "start_ms" | "instance_id" | "memory_mb" => continue,
            name => ["bantam.", name].concat(),
        };
        attribute(span::ATTRIBUTES, &name, out, &mut |out| match value {
            Detail::Text(text) => out.string(any_value::STRING, text),
            Detail::Number(number) => out.double(any_value::DOUBLE, *number),
        });
    }
    if let Some(failure) = failure {
        text_attribute(span::ATTRIBUTES, "error.type", failure, out);
        out.message(span::STATUS, &mut |out| {
            out.integer(status::CODE, STATUS_CODE_ERROR);
        });
    }
}

/// A value of `SpanKind`.
const SPAN_KIND_INTERNAL: u64 = 1;

/// A value of `StatusCode`.
const STATUS_CODE_ERROR: u64 = 2;

// The numbers of the fields, by message. `ExportTraceServiceRequest`, `ResourceSpans` and
// `ScopeSpans` have those of the messages for metrics.

/// `ScopeSpans`
mod scope_spans {
    pub(super) const SPANS: u8 = 2;
}

/// `Span`
mod span {
    pub(super) const TRACE_ID: u8 = 1;
    pub(super) const SPAN_ID: u8 = 2;
    pub(super) const PARENT_SPAN_ID: u8 = 4;
    pub(super) const NAME: u8 = 5;
    pub(super) const KIND: u8 = 6;
    pub(super) const START_TIME: u8 = 7;
    pub(super) const END_TIME: u8 = 8;
    pub(super) const ATTRIBUTES: u8 = 9;
    pub(super) const STATUS: u8 = 15;
}

/// `Status`
mod status {
    pub(super) const CODE: u8 = 3;
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span as Decoded;
    use prost::Message as _;

    use super::super::super::samples;
    use super::*;
    use crate::extension::trace::Parent;

    fn trace() -> Trace {
        let span = |name, parent, start_ns, end_ns| Span {
            name,
            parent,
            start_ns,
            end_ns,
        };
        let spans = vec![
            span("environment start", 0, 1_000, 9_000),
            span("init", 0, 1_000, 4_000),
            span("init runtime", 1, 2_000, 4_000),
            span("first invocation", 0, 5_000, 9_000),
        ];
        Trace {
            is_cold_start: true,
            parent: Parent::parse(
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            ),
            spans,
        }
    }

    /// The spans of a trace, and of a start whose points have these attributes.
    fn decoded(trace: &Trace, attributes: &[(&'static str, &str)]) -> Vec<Decoded> {
        let mut batch = samples::batch();
        batch.points = vec![samples::point(&samples::DURATION, attributes, &[1.0])];
        batch.properties = vec![
            ("request_id", Detail::from("r")),
            ("trace_id", Detail::from("t")),
            ("duration_source", Detail::from("stamps")),
            ("memory_used", Detail::Number(1_048_576.0)),
        ];
        let mut ids = Jitter::new(7);
        let id = trace_id(trace, &mut ids);
        let given = [("team".to_owned(), "t".to_owned())];
        let body = encode(&samples::resource(), &given, &batch, trace, id, &mut ids);
        let mut request = ExportTraceServiceRequest::decode(&*body).unwrap();
        assert_eq!(request.encode_to_vec(), body, "nothing is unknown");
        let mut resource = request.resource_spans.pop().unwrap();
        let attributes = resource.resource.unwrap().attributes;
        assert_eq!(attributes.first().unwrap().key, "service.name");
        assert_eq!(attributes.last().unwrap().key, "team");
        let scope = resource.scope_spans.pop().unwrap();
        assert_eq!(scope.scope.unwrap().name, "bantam");
        scope.spans
    }

    /// The attributes of a span, as texts.
    fn attributes(span: &Decoded) -> Vec<(&str, String)> {
        let texts = span.attributes.iter().map(|attribute| {
            let value = attribute.value.as_ref().unwrap().value.as_ref().unwrap();
            if let Value::BoolValue(value) = value {
                return (attribute.key.as_str(), value.to_string());
            }
            if let Value::DoubleValue(value) = value {
                return (attribute.key.as_str(), value.to_string());
            }
            let Value::StringValue(text) = value else {
                panic!("{value:?}");
            };
            (attribute.key.as_str(), text.clone())
        });
        texts.collect()
    }

    #[test]
    fn the_spans_of_a_start_are_a_tree() {
        let trace = trace();
        let spans = decoded(
            &trace,
            &[("cause", "demand"), ("cold_start_kind", "on_demand")],
        );
        let parents = [
            vec![0x53, 0x99, 0x5c, 0x3f, 0x42, 0xcd, 0x8a, 0xd8],
            spans[0].span_id.clone(),
            spans[1].span_id.clone(),
            spans[0].span_id.clone(),
        ];
        for ((span, expected), parent) in spans.iter().zip(&trace.spans).zip(parents) {
            assert_eq!(span.name, expected.name);
            assert_eq!(span.parent_span_id, parent, "{}", span.name);
            assert_eq!(span.trace_id, trace.parent.unwrap().trace_id);
            assert_eq!(span.start_time_unix_nano, expected.start_ns);
            assert_eq!(span.end_time_unix_nano, expected.end_ns);
            assert_eq!(span.status, None);
        }
        let expected = [
            ("faas.coldstart", "true"),
            ("bantam.cause", "demand"),
            ("bantam.cold_start_kind", "on_demand"),
            ("faas.invocation_id", "r"),
            ("bantam.duration_source", "stamps"),
            ("bantam.memory_used", "1048576"),
        ];
        let expected = expected.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(attributes(&spans[0]), expected);
        assert!(spans[1..].iter().all(|span| span.attributes.is_empty()));
        assert_eq!(spans.len(), 4);
    }

    #[test]
    fn a_start_that_failed_has_the_error_and_a_trace_of_its_own() {
        let failed = Trace {
            is_cold_start: false,
            parent: None,
            ..trace()
        };
        let spans = decoded(
            &failed,
            &[("cause", "unknown"), ("error_type", "Runtime.ExitError")],
        );
        let [root, children @ ..] = spans.as_slice() else {
            panic!("no root");
        };
        assert_eq!(root.parent_span_id, [0; 0]);
        assert_eq!(root.status.as_ref().unwrap().code, 2);
        let error = ("error.type", "Runtime.ExitError".to_owned());
        assert!(attributes(root).contains(&error));
        assert!(attributes(root).contains(&("faas.coldstart", "false".to_owned())));
        let has_it_once = |(name, _): &(&str, String)| !name.ends_with("error_type");
        assert!(attributes(root).iter().all(has_it_once));
        assert_eq!(root.trace_id.len(), 16);
        assert_ne!(root.trace_id, [0; 16]);
        for child in children {
            assert_eq!(child.trace_id, root.trace_id);
            assert_eq!(child.status, None);
        }
    }

    #[test]
    fn environments_have_traces_of_their_own() {
        let alone = Trace {
            parent: None,
            ..trace()
        };
        let id = |seed| trace_id(&alone, &mut Jitter::new(seed));
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
