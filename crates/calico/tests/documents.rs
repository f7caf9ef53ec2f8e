//! ARCHITECTURE.md names what is there: every crate, every dependency, and no path that is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect("a file of the repository")
}

/// The lines below a heading, to the next one of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The first cells of a section's table, without its heading and rule.
fn first_cells(section: &str) -> impl Iterator<Item = &str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    rows.skip(1).filter_map(|row| row.split(" |").next())
}

#[test]
fn every_crate_is_in_the_table_of_crates() {
    let page = read("ARCHITECTURE.md");
    let named: BTreeSet<String> =
        first_cells(section(&page, "Crates")).map(|cell| cell.trim_matches('`').into()).collect();
    let listing = std::fs::read_dir(root().join("crates")).expect("the crates");
    let there: BTreeSet<String> = listing
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, there);
}

#[test]
fn every_dependency_is_in_the_table_of_dependencies() {
    let (page, manifest) = (read("ARCHITECTURE.md"), read("Cargo.toml"));
    let named: BTreeSet<&str> =
        first_cells(section(&page, "Dependencies")).flat_map(|cell| cell.split(", ")).collect();
    let (_, rest) = manifest.split_once("\n[workspace.dependencies]\n").expect("dependencies");
    let used: BTreeSet<&str> = rest
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path = \"crates/"))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    assert_eq!(named, used);
}

#[test]
fn every_path_below_a_crate_exists() {
    let page = read("ARCHITECTURE.md");
    let paths: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("/src") && !code.contains("KIND"))
        .collect();
    assert!(paths.len() > 10, "the page names paths as `crate/src/file.rs`: {paths:?}");
    let gone: Vec<&&str> =
        paths.iter().filter(|path| !root().join("crates").join(path).exists()).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
