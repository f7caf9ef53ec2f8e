//! A cluster of its own for each test.

use crate::installation::Images;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// A web server on every node, with a service.
pub(crate) const WEB: &str = include_str!("manifests/web.yaml");
/// Where the web servers' service is on every node.
pub(crate) const NODE_PORT: u16 = 30080;

/// A running cluster; it is taken down when dropped, whatever the test came to.
pub(crate) struct Cluster {
    name: String,
    /// What its nodes read whenever they boot.
    images: Option<Images>,
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The binary under test: what `make build` made, or CALICO_BINARY.
pub(crate) fn calico() -> Command {
    let built = repository().join("target/release/calico");
    let binary = std::env::var_os("CALICO_BINARY").map_or(built, PathBuf::from);
    assert!(binary.exists(), "{} is missing: run `make build` first", binary.display());
    let mut command = Command::new(binary);
    let files = [
        ("CALICO_LAB_KUBERNETES", "target/kubernetes"),
        ("CALICO_LAB_PLUGINS", "target/plugins"),
        ("CALICO_LAB_MANIFEST", "manifests/calico.yaml"),
    ];
    for (variable, path) in files {
        if std::env::var_os(variable).is_none() {
            command.env(variable, repository().join(path));
        }
    }
    command
}

impl Cluster {
    /// A lab named after the test, with more arguments for `lab up --kubernetes`.
    pub(crate) fn up(test: &str, arguments: &[&str]) -> Cluster {
        let name = format!("k-{test}-{}", std::process::id());
        let cluster = Cluster { name, images: None };
        let up = ["up", "--kubernetes"];
        cluster.lab(&[&up[..], arguments].concat());
        cluster
    }

    /// Keeps an archive of images for as long as the cluster is there.
    pub(crate) fn keep(&mut self, images: Images) {
        self.images = Some(images);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `calico lab …` on this lab.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = calico();
        command.arg("lab").args(arguments).env("CALICO_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// What `calico lab …` prints; it must succeed.
    pub(crate) fn lab(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("calico lab starts");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    /// What `calico lab …` says when it fails, as it must.
    pub(crate) fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("calico lab starts");
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    /// What kubectl prints; it must succeed.
    pub(crate) fn kubectl(&self, line: &str) -> String {
        let (succeeded, said) = self.try_kubectl(line);
        assert!(succeeded, "kubectl {line}: {said}");
        said
    }

    /// What kubectl prints, and whether it succeeded. Words are separated by spaces, wherever.
    pub(crate) fn try_kubectl(&self, line: &str) -> (bool, String) {
        let words: Vec<&str> = ["kubectl"].into_iter().chain(line.split(' ')).collect();
        let output = self.command(&words).output().expect("calico lab starts");
        (output.status.success(), text(&output))
    }

    /// `kubectl apply` of a manifest.
    pub(crate) fn apply(&self, manifest: &str) {
        self.with_input(&["kubectl", "apply", "-f", "-"], manifest);
    }

    /// What `calico lab …` prints, given something to read; it must succeed.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &str) -> String {
        let (succeeded, said) = self.try_with_input(arguments, input);
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    /// The same, and whether it succeeded.
    pub(crate) fn try_with_input(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("calico lab starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        (output.status.success(), text(&output))
    }

    /// What a shell line prints on a machine, and whether it succeeded.
    pub(crate) fn try_run(&self, machine: &str, line: &str) -> (bool, String) {
        let output = self.command(&["exec", machine, "--", "sh", "-c", line]).output();
        let output = output.expect("calico lab exec starts");
        (output.status.success(), text(&output))
    }

    /// What a shell line prints on a machine; it must succeed.
    pub(crate) fn run(&self, machine: &str, line: &str) -> String {
        let (succeeded, said) = self.try_run(machine, line);
        assert!(succeeded, "[{machine}] {line}: {said}");
        said
    }

    /// Applies [`WEB`] and waits until its pods are ready.
    pub(crate) fn serve_web(&self) {
        self.apply(WEB);
        self.kubectl("rollout status daemonset/web --timeout=60s");
    }

    /// A field of the web server's pod that runs on a node. One that kubelet refused (its view of a
    /// node may be older than the scheduler's) stays beside the one that replaces it for a moment.
    pub(crate) fn web(&self, node: &str, field: &str) -> String {
        let on_node = format!("--field-selector spec.nodeName={node},status.phase=Running");
        let get = format!("get pod -l app=web {on_node} -o jsonpath={{.items[0].{field}}}");
        let mut found = String::new();
        self.within(LIMIT, &format!("a web server on {node}"), |cluster| {
            let (succeeded, said) = cluster.try_kubectl(&get);
            found = said;
            succeeded && !found.is_empty()
        });
        found
    }

    /// Waits for a condition; the test fails when it isn't met in time.
    pub(crate) fn within(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut(&Cluster) -> bool,
    ) {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > limit {
                let (_, state) = self.try_kubectl("get nodes,pods -A -o wide");
                let (_, events) = self.try_kubectl("get events -A");
                panic!("not within {limit:?}: {what}\n{state}\n{events}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let output = self.command(&["down"]).output();
        if let Ok(output) = output
            && !output.status.success()
        {
            eprintln!("lab down: {}", text(&output));
        }
    }
}

/// Both streams of a finished command.
fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
