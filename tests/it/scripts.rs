//! The scripts of `layer` name a wrong argument before they build anything.

use std::path::Path;
use std::process::Command;

/// Runs a script of `layer` that has to fail; its standard error.
fn refusal(script: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("layer").join(script));
    let output = command.current_dir(root).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_wrong_argument_is_named() {
    for (arguments, message) in [
        (
            &["--arch"][..],
            "--arch needs a value; layer/build --help shows how",
        ),
        (
            &["--arch=riscv64"],
            "--arch is x86_64 or aarch64 (or arm64, the same), not riscv64",
        ),
        (
            &["--manifest-path", "missing/Cargo.toml"],
            "there is no file missing/Cargo.toml",
        ),
        (
            &["--command", "--speed", "--package", "bantam-report"],
            "--speed is for functions: a command is built for size",
        ),
        (
            &["--package", "testkit"],
            "testkit does not depend on bantam: add it to [dependencies], under that name",
        ),
    ] {
        let expected = format!("layer/build: {message}\n");
        assert_eq!(refusal("build", arguments), expected, "{arguments:?}");
    }
    let folder = tempfile::Builder::new().prefix("a b").tempdir().unwrap();
    let manifest = folder.path().join("Cargo.toml");
    std::fs::write(&manifest, "").unwrap();
    let manifest = manifest.to_str().unwrap();
    let expected = format!(
        "layer/build: there is a space in the path {manifest}, which layer/build cannot pass on\n"
    );
    assert_eq!(refusal("build", &["--manifest-path", manifest]), expected);
    let unknown = refusal("build", &["--package", "missing"]);
    let expected = "layer/build: there is no package missing in ";
    let last = unknown.lines().last().unwrap();
    assert!(last.starts_with(expected), "{unknown}");
}

#[test]
fn a_binary_without_a_map_is_named() {
    let expected =
        "layer/bytes: missing and missing.map have to be there: layer/build makes both\n";
    assert_eq!(refusal("bytes", &["missing"]), expected);
}

#[test]
fn help_is_about_the_script() {
    for script in ["build", "bytes", "package", "release"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("layer")
            .join(script);
        let output = Command::new(path).arg("--help").output().unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(&format!("layer/{script} ")), "{help}");
        assert!(!help.contains("set -euo"), "{help}");
    }
}
