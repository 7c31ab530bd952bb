//! The pictures of the documents are made of the data in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Made again by the command of docs/report.md, they are the same.
#[test]
fn the_pictures_of_the_documents_are_current() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-report"));
    command.current_dir(root()).arg("report/data/fleet");
    let output = command.arg("--svg").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut shown = 0;
    for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".svg") && name != PEERS {
            let made = fs::read_to_string(folder.path().join(name)).unwrap();
            let is_same = made == fs::read_to_string(&path).unwrap();
            assert!(
                is_same,
                "{name} is not the one of the data: cargo run -p bantam-report -- report/data/fleet \
                 --svg docs/pictures"
            );
            shown += 1;
        }
    }
    assert!(0 < shown);
}

/// The picture that is made of other data.
const PEERS: &str = "peers.svg";

/// Made again of the tables of docs/performance.md, it is the same.
#[test]
fn the_picture_of_the_peers_is_current() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join(PEERS);
    let program = Path::new(env!("CARGO_BIN_EXE_bantam-report"));
    let program = program.parent().unwrap().join("examples/peers");
    let mut command = Command::new(program);
    command.arg(root().join("docs/performance.md")).arg(&made);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let current = fs::read_to_string(root().join("docs/pictures").join(PEERS)).unwrap();
    assert!(
        fs::read_to_string(made).unwrap() == current,
        "{PEERS} is not the one of docs/performance.md: cargo run -p bantam-report --example peers \
         docs/performance.md docs/pictures/{PEERS}"
    );
}

/// Quantiles are the ones of numpy, which made report/data/numpy.json of the same starts.
#[test]
fn quantiles_are_the_ones_of_numpy() {
    let report = crate::report(&[&root().join("report/data/fleet")]);
    let numpy = fs::read(root().join("report/data/numpy.json")).unwrap();
    let numpy: Value = serde_json::from_slice(&numpy).unwrap();
    let mut compared = 0;
    for of in report
        .pointer("/tables/distributions")
        .unwrap()
        .as_array()
        .unwrap()
    {
        let Some(expected) = numpy.get(of["figure"].as_str().unwrap()) else {
            continue;
        };
        for (name, expected) in expected.as_object().unwrap() {
            let found = of["summary"][name].as_f64().unwrap();
            let expected = expected.as_f64().unwrap();
            assert!(
                (found - expected).abs() < 1e-5,
                "{name}: {found} and {expected}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 7);
}
