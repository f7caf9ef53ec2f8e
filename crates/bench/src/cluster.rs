//! A lab to measure in, driven by the command line as a user would.

use crate::program::{Finished, run};
use anyhow::{Context, Result, bail};
use lab::LabStatus;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long `lab up` and `lab down` may take before something is wrong.
const UP_LIMIT: Duration = Duration::from_secs(150);
const DOWN_LIMIT: Duration = Duration::from_secs(60);
/// How long a short command may take.
pub(crate) const SHORT: Duration = Duration::from_secs(30);

/// What the checks of the main job were made for.
const VXLAN: &str = "
backend: vxlan
resources:
- apiVersion: projectcalico.org/v3
  kind: FelixConfiguration
  metadata: {name: default}
  spec: {programClusterRoutes: Enabled}
";

/// A running lab; taken down when dropped.
pub(crate) struct Cluster {
    name: String,
    program: PathBuf,
    up: bool,
}

impl Cluster {
    /// Starts the default topology, with more arguments for `lab up`; and how long that took.
    ///
    /// # Errors
    /// A lab of that name is there already, or it doesn't become ready.
    pub(crate) fn up(name: &str, arguments: &[&str]) -> Result<(Cluster, Duration)> {
        let program = std::env::current_exe().context("finding this program's file")?;
        let mut cluster = Cluster { name: name.into(), program, up: false };
        if cluster.names()?.iter().any(|there| there == name) {
            bail!("lab {name} is up already; give another name with --lab, or take it down");
        }
        cluster.up = true;
        let words: Vec<&str> = ["up"].iter().chain(arguments).copied().collect();
        let finished = run(cluster.command(&words), UP_LIMIT)?;
        Ok((cluster, finished.took))
    }

    /// The same without BGP: pools of VXLAN, and routes by Felix in every mode.
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub(crate) fn vxlan(name: &str, arguments: &[&str]) -> Result<(Cluster, Duration)> {
        Cluster::of_topology(name, VXLAN, arguments)
    }

    /// The same of a topology, as YAML.
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub(crate) fn of_topology(
        name: &str,
        topology: &str,
        arguments: &[&str],
    ) -> Result<(Cluster, Duration)> {
        let file = std::env::temp_dir().join(format!("{name}-{}.yaml", std::process::id()));
        std::fs::write(&file, topology).with_context(|| format!("writing {}", file.display()))?;
        let path = file.to_str().context("a directory for temporary files in UTF-8")?;
        let up = Cluster::up(name, &[&["--topology", path], arguments].concat());
        // Read by then; that it stays is no failure of a measurement.
        let _ = std::fs::remove_file(&file);
        up
    }

    /// Takes it down; how long that took.
    pub(crate) fn down(mut self) -> Result<Duration> {
        self.up = false;
        Ok(run(self.command(&["down"]), DOWN_LIMIT)?.took)
    }

    fn names(&self) -> Result<Vec<String>> {
        let list = run(self.command(&["list"]), SHORT)?.output;
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(list.lines().skip(1).filter_map(first).collect())
    }

    /// `calico lab …` on this lab.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("lab").args(words).env("CALICO_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// Runs a command in a node or pod.
    ///
    /// # Errors
    /// It fails, or takes longer than `limit`.
    pub(crate) fn run(&self, place: &str, words: &[&str], limit: Duration) -> Result<Finished> {
        run(self.exec(place, words), limit).with_context(|| format!("lab {}", self.name))
    }

    /// Runs a shell line in a node or pod.
    pub(crate) fn shell(&self, place: &str, line: &str) -> Result<String> {
        Ok(self.run(place, &["sh", "-ec", line], SHORT)?.output)
    }

    /// What kubectl prints, in a lab with Kubernetes.
    ///
    /// # Errors
    /// It fails, or takes longer than `limit`.
    pub(crate) fn kubectl(&self, words: &[&str], limit: Duration) -> Result<String> {
        Ok(run(self.command(&[&["kubectl"], words].concat()), limit)?.output)
    }

    /// `calico lab agent stop`, or `start`, of several nodes.
    pub(crate) fn agents(&self, verb: &str, nodes: &[String]) -> Result<()> {
        let words = ["agent", verb].into_iter().chain(nodes.iter().map(String::as_str));
        run(self.command(&words.collect::<Vec<_>>()), UP_LIMIT).map(drop)
    }

    /// Asks this program, in a node, to measure something there.
    pub(crate) fn inside<T: DeserializeOwned>(
        &self,
        node: &str,
        words: &[&str],
        limit: Duration,
    ) -> Result<T> {
        let command = [&["calico", "bench", "inside"], words].concat();
        let output = self.run(node, &command, limit)?.output;
        serde_json::from_str(&output).with_context(|| format!("{}: {output}", command.join(" ")))
    }

    /// A command in a node or pod, not yet started.
    pub(crate) fn exec(&self, place: &str, words: &[&str]) -> Command {
        self.command(&[&["exec", place, "--"], words].concat())
    }

    /// Starts a command in a node or pod that ends with the returned value.
    pub(crate) fn background(&self, place: &str, words: &[&str]) -> Result<Background> {
        let mut command = self.exec(place, words);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("starting {words:?} in {place}"))?;
        Ok(Background(child))
    }

    /// The same, with a pipe for each of its streams.
    pub(crate) fn conversation(&self, place: &str, words: &[&str]) -> Result<Background> {
        let mut command = self.exec(place, words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("starting {words:?} in {place}"))?;
        Ok(Background(child))
    }

    /// The nodes and pods.
    pub(crate) fn status(&self) -> Result<LabStatus> {
        let output = run(self.command(&["status", "-o", "json"]), SHORT)?.output;
        serde_json::from_str(&output).context("reading the lab's status")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.up
            && let Err(error) = run(self.command(&["down"]), DOWN_LIMIT)
        {
            eprintln!("{error:#}");
        }
    }
}

/// A command in a node or pod; killed when dropped.
pub(crate) struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pod's first address.
pub(crate) fn address_of(status: &LabStatus, pod: &str) -> Result<IpAddr> {
    let found = status.pods.iter().find(|there| there.name == pod);
    let address = found.and_then(|pod| pod.addresses.first()).copied();
    address.with_context(|| format!("pod {pod} has no address in lab {}", status.name))
}

/// Tries something until it works.
///
/// # Errors
/// Its last failure, once `limit` is over.
pub(crate) fn within<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if started.elapsed() > limit => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}
