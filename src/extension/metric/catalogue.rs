//! Every metric of the extension.
//!
//! Names of OTLP are those of the conventions where one exists, with their meaning:
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

// The start of an environment. Each has the attribute `cold_start_kind`.

pub(in crate::extension) static COLD_STARTS: Metric = counter(
    "cold_starts",
    "faas.coldstarts",
    "Starts of an environment that an invocation waited for.",
);
pub(in crate::extension) static ENVIRONMENT_STARTS: Metric = counter(
    "environment_starts",
    "bantam.environment.starts",
    "Starts of an environment, whether or not an invocation waited.",
);
pub(in crate::extension) static INIT_FAILURES: Metric = counter(
    "init_failures",
    "bantam.init.failures",
    "Inits and restores that failed, by type of error.",
);
pub(in crate::extension) static INIT_DURATION: Metric = duration(
    "init_duration",
    "faas.init_duration",
    "The init phase, from start to ready.",
);
pub(in crate::extension) static INIT_BEFORE_RUNTIME_DURATION: Metric = duration(
    "init_before_runtime_duration",
    "bantam.init.before_runtime_duration",
    "From the start of init until this extension let the runtime start.",
);
pub(in crate::extension) static INIT_RUNTIME_DURATION: Metric = duration(
    "init_runtime_duration",
    "bantam.init.runtime_duration",
    "From then until the runtime and the function were initialised.",
);
pub(in crate::extension) static INIT_EXTENSIONS_DURATION: Metric = duration(
    "init_extensions_duration",
    "bantam.init.extensions_duration",
    "From then until the last extension was ready.",
);
pub(in crate::extension) static BILLED_INIT_DURATION: Metric = duration(
    "billed_init_duration",
    "bantam.init.billed_duration",
    "The part of the first invocation's billed duration that is init.",
);
pub(in crate::extension) static RESTORE_DURATION: Metric = duration(
    "restore_duration",
    "bantam.restore.duration",
    "The restore of a snapshot.",
);
pub(in crate::extension) static BILLED_RESTORE_DURATION: Metric = duration(
    "billed_restore_duration",
    "bantam.restore.billed_duration",
    "What of a restore is billed.",
);
pub(in crate::extension) static FIRST_INVOCATION_DURATION: Metric = duration(
    "first_invocation_duration",
    "bantam.first_invocation.duration",
    "The first invocation of an environment, without init or restore.",
);
pub(in crate::extension) static COLD_START_DURATION: Metric = duration(
    "cold_start_duration",
    "bantam.cold_start.duration",
    "Init or restore and the first invocation, when it waited for them.",
);

// Invocations.

pub(in crate::extension) static INVOCATIONS: Metric = counter(
    "invocations",
    "faas.invocations",
    "Invocations that succeeded.",
);
pub(in crate::extension) static ERRORS: Metric = counter(
    "errors",
    "faas.errors",
    "Invocations that failed, by type of error.",
);
pub(in crate::extension) static TIMEOUTS: Metric =
    counter("timeouts", "faas.timeouts", "Invocations that timed out.");
pub(in crate::extension) static OUT_OF_MEMORY: Metric = counter(
    "out_of_memory",
    "bantam.invocation.out_of_memory",
    "Invocations that failed for lack of memory.",
);
pub(in crate::extension) static UNKNOWN_OUTCOMES: Metric = counter(
    "invocations_unknown",
    "bantam.invocation.unknown",
    "Invocations of which no telemetry told how they ended.",
);
pub(in crate::extension) static DURATION: Metric = duration(
    "duration",
    "faas.invoke_duration",
    "An invocation, as the platform reports it.",
);
pub(in crate::extension) static BILLED_DURATION: Metric = duration(
    "billed_duration",
    "bantam.invocation.billed_duration",
    "What of an invocation is billed.",
);
pub(in crate::extension) static RESPONSE_LATENCY: Metric = duration(
    "response_latency",
    "bantam.invocation.response_latency",
    "From the start of an invocation to the first byte of its response.",
);
pub(in crate::extension) static RESPONSE_DURATION: Metric = duration(
    "response_duration",
    "bantam.invocation.response_duration",
    "From the first byte of a response to its last.",
);
pub(in crate::extension) static RUNTIME_OVERHEAD: Metric = duration(
    "runtime_overhead",
    "bantam.invocation.runtime_overhead",
    "From a response until the runtime asked for the next invocation.",
);
pub(in crate::extension) static EXTENSION_OVERHEAD: Metric = duration(
    "extension_overhead",
    "bantam.invocation.extension_overhead",
    "From then until the last extension asked for the next event.",
);
pub(in crate::extension) static PRODUCED_BYTES: Metric = bytes(
    "produced_bytes",
    "bantam.invocation.produced_bytes",
    Kind::Distribution,
    "The size of a response.",
);
pub(in crate::extension) static MEMORY_USED: Metric = bytes(
    "memory_used",
    "faas.mem_usage",
    Kind::Distribution,
    "The most memory used in an environment, as of an invocation.",
);
pub(in crate::extension) static MEMORY_SIZE: Metric = bytes(
    "memory_size",
    "bantam.memory_size",
    Kind::Gauge,
    "The memory that is configured.",
);

// Environments.

pub(in crate::extension) static IDLE_DURATION: Metric = duration(
    "idle_duration",
    "bantam.environment.idle_duration",
    "From the end of an invocation to the start of the next in its environment.",
);
pub(in crate::extension) static ENVIRONMENT_LIFETIME: Metric = duration(
    "environment_lifetime",
    "bantam.environment.lifetime",
    "From the start of an environment to its shutdown.",
);
pub(in crate::extension) static ENVIRONMENT_INVOCATIONS: Metric = Metric {
    kind: Kind::Distribution,
    ..counter(
        "environment_invocations",
        "bantam.environment.invocations",
        "Invocations of an environment in its life.",
    )
};
pub(in crate::extension) static SHUTDOWNS: Metric = counter(
    "shutdowns",
    "bantam.environment.shutdowns",
    "Shutdowns of an environment, by reason.",
);

// Telemetry.

pub(in crate::extension) static DROPPED_RECORDS: Metric = counter(
    "dropped_records",
    "bantam.telemetry.dropped_records",
    "Records, or of an exporter points, lines and datagrams, that were lost, and by whom.",
);
pub(in crate::extension) static DROPPED_BYTES: Metric = counter(
    "dropped_bytes",
    "bantam.telemetry.dropped_bytes",
    "Bytes of records that were lost, and by whom.",
);
pub(in crate::extension) static DROPPED_DELIVERIES: Metric = counter(
    "dropped_deliveries",
    "bantam.telemetry.dropped_deliveries",
    "Deliveries of telemetry that were lost with all records in them.",
);
pub(in crate::extension) static DROPPED_VALUES: Metric = counter(
    "dropped_values",
    "bantam.telemetry.dropped_values",
    "Values that had no room in their interval.",
);
pub(in crate::extension) static MALFORMED_RECORDS: Metric = counter(
    "malformed_records",
    "bantam.telemetry.malformed_records",
    "Records that could not be read.",
);
pub(in crate::extension) static UNKNOWN_RECORDS: Metric = counter(
    "unknown_records",
    "bantam.telemetry.unknown_records",
    "Records of a type that is not known.",
);

// What this extension costs.

pub(in crate::extension) static EXTENSION_RESTARTS: Metric = Metric {
    kind: Kind::Gauge,
    ..counter(
        "extension_restarts",
        "bantam.extension.restarts",
        "Panics of this extension so far, with each of which what it had measured was lost.",
    )
};

pub(in crate::extension) static EXTENSION_REGISTER_DURATION: Metric = duration(
    "extension_register_duration",
    "bantam.extension.register_duration",
    "From the start of this extension until it was registered.",
);
pub(in crate::extension) static EXTENSION_READY_DURATION: Metric = duration(
    "extension_ready_duration",
    "bantam.extension.ready_duration",
    "From the start of this extension until it was ready.",
);
pub(in crate::extension) static EXTENSION_CPU_TIME: Metric = Metric {
    kind: Kind::Counter,
    ..duration(
        "extension_cpu_time",
        "bantam.extension.cpu_time",
        "Processor time of this extension.",
    )
};
pub(in crate::extension) static EXTENSION_MEMORY: Metric = bytes(
    "extension_memory",
    "bantam.extension.memory",
    Kind::Gauge,
    "The most memory of this extension.",
);
