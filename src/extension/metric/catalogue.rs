//! Every metric of the extension. `docs/extension.md` has the same list.
//!
//! A name of OTLP is the one of the conventions where there is one, with its meaning:
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/>

use crate::extension::metric::{Kind, Metric, Subject, Unit, is_name};

const fn counter(name: &'static str, otlp_name: &'static str, description: &'static str) -> Metric {
    assert!(is_name(name));
    Metric {
        name,
        otlp_name,
        unit: Unit::Count,
        kind: Kind::Counter,
        subject: Subject::Life,
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

impl Metric {
    const fn of(self, subject: Subject) -> Self {
        Self { subject, ..self }
    }

    const fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

/// Declares metrics, each with the record or event that its values are taken from, and lists all.
macro_rules! catalogue {
    ($($name:ident = $metric:expr, from $source:literal;)*) => {
        $(pub(in crate::extension) static $name: Metric = $metric;)*

        pub(in crate::extension) static ALL: &[&Metric] = &[$(&$name),*];

        /// The sources of the metrics, in the order of [`ALL`].
        #[cfg(test)]
        static SOURCES: &[&str] = &[$($source),*];
    };
}

catalogue! {
    // The start of an environment. Each has the attribute `cold_start_kind`.
    COLD_STARTS = counter(
        "cold_starts",
        "faas.coldstarts",
        "Starts of an environment that an invocation waited for.",
    ).of(Subject::Start), from "initReport, INVOKE";
    ENVIRONMENT_STARTS = counter(
        "environment_starts",
        "bantam.environment.starts",
        "Starts of an environment, whether or not an invocation waited.",
    ).of(Subject::Start), from "initReport, restoreReport";
    INIT_FAILURES = counter(
        "init_failures",
        "bantam.init.failures",
        "Inits and restores that failed, by type of error.",
    ).of(Subject::Start), from "initReport, restoreReport, SHUTDOWN";
    INIT_DURATION = duration(
        "init_duration",
        "faas.init_duration",
        "The init phase, from start to ready.",
    ).of(Subject::Start), from "initReport";
    INIT_BEFORE_RUNTIME_DURATION = duration(
        "init_before_runtime_duration",
        "bantam.init.before_runtime_duration",
        "From the start of init until this extension let the runtime start.",
    ).of(Subject::Start), from "initStart, clock";
    INIT_RUNTIME_DURATION = duration(
        "init_runtime_duration",
        "bantam.init.runtime_duration",
        "From the registration of this extension until the runtime and the function were ready.",
    ).of(Subject::Start), from "clock, initRuntimeDone";
    INIT_EXTENSIONS_DURATION = duration(
        "init_extensions_duration",
        "bantam.init.extensions_duration",
        "From the end of the runtime's init until the last extension was ready.",
    ).of(Subject::Start), from "initRuntimeDone, initReport";
    BILLED_INIT_DURATION = duration(
        "billed_init_duration",
        "bantam.init.billed_duration",
        "The part of the first invocation's billed duration that is init.",
    ).of(Subject::Start), from "report";
    RESTORE_DURATION = duration(
        "restore_duration",
        "bantam.restore.duration",
        "The restore of a snapshot.",
    ).of(Subject::Start), from "restoreReport";
    BILLED_RESTORE_DURATION = duration(
        "billed_restore_duration",
        "bantam.restore.billed_duration",
        "The billed part of a restore.",
    ).of(Subject::Start), from "report";
    FIRST_INVOCATION_DURATION = duration(
        "first_invocation_duration",
        "bantam.first_invocation.duration",
        "The first invocation of an environment, without the init or restore before it.",
    ).of(Subject::Start), from "runtimeDone";
    COLD_START_DURATION = duration(
        "cold_start_duration",
        "bantam.cold_start.duration",
        "Init or restore and the first invocation, when it waited for them.",
    ).of(Subject::Start), from "initReport, runtimeDone";

    // Invocations.
    INVOCATIONS = counter(
        "invocations",
        "faas.invocations",
        "Invocations that succeeded.",
    ), from "runtimeDone, report";
    ERRORS = counter(
        "errors",
        "faas.errors",
        "Invocations that failed, by type of error.",
    ), from "runtimeDone, report, SHUTDOWN";
    TIMEOUTS = counter("timeouts", "faas.timeouts", "Invocations that timed out."), from "runtimeDone, report, SHUTDOWN";
    OUT_OF_MEMORY = counter(
        "out_of_memory",
        "bantam.invocation.out_of_memory",
        "Invocations that failed because memory ran out.",
    ), from "runtimeDone, report, fault";
    UNKNOWN_OUTCOMES = counter(
        "invocations_unknown",
        "bantam.invocation.unknown",
        "Invocations whose end no telemetry reported.",
    ).of(Subject::Loss), from "INVOKE";
    DURATION = duration(
        "duration",
        "faas.invoke_duration",
        "An invocation, as the platform reports it.",
    ), from "report";
    BILLED_DURATION = duration(
        "billed_duration",
        "bantam.invocation.billed_duration",
        "The billed duration of an invocation.",
    ), from "report";
    RESPONSE_LATENCY = duration(
        "response_latency",
        "bantam.invocation.response_latency",
        "From the start of an invocation to the first byte of its response.",
    ), from "runtimeDone";
    RESPONSE_DURATION = duration(
        "response_duration",
        "bantam.invocation.response_duration",
        "From the first byte of a response to its last.",
    ), from "runtimeDone";
    RUNTIME_OVERHEAD = duration(
        "runtime_overhead",
        "bantam.invocation.runtime_overhead",
        "From a response until the runtime asked for the next invocation.",
    ), from "runtimeDone";
    EXTENSION_OVERHEAD = duration(
        "extension_overhead",
        "bantam.invocation.extension_overhead",
        "From the end of the runtime's overhead until the last extension asked for the next event.",
    ), from "report";
    PRODUCED_BYTES = bytes(
        "produced_bytes",
        "bantam.invocation.produced_bytes",
        Kind::Distribution,
        "The size of a response.",
    ), from "runtimeDone";
    MEMORY_USED = bytes(
        "memory_used",
        "faas.mem_usage",
        Kind::Distribution,
        "The most memory used in an environment, as of an invocation.",
    ), from "report";
    MEMORY_SIZE = bytes(
        "memory_size",
        "bantam.memory_size",
        Kind::Gauge,
        "The memory that is configured.",
    ), from "report";

    // Environments.
    IDLE_DURATION = duration(
        "idle_duration",
        "bantam.environment.idle_duration",
        "From the end of an invocation to the start of the next in its environment.",
    ), from "runtimeDone, INVOKE";
    ENVIRONMENT_LIFETIME = duration(
        "environment_lifetime",
        "bantam.environment.lifetime",
        "From the start of an environment to its shutdown.",
    ).of(Subject::End), from "clock, SHUTDOWN";
    ENVIRONMENT_INVOCATIONS = counter(
        "environment_invocations",
        "bantam.environment.invocations",
        "Invocations of an environment in its life.",
    ).with_kind(Kind::Distribution).of(Subject::End), from "INVOKE, SHUTDOWN";
    SHUTDOWNS = counter(
        "shutdowns",
        "bantam.environment.shutdowns",
        "Shutdowns of an environment, by reason.",
    ).of(Subject::End), from "SHUTDOWN";

    // All processes of the environment. The names of Lambda Insights, where it has one.
    CPU_USER_TIME = duration(
        "cpu_user_time",
        "bantam.environment.cpu_user_time",
        "Processor time of all processes outside the kernel.",
    ).with_kind(Kind::Counter).of(Subject::System), from "/proc/stat";
    CPU_SYSTEM_TIME = duration(
        "cpu_system_time",
        "bantam.environment.cpu_system_time",
        "Processor time of all processes in the kernel.",
    ).with_kind(Kind::Counter).of(Subject::System), from "/proc/stat";
    RX_BYTES = bytes(
        "rx_bytes",
        "bantam.environment.rx_bytes",
        Kind::Counter,
        "Bytes that the environment received over the network.",
    ).of(Subject::System), from "/proc/net/dev";
    TX_BYTES = bytes(
        "tx_bytes",
        "bantam.environment.tx_bytes",
        Kind::Counter,
        "Bytes that the environment sent over the network.",
    ).of(Subject::System), from "/proc/net/dev";
    TMP_USED = bytes(
        "tmp_used",
        "bantam.environment.tmp_used",
        Kind::Gauge,
        "Bytes of `/tmp` that are taken.",
    ).of(Subject::System), from "statvfs";
    FD_USE = counter(
        "fd_use",
        "bantam.environment.fd_use",
        "Descriptors that all processes have open.",
    ).with_kind(Kind::Gauge).of(Subject::System), from "/proc/PID/fd";
    THREADS_USE = counter(
        "threads_use",
        "bantam.environment.threads_use",
        "Threads of all processes.",
    ).with_kind(Kind::Gauge).of(Subject::System), from "/proc/PID/task";
    SYSTEM_READ_DURATION = duration(
        "system_read_duration",
        "bantam.extension.system_read_duration",
        "The time that this extension took to read the seven before.",
    ).of(Subject::System), from "clock";

    // Telemetry.
    DROPPED_RECORDS = counter(
        "dropped_records",
        "bantam.telemetry.dropped_records",
        "Records lost by the platform, or points, lines and datagrams lost by an exporter.",
    ).of(Subject::Loss), from "logsDropped, exporters";
    DROPPED_BYTES = bytes(
        "dropped_bytes",
        "bantam.telemetry.dropped_bytes",
        Kind::Counter,
        "The bytes of losses, as far as they are known.",
    ).of(Subject::Loss), from "logsDropped, deliveries, exporters";
    DROPPED_DELIVERIES = counter(
        "dropped_deliveries",
        "bantam.telemetry.dropped_deliveries",
        "Deliveries of telemetry lost with all records in them.",
    ).of(Subject::Loss), from "deliveries";
    DROPPED_VALUES = counter(
        "dropped_values",
        "bantam.telemetry.dropped_values",
        "Values for which an interval had no room.",
    ).of(Subject::Loss), from "intervals";
    MALFORMED_RECORDS = counter(
        "malformed_records",
        "bantam.telemetry.malformed_records",
        "Records that could not be read.",
    ).of(Subject::Loss), from "deliveries";
    UNKNOWN_RECORDS = counter(
        "unknown_records",
        "bantam.telemetry.unknown_records",
        "Records of an unknown type.",
    ).of(Subject::Loss), from "deliveries";

    // The cost of this extension.
    EXTENSION_RESTARTS = counter(
        "extension_restarts",
        "bantam.extension.restarts",
        "Panics of this extension so far. Each lost the figures measured until then.",
    ).with_kind(Kind::Gauge).of(Subject::Loss), from "panics";
    EXTENSION_REGISTER_DURATION = duration(
        "extension_register_duration",
        "bantam.extension.register_duration",
        "From the start of this extension until it was registered.",
    ).of(Subject::Start), from "clock";
    EXTENSION_READY_DURATION = duration(
        "extension_ready_duration",
        "bantam.extension.ready_duration",
        "From the start of this extension until it was ready.",
    ).of(Subject::Start), from "clock";
    EXTENSION_CPU_TIME = duration(
        "extension_cpu_time",
        "bantam.extension.cpu_time",
        "Processor time of this extension.",
    ).with_kind(Kind::Counter), from "the kernel";
    EXTENSION_MEMORY = bytes(
        "extension_memory",
        "bantam.extension.memory",
        Kind::Gauge,
        "The most memory of this extension.",
    ), from "the kernel";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::extension::settings::EMF_METRICS;

    /// A row of the table in the documentation.
    fn row(metric: &Metric, source: &str) -> String {
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
        let is_usual = EMF_METRICS.split(',').any(|name| name == metric.name);
        let emf = match metric.subject {
            _ if is_usual => "metric",
            Subject::Start | Subject::Loss => "property",
            Subject::Life | Subject::System | Subject::End => "–",
        };
        let Metric {
            name,
            otlp_name,
            description,
            ..
        } = metric;
        format!(
            "| `{name}` | `{otlp_name}` | {unit} | {kind} | {source} | {emf} | {description} |\n"
        )
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let page = include_str!("../../../docs/extension.md");
        let rows = ALL.iter().zip(SOURCES);
        let expected: String = rows.map(|(metric, source)| row(metric, source)).collect();
        let rows = page.split_inclusive('\n');
        let rows = rows.filter(|row| row.ends_with(". |\n") && row.matches(" | ").count() == 6);
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
