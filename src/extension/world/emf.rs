//! Lives of environments, and each byte of EMF that is written for them.

use super::platform::{Step, play_with};
use super::records::{report, runtime_done, start};
use super::scenarios::{deliver, first_invocation, frozen, init, invoke, shutdown};
use crate::extension::export::emf::{Chosen, Emf, dimension_sets};
use crate::extension::metric::VERSION;
use crate::extension::settings::{EMF_METRICS, InitType};

/// The settings that there are without variables.
fn usual() -> Emf {
    Emf {
        namespace: "Bantam".to_owned(),
        dimensions: dimension_sets("function_name;").unwrap(),
        metrics: Chosen::Named(EMF_METRICS.split(',').collect()),
        with_ends: false,
    }
}

fn written(emf: Emf, steps: Vec<(u64, Step)>) -> Vec<String> {
    play_with(Some(emf), InitType::OnDemand, steps).emf
}

/// A line that is expected, with the names of this build in place of marks.
fn line(text: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        architecture => architecture,
    };
    text.replace("VERSION", VERSION)
        .replace("ARCHITECTURE", architecture)
}

const DIRECTIVE: &str = r#","CloudWatchMetrics":[{"Namespace":"Bantam","Dimensions":[["function_name"],[]],"Metrics":[{"Name":"cold_starts","Unit":"Count"},{"Name":"init_duration","Unit":"Milliseconds"},{"Name":"cold_start_duration","Unit":"Milliseconds"}]}]},"#;

const FIGURES: &str = r#""function_name":"f","cause":"demand","cold_start_kind":"on_demand","environment_starts":1,"cold_starts":1,"init_duration":190,"init_before_runtime_duration":5,"init_runtime_duration":175,"init_extensions_duration":10,"first_invocation_duration":14,"cold_start_duration":204,"extension_register_duration":5,"extension_ready_duration":9,"bantam_version":"VERSION","request_id":"a","instance_id":"i","start_ms":1787220000000,"init_type":"on-demand","cause_source":"inferred","#;

const END: &str = r#""duration_source":"phase_report","architecture":"ARCHITECTURE"}"#;

/// The report of the first invocation comes an hour after the rest, and an interval after the thaw.
#[test]
fn a_start_is_one_line_however_late_its_report_is() {
    let steps = [
        first_invocation(),
        vec![
            (10, frozen(3_600_000)),
            (70_000, deliver(&[report(230, "a", "success", 30)])),
            (10, shutdown("spindown", 2_000)),
        ],
    ]
    .concat();
    let start = format!(r#"{{"_aws":{{"Timestamp":1787220000230{DIRECTIVE}{FIGURES}{END}"#);
    assert_eq!(written(usual(), steps), [line(&start)]);
}

#[test]
fn a_start_says_which_records_it_lacks() {
    let steps = [first_invocation(), vec![(10, shutdown("spindown", 2_000))]].concat();
    let missing = r#""missing":"report","#;
    let start =
        format!(r#"{{"_aws":{{"Timestamp":1787220000215{DIRECTIVE}{FIGURES}{missing}{END}"#);
    assert_eq!(written(usual(), steps), [line(&start)]);
}

#[test]
fn a_loss_is_a_line_without_metrics() {
    let steps = vec![
        (10, Step::CutOff),
        (70_000, invoke("a")),
        (10, deliver(&init("on-demand"))),
        (
            10,
            deliver(&[
                start(70_010, "a"),
                runtime_done(70_025, "a", "success", 14),
                report(70_030, "a", "success", 30),
            ]),
        ),
        (10, shutdown("spindown", 2_000)),
    ];
    let lines = written(usual(), steps);
    let loss = r#"{"function_name":"f","dropped_deliveries":1,"bantam_version":"VERSION"}"#;
    assert_eq!(lines[0], line(loss));
    assert!(
        lines[1].contains(r#""cold_start_kind":"proactive""#),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn the_end_is_a_line_if_the_settings_say_so() {
    let steps = [
        first_invocation(),
        vec![
            (0, deliver(&[report(230, "a", "success", 30)])),
            (100, frozen(3_600_000)),
            (0, shutdown("timeout", 2_000)),
        ],
    ]
    .concat();
    let emf = Emf {
        with_ends: true,
        ..usual()
    };
    let lines = written(emf, steps);
    let end = r#"{"function_name":"f","shutdown_reason":"timeout","shutdowns":1,"environment_lifetime":3600320,"environment_invocations":1,"bantam_version":"VERSION","instance_id":"i","start_ms":1787220000000,"end_ms":1787223600320,"busy_ms":30,"last_invocation_ms":1787220000215}"#;
    assert_eq!(lines[1..], [line(end)]);
}
