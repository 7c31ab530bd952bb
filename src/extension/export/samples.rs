//! Metrics and batches for the tests of all exporters, some written and some generated.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the fuzz targets use one batch")
)]

use crate::extension::metric::{Batch, Detail, Kind, Metric, Point, Resource, Subject, Unit};
pub(in crate::extension) use crate::shared::fuzz::Random;

/// A distribution with a name of the conventions.
pub(super) static DURATION: Metric = Metric {
    name: "init_duration",
    otlp_name: "faas.init_duration",
    unit: Unit::Milliseconds,
    kind: Kind::Distribution,
    subject: Subject::Start,
    description: "How long init took.",
};

/// A counter with a name of the conventions.
pub(super) static INVOCATIONS: Metric = Metric {
    name: "invocations",
    otlp_name: "faas.invocations",
    unit: Unit::Count,
    kind: Kind::Counter,
    subject: Subject::Life,
    description: "Successful invocations.",
};

/// A counter that splits by attribute.
pub(super) static ERRORS: Metric = Metric {
    name: "errors",
    otlp_name: "faas.errors",
    unit: Unit::Count,
    kind: Kind::Counter,
    subject: Subject::Life,
    description: "Failed invocations.",
};

/// A gauge in our own namespace.
pub(super) static MEMORY: Metric = Metric {
    name: "extension_memory",
    otlp_name: "bantam.extension.memory",
    unit: Unit::Bytes,
    kind: Kind::Gauge,
    subject: Subject::Life,
    description: "Peak memory of the extension.",
};

/// A distribution of bytes.
pub(super) static MEMORY_USED: Metric = Metric {
    name: "memory_used",
    otlp_name: "faas.mem_usage",
    unit: Unit::Bytes,
    kind: Kind::Distribution,
    subject: Subject::Life,
    description: "Most memory used in an invocation.",
};

/// A counter of time.
pub(super) static CPU: Metric = Metric {
    name: "extension_cpu",
    otlp_name: "bantam.extension.cpu",
    unit: Unit::Milliseconds,
    kind: Kind::Counter,
    subject: Subject::Life,
    description: "CPU time of the extension.",
};

/// A distribution of counts.
pub(super) static LIFETIME: Metric = Metric {
    name: "environment_invocations",
    otlp_name: "bantam.environment.invocations",
    unit: Unit::Count,
    kind: Kind::Distribution,
    subject: Subject::Life,
    description: "Invocations of an environment.",
};

pub(super) fn point(
    metric: &'static Metric,
    attributes: &[(&'static str, &str)],
    values: &[f64],
) -> Point {
    Point {
        metric,
        attributes: attributes
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        values: values.to_vec(),
    }
}

pub(in crate::extension) fn resource() -> Resource {
    Resource {
        function_name: "f".to_owned(),
        function_version: "7".to_owned(),
        function_arn: "arn:aws:lambda:us-east-1:123456789012:function:f:live".to_owned(),
        account_id: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        memory_mb: Some(128),
        instance_id: "2026/06/09/f[7]abc".to_owned(),
        service_name: String::new(),
        init_type: "on-demand".to_owned(),
        availability_zone: "use1-az1".to_owned(),
    }
}

/// A cold start and a little warm traffic.
pub(in crate::extension) fn batch() -> Batch {
    Batch {
        start_ms: 1_781_000_000_064,
        end_ms: 1_781_000_000_462,
        points: vec![
            point(&DURATION, &[("cold_start_kind", "on_demand")], &[397.68]),
            point(&INVOCATIONS, &[], &[3.0]),
            point(&MEMORY_USED, &[], &[62_914_560.0, 63_963_136.0]),
            point(&ERRORS, &[("error_type", "Function.Panic")], &[1.0]),
            point(&MEMORY, &[], &[1_500_000.0]),
        ],
        properties: vec![
            ("request_id", Detail::Text("6d68-\"1\"".to_owned())),
            ("memory_mb", Detail::Number(128.0)),
        ],
    }
}

impl Random {
    pub(in crate::extension) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn value(&mut self) -> f64 {
        match self.below(10) {
            0 => 0.0,
            1 => -3.5,
            2 => f64::MAX,
            3 => f64::MIN_POSITIVE,
            4 => 1e15 + 0.25,
            _ => self.below(100_000_000) as f64 / 1_000.0,
        }
    }

    fn text(&mut self) -> String {
        let parts = [
            "",
            " ",
            "a",
            "Function.Panic",
            "\u{e9}",
            "\"",
            "\\",
            "\n",
            "\t",
            ",",
            "|",
            "#",
            ":",
            "\u{1f600}",
            "\u{7f}",
            "=",
            "-1",
            "$LATEST",
        ];
        let length = self.below(5);
        let mut text: String = (0..length).map(|_| self.pick(&parts)).collect();
        if self.below(20) == 0 {
            text = text.repeat(700);
        }
        text
    }

    /// A batch that may hold anything the types promise.
    pub(super) fn batch(&mut self) -> Batch {
        let names = [
            "cold_start_kind",
            "error_type",
            "function_name",
            "phase",
            "invocations",
            "_aws",
        ];
        let counts = [0, 1, 2, 5, 30];
        let mut points: Vec<Point> = Vec::new();
        for _ in 0..self.pick(&counts) {
            let mut attributes: Vec<(&'static str, String)> = Vec::new();
            for name in names {
                if self.below(8) == 0 {
                    attributes.push((name, self.text()));
                }
            }
            let metrics = [
                &DURATION,
                &INVOCATIONS,
                &ERRORS,
                &MEMORY,
                &MEMORY_USED,
                &CPU,
                &LIFETIME,
            ];
            let metric = self.pick(&metrics);
            let length = match metric.kind {
                Kind::Counter | Kind::Gauge => 1,
                Kind::Distribution => self.pick(&[1, 1, 1, 3, 99, 100, 101, 250]),
            };
            let same = |known: &Point| known.metric == metric && known.attributes == attributes;
            if !points.iter().any(same) {
                points.push(Point {
                    metric,
                    attributes,
                    values: (0..length).map(|_| self.value()).collect(),
                });
            }
        }
        let mut properties = Vec::new();
        for name in [
            "request_id",
            "trace_id",
            "function_name",
            "errors",
            "_aws",
            "",
        ] {
            if self.below(4) == 0 {
                let detail = match self.below(4) {
                    0 => Detail::Number(self.below(100_000) as f64 / 8.0),
                    _ => Detail::Text(self.text()),
                };
                properties.push((name, detail));
            }
        }
        Batch {
            start_ms: self.next() >> 20,
            end_ms: self.next() >> 20,
            points,
            properties,
        }
    }

    /// A resource that may hold anything the types allow.
    pub(super) fn resource(&mut self) -> Resource {
        let optional = |random: &mut Self| match random.below(2) {
            0 => random.text(),
            _ => String::new(),
        };
        Resource {
            function_name: self.text(),
            function_version: self.text(),
            function_arn: optional(self),
            account_id: optional(self),
            region: optional(self),
            memory_mb: self.pick(&[Some(10_240), None]),
            instance_id: optional(self),
            service_name: optional(self),
            init_type: optional(self),
            availability_zone: optional(self),
        }
    }
}
