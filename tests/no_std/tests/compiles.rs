//! That this compiles is the proof; see `src/lib.rs`.

#[test]
fn shared_works_without_the_standard_library() {
    assert_eq!(no_std::decimal(b"7"), Some(7));
    assert_eq!(no_std::decimal(b"x"), None);
}

/// A file that is added to `src/shared` is added to the proof.
#[test]
fn every_file_is_in_the_proof() {
    let list = include_str!("../src/lib.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/shared");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_left_out = ["mod", "os", "env"].contains(&name.as_str());
        let is_listed = list.contains(&format!("pub(crate) mod {name};"));
        assert_ne!(is_left_out, is_listed, "{name}");
    }
}
