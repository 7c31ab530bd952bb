//! `DogStatsD`: datagrams for an agent or a sidecar.
//!
//! <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>. Values of a line are packed
//! as of version 1.1 of the protocol. There are no timestamps: an agent does not aggregate what has
//! one.
//!
//! Every metric is a distribution, also a count. Each environment has an agent of its own, with the
//! same tags, and of counts and gauges with the same tags and time Datadog keeps the last alone:
//! <https://docs.datadoghq.com/serverless/aws_lambda/metrics/#understanding-distribution-metrics>.

use super::json::number;
use crate::extension::metric::{Batch, Point, Resource, VERSION};
use crate::shared::text::push;

/// Gives each datagram of `batch` to `each`: at most `bytes_max` bytes of whole lines.
///
/// Values are in the units they are kept in: milliseconds and bytes. `given` are the tags that
/// settings add to each line.
pub(in crate::extension) fn datagrams(
    resource: &Resource,
    given: &[(String, String)],
    batch: &Batch,
    bytes_max: usize,
    each: &mut dyn FnMut(&[u8]),
) {
    let mut datagram = Vec::new();
    let mut join = |line: &[u8]| {
        if !datagram.is_empty() {
            if bytes_max < datagram.len() + 1 + line.len() {
                each(&datagram);
                datagram.clear();
            } else {
                datagram.push(b'\n');
            }
        }
        datagram.extend_from_slice(line);
    };
    for point in &batch.points {
        lines(resource, given, point, bytes_max, &mut join);
    }
    if !datagram.is_empty() {
        each(&datagram);
    }
}

/// Gives each line of a point to `each`, with as many values as fit a datagram beside name and
/// tags.
fn lines(
    resource: &Resource,
    given: &[(String, String)],
    point: &Point,
    bytes_max: usize,
    each: &mut dyn FnMut(&[u8]),
) {
    let mut end = Vec::new();
    push(&mut end, "|d");
    tags(resource, given, point, &mut end);
    let mut line = Vec::new();
    for value in &point.values {
        let before = line.len();
        push(&mut line, ":");
        number(*value, &mut line);
        let is_full = bytes_max < line.len() + end.len();
        if before == 0 || is_full {
            let value = line.split_off(before);
            if is_full {
                line.extend_from_slice(&end);
                each(&line);
                line.clear();
            }
            push(&mut line, "bantam.");
            push(&mut line, point.metric.name);
            line.extend_from_slice(&value);
        }
    }
    if !line.is_empty() {
        line.extend_from_slice(&end);
        each(&line);
    }
}

fn tags(resource: &Resource, given: &[(String, String)], point: &Point, out: &mut Vec<u8>) {
    let start = out.len();
    let mut tag = |name: &str, value: &str| {
        let before = out.len();
        push(out, if before == start { "|#" } else { "," });
        let text = name.chars().chain([':']).chain(value.chars());
        for c in text.take(TAG_BYTES_MAX) {
            out.push(tag_byte(c));
        }
        if value.is_empty() || TAGS_BYTES_MAX < out.len() - start {
            out.truncate(before);
        }
    };
    // The tags of every line, except those that are not known.
    tag("function_name", &resource.function_name);
    tag("function_version", &resource.function_version);
    tag("region", &resource.region);
    // Datadog's own variable comes before the one of OpenTelemetry.
    if given.iter().all(|(name, _)| name != "service") {
        tag("service", &resource.service_name);
    }
    tag("bantam_version", VERSION);
    for (name, value) in &point.attributes {
        tag(name, value);
    }
    for (name, value) in given {
        tag(name, value);
    }
}

/// The characters a tag may have; an agent turns any other into an underscore itself, but a comma,
/// a bar or a line end would be taken for the end of the tag.
/// <https://docs.datadoghq.com/getting_started/tagging/#define-tags>
fn tag_byte(c: char) -> u8 {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii_alphanumeric() || b"_-:./".contains(&byte) => byte,
        Ok(_) | Err(_) => b'_',
    }
}

/// Bytes of a datagram over UDP: what is sure to pass a network unfragmented, 1,500 less the
/// headers of IPv6, UDP and a tunnel.
pub(in crate::extension) const UDP_BYTES_MAX: usize = 1_432;

/// Bytes of a datagram over a Unix socket, as an agent takes them by default:
/// <https://docs.datadoghq.com/developers/dogstatsd/high_throughput/>. The queue of a socket holds
/// few datagrams, so they should be long.
pub(in crate::extension) const UNIX_BYTES_MAX: usize = 8_192;

/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 200;

/// Bytes of all tags; further ones are left out.
const TAGS_BYTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::samples::{self, DURATION, Random, point};
    use super::*;

    fn all(resource: &Resource, batch: &Batch) -> Vec<String> {
        all_with(&[], resource, batch)
    }

    fn all_with(given: &[(&str, &str)], resource: &Resource, batch: &Batch) -> Vec<String> {
        let given = given.iter();
        let given: Vec<_> = given
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut all = Vec::new();
        datagrams(resource, &given, batch, UDP_BYTES_MAX, &mut |datagram| {
            all.push(String::from_utf8(datagram.to_vec()).unwrap());
        });
        all
    }

    #[test]
    fn a_batch_is_a_datagram() {
        let tags =
            format!("function_name:f,function_version:7,region:us-east-1,bantam_version:{VERSION}");
        let expected = [
            format!("bantam.init_duration:397.68|d|#{tags},cold_start_kind:on_demand"),
            format!("bantam.invocations:3|d|#{tags}"),
            format!("bantam.memory_used:62914560:63963136|d|#{tags}"),
            format!("bantam.errors:1|d|#{tags},error_type:Function.Panic"),
            format!("bantam.extension_memory:1500000|d|#{tags}"),
        ];
        assert_eq!(
            all(&samples::resource(), &samples::batch()),
            [expected.join("\n")]
        );
    }

    #[test]
    fn what_would_end_a_tag_is_replaced() {
        let mut batch = samples::batch();
        batch.points = vec![point(
            &DURATION,
            &[("error_type", "a,b|c\nd e\u{e9}"), ("x", "")],
            &[1.0],
        )];
        let resource = Resource {
            function_name: "f".to_owned(),
            function_version: "$LATEST".to_owned(),
            service_name: "s".repeat(300),
            ..Resource::default()
        };
        let service = "s".repeat(192);
        assert_eq!(
            all(&resource, &batch),
            [format!(
                "bantam.init_duration:1|d|#function_name:f,function_version:_LATEST,\
                 service:{service},bantam_version:{VERSION},error_type:a_b_c_d_e_"
            )]
        );
    }

    #[test]
    fn given_tags_are_on_every_line_as_far_as_they_fit() {
        let mut batch = samples::batch();
        batch.points = vec![point(&DURATION, &[("error_type", "x")], &[1.0])];
        let resource = Resource {
            function_name: "f".to_owned(),
            service_name: "of_otel".to_owned(),
            ..Resource::default()
        };
        let long = "n".repeat(250);
        let given = [
            ("service", "shop"),
            ("env", "a|b"),
            ("te,am", "t"),
            (&long, "v"),
        ];
        let found = all_with(&given, &resource, &batch);
        let start = format!(
            "bantam.init_duration:1|d|#function_name:f,bantam_version:{VERSION},error_type:x"
        );
        let cut = "n".repeat(200);
        assert_eq!(
            found,
            [format!("{start},service:shop,env:a_b,te_am:t,{cut}")]
        );
        let [found] = &all_with(&given[1..2], &resource, &batch)[..] else {
            panic!("one line");
        };
        assert!(found.contains(",service:of_otel,"), "{found}");
        let lengths = (1..20).map(|bytes| {
            let first = "x".repeat(bytes);
            let mut many = vec![("tag", "of eleven"); 100];
            many[0].1 = &first;
            let found = all_with(&many, &resource, &batch);
            found[0].len() - found[0].find("|#").unwrap()
        });
        assert_eq!(lengths.max(), Some(TAGS_BYTES_MAX));
    }

    #[test]
    fn a_datagram_may_have_all_the_bytes_of_one() {
        let resource = samples::resource();
        let of = |values| point(&DURATION, &[], values);
        // One line, and two.
        for points in [vec![of(&[1.0, 2.0])], vec![of(&[1.0]), of(&[2.0])]] {
            let mut batch = samples::batch();
            batch.points = points;
            let count = |bytes_max| {
                let mut count = 0;
                datagrams(&resource, &[], &batch, bytes_max, &mut |_| count += 1);
                count
            };
            let whole = all(&resource, &batch)[0].len();
            assert_eq!([whole, whole - 1].map(count), [1, 2]);
        }
    }

    #[test]
    fn datagrams_are_whole_lines_and_bounded_and_lose_no_value() {
        let mut random = Random(2);
        for _ in 0..300 {
            let (resource, batch) = (random.resource(), random.batch());
            let mut found = 0;
            for datagram in all(&resource, &batch) {
                assert!(!datagram.is_empty() && datagram.len() <= UDP_BYTES_MAX);
                for line in datagram.split('\n') {
                    let parts: Vec<&str> = line.split('|').collect();
                    assert!(
                        parts.len() <= 3 && parts[2..].iter().all(|tags| tags.starts_with('#'))
                    );
                    let (name, packed) = parts[0].split_once(':').unwrap();
                    let metric = name.strip_prefix("bantam.").unwrap();
                    assert!(batch.points.iter().any(|p| p.metric.name == metric));
                    assert_eq!(parts[1], "d");
                    for value in packed.split(':') {
                        assert!(value.parse::<f64>().unwrap().is_finite());
                        found += 1;
                    }
                }
            }
            assert_eq!(
                found,
                batch.points.iter().map(|p| p.values.len()).sum::<usize>()
            );
        }
    }
}
