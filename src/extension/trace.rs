//! The trace of a start: its spans, and the trace of the invocation that waited for it.
//!
//! The accounting makes it and an exporter writes it; neither knows the other.

use crate::shared::digits::hexadecimal;

/// The spans of one start of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// Whether an invocation waited for the start and was then served.
    pub(super) is_cold_start: bool,
    /// The trace that the invocation belongs to which waited for the start.
    pub(super) parent: Option<Parent>,
    /// The root first, and each other one after its parent and within the time of that.
    pub(super) spans: Vec<Span>,
}

/// A part of a start. Times are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) name: &'static str,
    /// The place of the parent in the list of spans; the root's own.
    pub(super) parent: usize,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// A trace header: `Root=1-…;Parent=…;Sampled=…`.
///
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    /// As W3C and OTLP write it: the 32 hexadecimal digits without the version and the dashes.
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: Option<[u8; 8]>,
    /// Whether the trace is recorded; absent where that is not decided yet.
    pub(super) is_sampled: Option<bool>,
}

impl Parent {
    /// Reads a header; `None` if it names no trace.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let field = |name: &str| {
            let fields = header.split(';').filter_map(|field| field.split_once('='));
            let mut named = fields.filter(|(known, _)| known.trim_ascii() == name);
            named.next().map(|(_, value)| value.trim_ascii())
        };
        let (epoch, unique) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let (high, low) = unique.split_at_checked(8)?;
        let number = |digits: &str, count: usize| {
            let number = hexadecimal(digits.as_bytes());
            number.filter(|_| digits.len() == count)
        };
        let high = number(epoch, 8)? << 32 | number(high, 8)?;
        let trace_id = u128::from(high) << 64 | u128::from(number(low, 16)?);
        let parent = field("Parent").and_then(|digits| number(digits, 16));
        // Zeros are no valid ids: <https://www.w3.org/TR/trace-context/#trace-id>.
        (trace_id != 0).then_some(Self {
            trace_id: trace_id.to_be_bytes(),
            span_id: parent.filter(|id| *id != 0).map(u64::to_be_bytes),
            is_sampled: match field("Sampled") {
                Some("1") => Some(true),
                Some("0") => Some(false),
                Some(_) | None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_a_trace() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let parent = Parent {
            trace_id: 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793_u128.to_be_bytes(),
            span_id: Some(0x5399_5c3f_42cd_8ad8_u64.to_be_bytes()),
            is_sampled: Some(true),
        };
        assert_eq!(Parent::parse(header), Some(parent));
        let id = "1-5759e988-bd862e3fe1be46a994272793";
        let table = [
            (format!("{header};Lineage=1:a:0"), Some(true), true),
            (
                format!("Sampled=0; Parent=53995c3f42cd8ad8; Root={id}"),
                Some(false),
                true,
            ),
            (format!("Root={id};Sampled=?"), None, false),
            (format!("Self=1-x;Root={id}"), None, false),
            (format!("Root={id};Parent=0000000000000000"), None, false),
            (format!("Root={id};Parent=53995c3f42cd8ad"), None, false),
        ];
        for (header, is_sampled, has_span) in table {
            let expected = Parent {
                is_sampled,
                span_id: parent.span_id.filter(|_| has_span),
                ..parent
            };
            assert_eq!(Parent::parse(&header), Some(expected), "{header}");
        }
    }

    #[test]
    fn other_texts_name_no_trace() {
        for header in [
            "",
            "Root",
            "Root=",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988bd862e3fe1be46a994272793",
            "Root=1-5759e98-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=1-5759e988-bd862e3fe1be46a9942727930",
            "Root=1-5759e988-bd862e3fe1be46a99427279\u{e9}",
            "Root=1-5759e988-bd86\u{e9}\u{e9}3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
        ] {
            assert_eq!(Parent::parse(header), None, "{header}");
        }
    }
}
