//! A lab of its own for each test: real nodes, real pods, the real binary.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Worker-1's address in the default topology.
pub(crate) const WORKER_1: &str = "10.30.0.206";
/// Worker-2's address in the default topology.
pub(crate) const WORKER_2: &str = "10.30.0.56";
/// The pods of the default topology.
pub(crate) const PODS: [&str; 3] = ["pod-1", "pod-2", "pod-3"];

/// Backend `vxlan`, and routes by Felix also without a tunnel.
pub(crate) const VXLAN: &str = "
backend: vxlan
resources:
- apiVersion: projectcalico.org/v3
  kind: FelixConfiguration
  metadata: {name: default}
  spec: {programClusterRoutes: Enabled}
";

/// A running lab; it is taken down when dropped, whatever the test came to.
pub(crate) struct Lab {
    name: String,
}

/// The binary under test: what `make build` made, or CALICO_BINARY.
pub(crate) fn calico() -> Command {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release/calico");
    let binary = std::env::var_os("CALICO_BINARY").map_or(built, PathBuf::from);
    assert!(binary.exists(), "{} is missing: run `make build` first", binary.display());
    Command::new(binary)
}

/// A unique name for a lab, so that tests and other labs of the machine don't meet.
fn name(test: &str) -> String {
    format!("t-{test}-{}", std::process::id())
}

impl Lab {
    /// A lab named after the test, with more arguments for `lab up`.
    pub(crate) fn up(test: &str, arguments: &[&str]) -> Lab {
        let lab = Lab { name: name(test) };
        let output = lab.command(&["up"]).args(arguments).output().expect("calico lab up starts");
        assert!(output.status.success(), "lab up: {}", text(&output));
        lab
    }

    /// A lab of VXLAN without BGP, where Felix routes to other nodes in every mode; with more
    /// arguments for `lab up`.
    pub(crate) fn vxlan(test: &str, arguments: &[&str]) -> Lab {
        Lab::of(test, VXLAN, arguments)
    }

    /// A lab of a topology written in YAML, with more arguments for `lab up`.
    pub(crate) fn of(test: &str, topology: &str, arguments: &[&str]) -> Lab {
        let file = std::env::temp_dir().join(format!("{}.yaml", name(test)));
        std::fs::write(&file, topology).expect("the topology is written");
        let topology = ["--topology", file.to_str().expect("a path")];
        let lab = Lab::up(test, &[&topology, arguments].concat());
        std::fs::remove_file(&file).expect("the topology is removed");
        lab
    }

    /// `calico lab …` on this lab.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = calico();
        command.arg("lab").args(arguments).env("CALICO_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// A command at a place, not yet started.
    pub(crate) fn at(&self, place: &str, line: &str) -> Command {
        self.command(&["exec", place, "--", "sh", "-c", line])
    }

    /// What a shell line prints at a place, and whether it succeeded.
    pub(crate) fn try_run(&self, place: &str, line: &str) -> (bool, String) {
        let output = self.at(place, line).output().expect("calico lab exec starts");
        (output.status.success(), text(&output))
    }

    /// What a shell line prints at a place; it must succeed.
    pub(crate) fn run(&self, place: &str, line: &str) -> String {
        let (succeeded, text) = self.try_run(place, line);
        assert!(succeeded, "[{place}] {line}: {text}");
        text
    }

    /// Whether one ping from a pod or node is answered within a second.
    pub(crate) fn pings(&self, from: &str, to: &str) -> bool {
        self.try_run(from, &format!("ping -c1 -W1 {to}")).0
    }

    /// Waits for a condition; the test fails when it isn't met in time. Returns how long it took.
    pub(crate) fn within(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut(&Lab) -> bool,
    ) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > limit {
                let state = self.run("worker-1", "ip route; calicoctl node status || true");
                panic!("not within {limit:?}: {what}\nworker-1:\n{state}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        start.elapsed()
    }

    /// Every pod reaches every other, soon.
    pub(crate) fn all_pods_reach_each_other(&self) {
        for from in PODS {
            for to in PODS.iter().filter(|to| **to != from) {
                let what = format!("ping {from} → {to}");
                self.within(Duration::from_secs(5), &what, |lab| lab.pings(from, to));
            }
        }
    }

    /// Changes the default pool, as an operator does.
    pub(crate) fn patch_pool(&self, spec: &str) {
        let patch = format!("{{\"spec\":{{{spec}}}}}");
        let line = format!("calicoctl patch ippool default-ipv4-ippool -p '{patch}'");
        let said = self.run("master", &line);
        assert_eq!(said, "Successfully patched 1 'IPPool' resource\n");
    }

    /// A place's routes, as `ip route` prints them.
    pub(crate) fn routes(&self, place: &str) -> String {
        self.run(place, "ip route")
    }

    /// A pod's address.
    pub(crate) fn address(&self, pod: &str) -> String {
        self.run(pod, "hostname -I | tr -d ' \\n'")
    }
}

impl Drop for Lab {
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
pub(crate) fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
