//! Which exporters there are and what they need, from the environment.
//!
//! A bad value never stops the extension: it falls back to its default, and a warning says so.
//! The variables of OTLP are the standard ones:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
//! They never switch OTLP on by themselves, because functions set them for their own telemetry.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::extension::export::emf::{self, Emf};
use crate::extension::export::list;
use crate::extension::export::otlp::Otlp;
use crate::extension::settings::{Lookup, Reader};
use crate::shared::endpoint;
use crate::shared::text::same;

/// The exporters that are on, each with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::extension) struct Settings {
    /// EMF on standard output.
    pub(in crate::extension) emf: Option<Emf>,
    /// OTLP over HTTP.
    pub(in crate::extension) otlp: Option<Otlp>,
    /// `BANTAM_NDJSON_FILE`: the file that lines are appended to.
    pub(in crate::extension) ndjson: Option<&'static str>,
    /// `BANTAM_DOGSTATSD`: where datagrams are sent.
    pub(in crate::extension) dogstatsd: Option<SocketAddr>,
    /// `OTEL_SERVICE_NAME`, or `service.name` of `OTEL_RESOURCE_ATTRIBUTES` if OTLP is on.
    pub(in crate::extension) service_name: &'static str,
    /// What was wrong with the values, for the log. Values that can hold secrets are not in it.
    pub(in crate::extension) warnings: Vec<String>,
}

impl Settings {
    /// Reads the settings through `lookup`.
    #[inline(never)]
    pub(in crate::extension) fn read(lookup: Lookup<'_>) -> Self {
        let mut reader = Reader::new(lookup);
        let mut service_name = reader.text("OTEL_SERVICE_NAME").unwrap_or_default();
        let [is_emf, is_otlp, is_ndjson, is_dogstatsd, _] = exporters(&mut reader);
        Self {
            emf: is_emf.then(|| read_emf(&mut reader)),
            otlp: match is_otlp {
                true => super::otlp::read(&mut reader, &mut service_name),
                false => None,
            },
            ndjson: is_ndjson.then(|| read_ndjson(&mut reader)),
            dogstatsd: is_dogstatsd.then(|| read_dogstatsd(&mut reader)),
            service_name,
            warnings: reader.warnings,
        }
    }
}

/// Which of [`EXPORTERS`] are on.
fn exporters(reader: &mut Reader<'_>) -> [bool; EXPORTERS.len()] {
    let using = "emf";
    let mut exporters = [false; EXPORTERS.len()];
    for name in list(reader.text("BANTAM_EXPORTERS").unwrap_or(using)) {
        let is_named = |known: &&str| same(known.as_bytes(), name.as_bytes());
        match EXPORTERS.iter().position(is_named) {
            Some(index) => exporters[index] = true,
            None => reader.warn(&[
                "BANTAM_EXPORTERS: ",
                name,
                " is none of emf, otlp, ndjson, dogstatsd, none",
            ]),
        }
    }
    let [real @ .., is_none] = &mut exporters;
    match (real.contains(&true), *is_none) {
        (false, false) => {
            reader.warn(&["BANTAM_EXPORTERS names no exporter, using ", using]);
            exporters[0] = true;
        }
        (true, true) => {
            reader.warn(&["BANTAM_EXPORTERS names none beside exporters, using the exporters"]);
        }
        (false, true) | (true, false) => {}
    }
    exporters
}

fn read_emf(reader: &mut Reader<'_>) -> Emf {
    Emf {
        namespace: reader.value(
            "BANTAM_EMF_NAMESPACE",
            emf::NAMESPACE,
            emf::is_namespace,
            &[
                " is not 1 to 256 of letters, digits, spaces and ._#:/-, using ",
                emf::NAMESPACE,
            ],
        ),
        dimensions: reader.value(
            "BANTAM_EMF_DIMENSIONS",
            emf::DIMENSIONS,
            emf::are_dimensions,
            &[
                " is not sets between semicolons of at most 30 names between commas, using ",
                emf::DIMENSIONS,
            ],
        ),
    }
}

fn read_ndjson(reader: &mut Reader<'_>) -> &'static str {
    reader.value(
        "BANTAM_NDJSON_FILE",
        NDJSON_FILE,
        |path| path.as_bytes().first() == Some(&b'/'),
        &[" is not an absolute path, using ", NDJSON_FILE],
    )
}

fn read_dogstatsd(reader: &mut Reader<'_>) -> SocketAddr {
    let name = "BANTAM_DOGSTATSD";
    let default = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, DOGSTATSD_PORT));
    let Some(value) = reader.text(name) else {
        return default;
    };
    endpoint::address(value).unwrap_or_else(|error| {
        reader.warn(&[name, ": ", error.as_str(), ", using 127.0.0.1:8125"]);
        default
    })
}

/// The names in `BANTAM_EXPORTERS`.
const EXPORTERS: [&str; 5] = ["emf", "otlp", "ndjson", "dogstatsd", "none"];

/// The only folder that can be written.
const NDJSON_FILE: &str = "/tmp/bantam.ndjson";

const DOGSTATSD_PORT: u16 = 8_125;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::export::otlp::Encoding;

    fn read(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(&|name| {
            let mut pairs = pairs.iter();
            pairs
                .find(|(key, _)| *key == name)
                .map(|(_, value)| &*(*value).to_owned().leak())
        })
    }

    fn otlp(pairs: &[(&str, &str)]) -> (Option<Otlp>, Vec<String>) {
        let mut all = vec![("BANTAM_EXPORTERS", "otlp")];
        all.extend_from_slice(pairs);
        let settings = read(&all);
        (settings.otlp, settings.warnings)
    }

    fn sets(sets: &[&[&str]]) -> Vec<Vec<String>> {
        let owned = |set: &&[&str]| set.iter().map(|name| (*name).to_owned()).collect();
        sets.iter().map(owned).collect()
    }

    /// The sets as they are written on a line that has all their names.
    fn written(dimensions: &str) -> Vec<Vec<String>> {
        let names: Vec<&str> = dimensions.split([',', ';']).map(str::trim).collect();
        let mut written = Vec::new();
        emf::dimension_sets(dimensions, &names, &mut written);
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn without_settings_there_is_emf() {
        let settings = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")]);
        let expected = Settings {
            emf: Some(Emf {
                namespace: "Bantam",
                dimensions: "function_name;function_name,cold_start_kind",
            }),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn exporters_are_a_list() {
        let unknown = "BANTAM_EXPORTERS: x is none of emf, otlp, ndjson, dogstatsd, none";
        let nothing = "BANTAM_EXPORTERS names no exporter, using emf";
        let both = "BANTAM_EXPORTERS names none beside exporters, using the exporters";
        let table: [(&str, [bool; 4], &[&str]); 9] = [
            ("", [true, false, false, false], &[]),
            ("none", [false; 4], &[]),
            ("emf", [true, false, false, false], &[]),
            (" OTLP , emf,,emf", [true, true, false, false], &[]),
            ("emf,otlp,ndjson,dogstatsd", [true; 4], &[]),
            ("x", [true, false, false, false], &[unknown, nothing]),
            ("x,ndjson", [false, false, true, false], &[unknown]),
            ("none,dogstatsd", [false, false, false, true], &[both]),
            (",", [true, false, false, false], &[nothing]),
        ];
        for (value, on, warnings) in table {
            let settings = read(&[("BANTAM_EXPORTERS", value)]);
            let found = [
                settings.emf.is_some(),
                settings.otlp.is_some(),
                settings.ndjson.is_some(),
                settings.dogstatsd.is_some(),
            ];
            assert_eq!(found, on, "{value}");
            assert_eq!(settings.warnings, warnings, "{value}");
        }
    }

    #[test]
    fn namespaces_are_checked() {
        let long = "n".repeat(256);
        let too_long = "n".repeat(257);
        let table = [
            ("My.App/cold_starts #1:a-b", true),
            (&long, true),
            (&too_long, false),
            ("a&b", false),
            ("na\u{ef}ve", false),
        ];
        for (value, is_taken) in table {
            let settings = read(&[("BANTAM_EMF_NAMESPACE", value)]);
            let expected = if is_taken { value } else { "Bantam" };
            assert_eq!(settings.emf.unwrap().namespace, expected);
            assert_eq!(settings.warnings.is_empty(), is_taken, "{value}");
        }
    }

    #[test]
    fn dimensions_are_sets() {
        let thirty: Vec<String> = (0..30).map(|n| format!("d{n}")).collect();
        let most = thirty.join(",");
        let too_many = [most.as_str(), ",one"].concat();
        let long = "d".repeat(251);
        let table: [(&str, Option<Vec<Vec<String>>>); 11] = [
            ("region", Some(sets(&[&["region"]]))),
            (
                " region , function_name ;region;region",
                Some(sets(&[&["region", "function_name"], &["region"]])),
            ),
            ("region,region", Some(sets(&[&["region"]]))),
            (";", Some(sets(&[&[]]))),
            (";region", Some(sets(&[&[], &["region"]]))),
            (&most, Some(vec![thirty])),
            (&too_many, None),
            (&long, None),
            (":region", None),
            ("_aws", None),
            ("r\u{e9}gion", None),
        ];
        for (value, expected) in table {
            let settings = read(&[("BANTAM_EMF_DIMENSIONS", value)]);
            assert_eq!(settings.warnings.is_empty(), expected.is_some(), "{value}");
            let expected = expected.unwrap_or_else(|| written(emf::DIMENSIONS));
            assert_eq!(
                written(settings.emf.unwrap().dimensions),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn ndjson_goes_to_an_absolute_path() {
        let table = [
            ("/tmp/x", "/tmp/x", 0),
            ("x", "/tmp/bantam.ndjson", 1),
            ("", "/tmp/bantam.ndjson", 0),
        ];
        for (value, path, warnings) in table {
            let settings = read(&[
                ("BANTAM_EXPORTERS", "ndjson"),
                ("BANTAM_NDJSON_FILE", value),
            ]);
            assert_eq!(settings.ndjson, Some(path));
            assert_eq!(settings.warnings.len(), warnings, "{value}");
        }
    }

    #[test]
    fn dogstatsd_goes_to_an_address() {
        let table = [
            ("", "127.0.0.1:8125", 0),
            ("localhost:9125", "127.0.0.1:9125", 0),
            ("[::1]:8125", "[::1]:8125", 0),
            ("10.0.0.1", "127.0.0.1:8125", 1),
            ("agent:8125", "127.0.0.1:8125", 1),
            ("udp://10.0.0.1:8125", "127.0.0.1:8125", 1),
        ];
        for (value, address, warnings) in table {
            let settings = read(&[
                ("BANTAM_EXPORTERS", "dogstatsd"),
                ("BANTAM_DOGSTATSD", value),
            ]);
            assert_eq!(settings.dogstatsd.unwrap().to_string(), address);
            assert_eq!(settings.warnings.len(), warnings, "{value}");
        }
    }

    #[test]
    fn what_otlp_cannot_do_is_said_and_left() {
        let table: [(&str, &str, &[&str]); 6] = [
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none", &[]),
            (
                "OTEL_EXPORTER_OTLP_COMPRESSION",
                "gzip",
                &["OTEL_EXPORTER_OTLP_COMPRESSION can only be none here, using that"],
            ),
            (
                "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
                "zip",
                &["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION can only be none here, using that"],
            ),
            (
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                "Delta",
                &[],
            ),
            (
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                "cumulative",
                &[
                    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE can only be delta here, using that",
                ],
            ),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", " ", &[]),
        ];
        for (name, value, expected) in table {
            let (found, warnings) = otlp(&[(name, value)]);
            assert_eq!(found, otlp(&[]).0, "{name}={value}");
            assert_eq!(warnings, expected, "{name}={value}");
        }
    }

    #[test]
    fn otlp_has_the_defaults_of_the_specification() {
        let expected = Otlp {
            address: "127.0.0.1:4318".parse().unwrap(),
            authority: "localhost:4318",
            target: ["", "", "/v1/metrics"],
            encoding: Encoding::Protobuf,
            headers: Vec::new(),
            timeout_ms: 10_000,
            attributes: Vec::new(),
        };
        assert_eq!(otlp(&[]), (Some(expected), Vec::new()));
    }

    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

    #[test]
    fn an_endpoint_is_an_address_an_authority_and_a_target() {
        let table = [
            (
                BASE,
                "http://10.0.0.1:4318",
                "10.0.0.1:4318 10.0.0.1:4318 /v1/metrics",
            ),
            (
                BASE,
                "http://10.0.0.1:4318/",
                "10.0.0.1:4318 10.0.0.1:4318 /v1/metrics",
            ),
            (
                BASE,
                "HTTP://localhost/base/",
                "127.0.0.1:80 localhost /base/v1/metrics",
            ),
            (
                BASE,
                " http://[::1]:4318 ",
                "[::1]:4318 [::1]:4318 /v1/metrics",
            ),
            (BASE, "http://[::1]/x", "[::1]:80 [::1] /x/v1/metrics"),
            (
                BASE,
                "127.0.0.1:4318",
                "127.0.0.1:4318 127.0.0.1:4318 /v1/metrics",
            ),
            (
                METRICS,
                "http://10.0.0.1:4318",
                "10.0.0.1:4318 10.0.0.1:4318 /",
            ),
            (
                METRICS,
                "http://10.0.0.1:4318/a/?b=c",
                "10.0.0.1:4318 10.0.0.1:4318 /a/?b=c",
            ),
            (METRICS, "http://10.0.0.1?b", "10.0.0.1:80 10.0.0.1 /?b"),
        ];
        for (name, value, expected) in table {
            let (found, warnings) = otlp(&[(name, value)]);
            let found = found.unwrap();
            let target = found.target.concat();
            let text = format!("{} {} {target}", found.address, found.authority);
            assert_eq!(text, expected, "{value}");
            assert_eq!(warnings, [""; 0], "{value}");
        }
    }

    #[test]
    fn the_endpoint_for_metrics_comes_first() {
        let (found, _) = otlp(&[
            (BASE, "http://10.0.0.1:1"),
            (METRICS, "http://10.0.0.2:2/m"),
        ]);
        let found = found.unwrap();
        assert_eq!(
            (found.authority, found.target.concat().as_str()),
            ("10.0.0.2:2", "/m")
        );
    }

    #[test]
    fn an_endpoint_that_cannot_be_reached_switches_otlp_off() {
        let name = "the host is neither an IP address nor localhost";
        let table = [
            ("https://10.0.0.1:4318", "the scheme is not http"),
            ("http://collector:4318", name),
            ("http://collector", name),
            ("http://user:pw@10.0.0.1:4318", name),
            (
                "http://10.0.0.1:x",
                "expected host:port with a port from 1 to 65535",
            ),
            ("http://", "there is no host"),
            (
                "http://10.0.0.1/a b",
                "the path holds a byte that a request line must not hold",
            ),
            (
                "http://10.0.0.1/a#b",
                "the path holds a byte that a request line must not hold",
            ),
            (
                "http://10.0.0.1/a?b",
                "the path holds a byte that a request line must not hold",
            ),
        ];
        for (value, why) in table {
            let (found, warnings) = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]);
            assert_eq!(found, None, "{value}");
            assert_eq!(
                warnings,
                [format!("OTEL_EXPORTER_OTLP_ENDPOINT: {why}; OTLP is off")]
            );
        }
    }

    #[test]
    fn protocols_and_timeouts() {
        let table = [
            ("PROTOCOL", "http/json", Encoding::Json, 10_000, 0),
            ("PROTOCOL", "http/protobuf", Encoding::Protobuf, 10_000, 0),
            ("PROTOCOL", "grpc", Encoding::Protobuf, 10_000, 1),
            ("TIMEOUT", "250", Encoding::Protobuf, 250, 0),
            ("TIMEOUT", "0", Encoding::Protobuf, 10_000, 1),
            ("TIMEOUT", "1s", Encoding::Protobuf, 10_000, 1),
        ];
        for (what, value, encoding, timeout_ms, warned) in table {
            for start in ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"] {
                let name = [start, what].concat();
                let (found, warnings) = otlp(&[(&name, value)]);
                let found = found.unwrap();
                assert_eq!(
                    (found.encoding, found.timeout_ms),
                    (encoding, timeout_ms),
                    "{value}"
                );
                assert_eq!(warnings.len(), warned);
                assert!(warnings.iter().all(|text| text.starts_with(&name)));
            }
        }
    }

    #[test]
    fn headers_are_decoded_and_checked() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [usize]);
        let table: [Row<'_>; 9] = [
            ("api-key=abc", &[("api-key", "abc")], &[]),
            (" a = b , c=d=e,", &[("a", "b"), ("c", "d=e")], &[]),
            (
                "authorization=Basic%20YTpi%3D",
                &[("authorization", "Basic YTpi=")],
                &[],
            ),
            ("a=%C3%A9,b=%zz%4", &[("a", "\u{e9}"), ("b", "%zz%4")], &[]),
            ("a=", &[("a", "")], &[]),
            ("a,b=c", &[("b", "c")], &[1]),
            ("a=x%0D%0AEvil: y,=b,c d=e", &[], &[1, 2, 3]),
            ("a=%FF", &[], &[1]),
            ("Content-Length=5,host=x,ok=1", &[("ok", "1")], &[1, 2]),
        ];
        for (value, expected, left_out) in table {
            let (found, warnings) = otlp(&[("OTEL_EXPORTER_OTLP_HEADERS", value)]);
            assert_eq!(found.unwrap().headers, expected, "{value}");
            let texts = left_out.iter().map(|number| {
                format!("OTEL_EXPORTER_OTLP_HEADERS: entry {number} cannot be sent, left out")
            });
            assert_eq!(warnings, texts.collect::<Vec<_>>(), "{value}");
        }
    }

    #[test]
    fn resource_attributes_and_the_name_of_the_service() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "team=a%2Cb,service.name=s,team=c, x = y ",
        );
        let with = |pairs: &[(&str, &str)]| {
            let mut all = vec![("BANTAM_EXPORTERS", "otlp")];
            all.extend_from_slice(pairs);
            let settings = read(&all);
            (
                settings.otlp.unwrap().attributes,
                settings.service_name,
                settings.warnings.len(),
            )
        };
        let expected = [("team", "c"), ("x", "y")];
        assert_eq!(with(&[attributes]), (expected.to_vec(), "s", 0));
        assert_eq!(
            with(&[attributes, ("OTEL_SERVICE_NAME", "t")]),
            (expected.to_vec(), "t", 0)
        );
        assert_eq!(
            with(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,c")]),
            (Vec::new(), "", 1)
        );
        assert_eq!(read(&[attributes]).service_name, "");
    }
}
