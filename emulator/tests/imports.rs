//! No import circle: neither among the files of this crate nor among its folders.

use std::path::Path;

use testkit::imports::Imports;

fn sources() -> Imports {
    Imports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn files_import_each_other_without_a_circle() {
    assert_eq!(sources().circle(), None);
}

#[test]
fn folders_import_each_other_without_a_circle() {
    assert_eq!(sources().folders().circle(), None);
}

#[test]
fn the_pure_files_of_the_environment_know_no_process_and_no_socket() {
    let imports = sources();
    for pure in ["environment::extensions", "environment::machine"] {
        let found: Vec<_> = imports
            .of(pure)
            .filter(|m| *m != "record::outcome")
            .collect();
        assert_eq!(found, Vec::<&str>::new(), "{pure}");
    }
}
