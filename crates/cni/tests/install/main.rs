//! install-cni on directories: a folder per case in `tests/cases/install`, with why it is there, the
//! environment and files, and all that is there and said afterwards. `UPDATE_EXPECT=1` rewrites
//! `expect.txt`.

mod upgrade;

use expect_test::expect_file;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Everything a case has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Path and content of files, besides those of the image.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Directories that are mounted.
    #[serde(default)]
    directories: Vec<String>,
}

/// What the image has: one program under several names, and another one.
fn image(root: &Path) {
    let plugins = root.join("opt/cni/bin");
    std::fs::create_dir_all(&plugins).expect("a directory");
    std::fs::write(root.join("calico"), "the program").expect("a file");
    for name in ["calico", "calico-ipam", "install"] {
        symlink("../../../calico", plugins.join(name)).expect("a link");
    }
    std::fs::write(plugins.join("portmap"), "portmap").expect("a file");
}

fn prepare(case: &Case, root: &Path) {
    image(root);
    for directory in &case.directories {
        std::fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for (path, content) in &case.files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, content).expect("a file");
        // As it is after an earlier installation.
        if path.starts_with(root.join("host/opt/cni/bin")) {
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, executable).expect("permissions");
        }
    }
}

/// Every file below a directory, with its permissions and content.
fn tree(directory: &Path, root: &Path, into: &mut String) {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            tree(&path, root, into);
            continue;
        }
        let mode = std::fs::symlink_metadata(&path).expect("a file").permissions().mode() & 0o7777;
        let content = std::fs::read_to_string(&path).expect("a text");
        let name = path.strip_prefix(root).expect("below the root").display();
        writeln!(into, "== /{name} {mode:o}\n{}", content.trim_end()).expect("a text");
    }
}

/// Why the API server gives no token depends on the machine.
fn without_reason(line: &str) -> String {
    match (line.split_once(" ("), line.rsplit_once("): ")) {
        (Some((begin, _)), Some((_, end))) if line.starts_with("no token") => {
            format!("{begin} (…): {end}")
        }
        _ => line.to_owned(),
    }
}

#[test]
fn what_is_installed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/install");
    let cases = std::fs::read_dir(folder).expect("the cases");
    let mut cases: Vec<PathBuf> = cases.map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() > 8, "cases are missing");
    for path in cases {
        let read = |name: &str| std::fs::read_to_string(path.join(name)).expect(name);
        assert!(!read("why.txt").trim().is_empty(), "{}", path.display());
        let case: Case = serde_saphyr::from_str(&read("input.yaml")).expect("a case");
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        prepare(&case, root);
        let mut outcome = String::new();
        let mut say =
            |line: String| writeln!(outcome, "{}", without_reason(&line)).expect("a text");
        let result = cni::install(&case.environment, root, &mut say);
        if let Err(error) = result {
            writeln!(outcome, "FAILED {error}").expect("a text");
        }
        if root.join("host").exists() {
            tree(&root.join("host"), root, &mut outcome);
        }
        let outcome = outcome.replace(root.to_str().expect("a path"), "");
        expect_file![path.join("expect.txt")].assert_eq(&outcome);
    }
}
