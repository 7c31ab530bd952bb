//! Every metric of the extension. `docs/extension.md` has the same list.
//!
//! A name of OTLP is the one of the conventions where there is one, with its meaning:
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/>

use crate::extension::metric::{Kind, Metric, Unit, is_name};

const fn counter(name: &'static str, otlp_name: &'static str, description: &'static str) -> Metric {
    assert!(is_name(name));
    Metric {
        name,
        otlp_name,
        unit: Unit::Count,
        kind: Kind::Counter,
        description,
    }
}

const fn duration(
    name: &'static str,
    otlp_name: &'static str,
    description: &'static str,
) -> Metric {
    Metric {
        unit: Unit::Milliseconds,
        kind: Kind::Distribution,
        ..counter(name, otlp_name, description)
    }
}

const fn bytes(
    name: &'static str,
    otlp_name: &'static str,
    kind: Kind,
    description: &'static str,
) -> Metric {
    Metric {
        unit: Unit::Bytes,
        kind,
        ..counter(name, otlp_name, description)
    }
}

/// Declares metrics, and for tests the list of all.
macro_rules! catalogue {
    ($($name:ident = $metric:expr;)*) => {
        $(pub(in crate::extension) static $name: Metric = $metric;)*

        #[cfg(test)]
        pub(in crate::extension) static ALL: &[&Metric] = &[$(&$name),*];
    };
}

catalogue! {
    // The start of an environment. Each has the attribute `cold_start_kind`.
    COLD_STARTS = counter(
        "cold_starts",
        "faas.coldstarts",
        "Starts of an environment that an invocation waited for.",
    );
    ENVIRONMENT_STARTS = counter(
        "environment_starts",
        "bantam.environment.starts",
        "Starts of an environment, whether or not an invocation waited.",
    );
    INIT_FAILURES = counter(
        "init_failures",
        "bantam.init.failures",
        "Inits and restores that failed, by type of error.",
    );
    INIT_DURATION = duration(
        "init_duration",
        "faas.init_duration",
        "The init phase, from start to ready.",
    );
    INIT_BEFORE_RUNTIME_DURATION = duration(
        "init_before_runtime_duration",
        "bantam.init.before_runtime_duration",
        "From the start of init until this extension let the runtime start.",
    );
    INIT_RUNTIME_DURATION = duration(
        "init_runtime_duration",
        "bantam.init.runtime_duration",
        "From the registration of this extension until the runtime and the function were ready.",
    );
    INIT_EXTENSIONS_DURATION = duration(
        "init_extensions_duration",
        "bantam.init.extensions_duration",
        "From the end of the runtime's init until the last extension was ready.",
    );
    BILLED_INIT_DURATION = duration(
        "billed_init_duration",
        "bantam.init.billed_duration",
        "The part of the first invocation's billed duration that is init.",
    );
    RESTORE_DURATION = duration(
        "restore_duration",
        "bantam.restore.duration",
        "The restore of a snapshot.",
    );
    BILLED_RESTORE_DURATION = duration(
        "billed_restore_duration",
        "bantam.restore.billed_duration",
        "The billed part of a restore.",
    );
    FIRST_INVOCATION_DURATION = duration(
        "first_invocation_duration",
        "bantam.first_invocation.duration",
        "The first invocation of an environment, without the init or restore before it.",
    );
    COLD_START_DURATION = duration(
        "cold_start_duration",
        "bantam.cold_start.duration",
        "Init or restore and the first invocation, when it waited for them.",
    );

    // Invocations.
    INVOCATIONS = counter(
        "invocations",
        "faas.invocations",
        "Invocations that succeeded.",
    );
    ERRORS = counter(
        "errors",
        "faas.errors",
        "Invocations that failed, by type of error.",
    );
    TIMEOUTS = counter("timeouts", "faas.timeouts", "Invocations that timed out.");
    OUT_OF_MEMORY = counter(
        "out_of_memory",
        "bantam.invocation.out_of_memory",
        "Invocations that failed because memory ran out.",
    );
    UNKNOWN_OUTCOMES = counter(
        "invocations_unknown",
        "bantam.invocation.unknown",
        "Invocations whose end no telemetry reported.",
    );
    DURATION = duration(
        "duration",
        "faas.invoke_duration",
        "An invocation, as the platform reports it.",
    );
    BILLED_DURATION = duration(
        "billed_duration",
        "bantam.invocation.billed_duration",
        "The billed duration of an invocation.",
    );
    RESPONSE_LATENCY = duration(
        "response_latency",
        "bantam.invocation.response_latency",
        "From the start of an invocation to the first byte of its response.",
    );
    RESPONSE_DURATION = duration(
        "response_duration",
        "bantam.invocation.response_duration",
        "From the first byte of a response to its last.",
    );
    RUNTIME_OVERHEAD = duration(
        "runtime_overhead",
        "bantam.invocation.runtime_overhead",
        "From a response until the runtime asked for the next invocation.",
    );
    EXTENSION_OVERHEAD = duration(
        "extension_overhead",
        "bantam.invocation.extension_overhead",
        "From the end of the runtime's overhead until the last extension asked for the next event.",
    );
    PRODUCED_BYTES = bytes(
        "produced_bytes",
        "bantam.invocation.produced_bytes",
        Kind::Distribution,
        "The size of a response.",
    );
    MEMORY_USED = bytes(
        "memory_used",
        "faas.mem_usage",
        Kind::Distribution,
        "The most memory used in an environment, as of an invocation.",
    );
    MEMORY_SIZE = bytes(
        "memory_size",
        "bantam.memory_size",
        Kind::Gauge,
        "The memory that is configured.",
    );

    // Environments.
    IDLE_DURATION = duration(
        "idle_duration",
        "bantam.environment.idle_duration",
        "From the end of an invocation to the start of the next in its environment.",
    );
    ENVIRONMENT_LIFETIME = duration(
        "environment_lifetime",
        "bantam.environment.lifetime",
        "From the start of an environment to its shutdown.",
    );
    ENVIRONMENT_INVOCATIONS = Metric {
        kind: Kind::Distribution,
        ..counter(
            "environment_invocations",
            "bantam.environment.invocations",
            "Invocations of an environment in its life.",
        )
    };
    SHUTDOWNS = counter(
        "shutdowns",
        "bantam.environment.shutdowns",
        "Shutdowns of an environment, by reason.",
    );

    // Telemetry.
    DROPPED_RECORDS = counter(
        "dropped_records",
        "bantam.telemetry.dropped_records",
        "Records lost by the platform, or points, lines and datagrams lost by an exporter.",
    );
    DROPPED_BYTES = bytes(
        "dropped_bytes",
        "bantam.telemetry.dropped_bytes",
        Kind::Counter,
        "The bytes of losses, as far as they are known.",
    );
    DROPPED_DELIVERIES = counter(
        "dropped_deliveries",
        "bantam.telemetry.dropped_deliveries",
        "Deliveries of telemetry lost with all records in them.",
    );
    DROPPED_VALUES = counter(
        "dropped_values",
        "bantam.telemetry.dropped_values",
        "Values for which an interval had no room.",
    );
    MALFORMED_RECORDS = counter(
        "malformed_records",
        "bantam.telemetry.malformed_records",
        "Records that could not be read.",
    );
    UNKNOWN_RECORDS = counter(
        "unknown_records",
        "bantam.telemetry.unknown_records",
        "Records of an unknown type.",
    );

    // The cost of this extension.
    EXTENSION_RESTARTS = Metric {
        kind: Kind::Gauge,
        ..counter(
            "extension_restarts",
            "bantam.extension.restarts",
            "Panics of this extension so far. Each lost the figures measured until then.",
        )
    };
    EXTENSION_REGISTER_DURATION = duration(
        "extension_register_duration",
        "bantam.extension.register_duration",
        "From the start of this extension until it was registered.",
    );
    EXTENSION_READY_DURATION = duration(
        "extension_ready_duration",
        "bantam.extension.ready_duration",
        "From the start of this extension until it was ready.",
    );
    EXTENSION_CPU_TIME = Metric {
        kind: Kind::Counter,
        ..duration(
            "extension_cpu_time",
            "bantam.extension.cpu_time",
            "Processor time of this extension.",
        )
    };
    EXTENSION_MEMORY = bytes(
        "extension_memory",
        "bantam.extension.memory",
        Kind::Gauge,
        "The most memory of this extension.",
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A row of the table in the documentation.
    fn row(metric: &Metric) -> String {
        let unit = match metric.unit {
            Unit::Milliseconds => "ms",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
        };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Distribution => "distribution",
            Kind::Gauge => "gauge",
        };
        let Metric {
            name,
            otlp_name,
            description,
            ..
        } = metric;
        format!("| `{name}` | `{otlp_name}` | {unit} | {kind} | {description} |\n")
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let page = include_str!("../../../docs/extension.md");
        let expected: String = ALL.iter().map(|metric| row(metric)).collect();
        let rows = page.split_inclusive('\n');
        let rows = rows.filter(|row| row.ends_with(". |\n") && row.matches(" | ").count() == 4);
        let found: String = rows.collect();
        assert_eq!(
            found, expected,
            "docs/extension.md should have:\n{expected}"
        );
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        let otlp_names: BTreeSet<&str> = ALL.iter().map(|metric| metric.otlp_name).collect();
        assert_eq!((names.len(), otlp_names.len()), (ALL.len(), ALL.len()));
    }
}
