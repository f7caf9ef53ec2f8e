//! The walkthroughs of real clusters, followed on the lab: what we print beside what they show.
//!
//! Each page of `walkthroughs/` has a topology and steps. A step's heading is a command at a place of
//! the lab, `### [worker-1] ip route`, perhaps with what happens meanwhile, `… while [pod-1] ping …`;
//! `### lab fault set block=ipip` is a command of `calico lab`. `{pod-1}` is the pod's address. Then
//! what they show, what we print (rewritten by UPDATE_EXPECT=1), and why the two differ.

use crate::support::{self, Lab};
use regex::Regex;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a step may take to print what it should: the cluster is following a change.
const SETTLE: Duration = Duration::from_secs(20);

/// What settles while pages are rewritten: there is nothing to wait for then.
const UPDATE_PAUSE: Duration = Duration::from_secs(5);

/// Where a capture says, at its place, that it has begun.
const CAPTURE_LOG: &str = "/tmp/capture.log";

/// A page, taken apart at the blocks that we print.
struct Page {
    topology: String,
    steps: Vec<Step>,
}

struct Step {
    /// The heading's text.
    command: String,
    /// What should be printed.
    expected: String,
}

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/walkthroughs")
}

/// The inside of the next fenced block of a kind.
fn block<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("```{kind}\n"))?;
    Some(rest.split("```\n").next().unwrap_or(rest))
}

fn parse(text: &str) -> Page {
    let steps = text.split("\n### ").skip(1).map(|section| {
        let command = section.lines().next().unwrap_or_default().to_owned();
        let expected = block(section, "ours").unwrap_or_else(|| panic!("{command}: no ours"));
        Step { command, expected: expected.to_owned() }
    });
    Page {
        topology: block(text, "topology").expect("a topology").to_owned(),
        steps: steps.collect(),
    }
}

/// `[place] command` taken apart.
fn at(text: &str) -> (&str, &str) {
    let placed = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    placed.unwrap_or_else(|| panic!("{text:?} is not `[place] command`"))
}

/// What differs from run to run, made equal.
fn normal(text: &str) -> String {
    let masks = [
        (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "HH:MM:SS"),
        (r"\b\d{4}-\d\d-\d\dTHH:MM:SSZ", "DATE"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE"),
        (r"resourceVersion: .*", "resourceVersion: NUMBER"),
        (r"uid: .*", "uid: UUID"),
        (r"(time|after) ?[=]?[0-9.]+ ?(ms|milliseconds)", "$1 N ms"),
        (r"= [0-9.]+/[0-9.]+/[0-9.]+/[0-9.]+ ms", "= N/N/N/N ms"),
        (r"id \d+, seq", "id N, seq"),
        (r"^\S+ HH:MM:SS \[INFO\]\[\d+\] (\S+) \d+:", "DATE HH:MM:SS [INFO][N] $1 N:"),
        (r"packets? (captured|received by filter|dropped by kernel)", "packets $1"),
    ];
    let mut text = text.to_owned();
    for (pattern, replacement) in masks {
        let pattern = Regex::new(pattern).expect("a pattern");
        text = pattern.replace_all(&text, replacement).into_owned();
    }
    let mut lines = String::new();
    for line in text.lines() {
        writeln!(lines, "{}", line.trim_end()).expect("a string takes it");
    }
    lines
}

impl Step {
    fn run(&self, lab: &Lab) -> String {
        let mut command = self.command.clone();
        for pod in lab.pods() {
            let place = format!("{{{pod}}}");
            if command.contains(&place) {
                command = command.replace(&place, &lab.address(&pod));
            }
        }
        if let Some(arguments) = command.strip_prefix("lab ") {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            return support::text(&lab.command(&arguments).output().expect("calico lab starts"));
        }
        match command.split_once(" while ") {
            None => {
                let (place, line) = at(&command);
                lab.try_run(place, line).1
            }
            Some((watch, meanwhile)) => {
                let ((place, line), (from, ping)) = (at(watch), at(meanwhile));
                lab.run(place, &format!("rm -f {CAPTURE_LOG}"));
                let mut watcher = lab.at(place, &format!("timeout 4 {line} 2>{CAPTURE_LOG}"));
                let watcher = watcher.stdout(Stdio::piped()).spawn().expect("it starts");
                lab.within(SETTLE, "the capture runs", |lab| {
                    lab.try_run(place, &format!("grep -q '^listening on' {CAPTURE_LOG}")).0
                });
                lab.try_run(from, ping);
                support::text(&watcher.wait_with_output().expect("it ends"))
            }
        }
    }

    /// What it prints, once that is what is expected, or in the end.
    fn settled(&self, lab: &Lab) -> String {
        let start = Instant::now();
        loop {
            let printed = normal(&self.run(lab));
            if printed == self.expected || start.elapsed() > SETTLE {
                return printed;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Follows a page. With UPDATE_EXPECT=1 its blocks become what is printed a while after each step.
fn follow(name: &str) {
    let file = pages().join(format!("{name}.md"));
    let text = std::fs::read_to_string(&file).expect("the page");
    let page = parse(&text);
    let lab = Lab::of(name, &page.topology, &[]);
    if std::env::var_os("UPDATE_EXPECT").is_none() {
        for step in &page.steps {
            let printed = step.settled(&lab);
            assert_eq!(printed, step.expected, "{}: {}", file.display(), step.command);
        }
        return;
    }
    let mut sections: Vec<String> = text.split("\n### ").map(str::to_owned).collect();
    for (section, step) in sections.iter_mut().skip(1).zip(&page.steps) {
        std::thread::sleep(UPDATE_PAUSE);
        let printed = normal(&step.run(&lab));
        let old = format!("```ours\n{}```", step.expected);
        *section = section.replacen(&old, &format!("```ours\n{printed}```"), 1);
    }
    std::fs::write(&file, sections.join("\n### ")).expect("the page is written");
}

#[test]
fn routing_modes() {
    follow("routing-modes");
}

#[test]
fn direct_and_cross_subnet() {
    follow("direct-and-cross-subnet");
}

#[test]
fn a_production_cluster() {
    follow("production-cluster");
}

#[test]
fn on_aws() {
    follow("on-aws");
}
