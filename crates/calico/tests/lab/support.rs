//! A lab of its own for each test: real nodes, real pods, the real binary.

use std::io::Write;
use std::net::Ipv4Addr;
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

    /// `calicoctl VERB -f -` on master: `apply` or `delete`.
    pub(crate) fn resources(&self, verb: &str, yaml: &str) {
        let mut command = self.command(&["exec", "master", "--", "calicoctl", verb, "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("calicoctl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(yaml.as_bytes()).expect("calicoctl reads");
        drop(stdin);
        let output = child.wait_with_output().expect("calicoctl ends");
        assert!(output.status.success(), "{verb}: {}\n{yaml}", text(&output));
    }

    /// A place's routes, as `ip route` prints them.
    pub(crate) fn routes(&self, place: &str) -> String {
        self.run(place, "ip route")
    }

    /// What a command prints while pings go from one pod to another: two packets at most.
    pub(crate) fn captured(
        &self,
        place: &str,
        device: &str,
        filter: &str,
        from: &str,
        to: &str,
    ) -> String {
        let line = format!("timeout 5 tcpdump -i {device} -nn -l -c2 {filter} 2>/dev/null");
        let capture = self.at(place, &line).stdout(Stdio::piped()).spawn().expect("tcpdump");
        let started = |lab: &Lab| lab.try_run(place, "pgrep -x tcpdump").0;
        self.within(Duration::from_secs(5), "tcpdump runs", started);
        self.within(Duration::from_secs(5), "packets are caught", |lab| {
            lab.pings(from, to);
            !lab.try_run(place, "pgrep -x tcpdump").0
        });
        text(&capture.wait_with_output().expect("tcpdump ends"))
    }

    /// Sends an echo request from one address to another in IP-in-IP, from a place to a node.
    pub(crate) fn send_ipip(&self, place: &str, node: &str, from: &str, to: &str) {
        let inner = echo_request(from.parse().expect("IPv4"), to.parse().expect("IPv4"));
        let escaped: String = inner.iter().map(|byte| format!("\\{byte:03o}")).collect();
        self.run(place, &format!("printf '{escaped}' | socat -u STDIN IP4-SENDTO:{node}:4"));
    }

    /// `calico lab fault set …`.
    pub(crate) fn fault(&self, setting: &str) {
        self.succeeds(&["fault", "set", setting]);
    }

    /// `calico lab fault clear`.
    pub(crate) fn clear_faults(&self) {
        self.succeeds(&["fault", "clear"]);
    }

    /// `calico lab agent stop|start NODE`.
    pub(crate) fn agent(&self, verb: &str, node: &str) {
        self.succeeds(&["agent", verb, node]);
    }

    /// `calico lab …`, which must succeed.
    pub(crate) fn succeeds(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().expect("calico lab starts");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }

    /// The names of all pods.
    pub(crate) fn pods(&self) -> Vec<String> {
        let output = self.command(&["status", "-o", "json"]).output().expect("calico lab starts");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pods = status["pods"].as_array().expect("a list").iter();
        pods.map(|pod| pod["name"].as_str().expect("a name").to_owned()).collect()
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

/// An IPv4 packet with an ICMP echo request (RFC 791, 792).
fn echo_request(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut packet = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(icmp);
    packet
}

/// RFC 1071's.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!(folded as u16)).to_be_bytes()
}

/// What `ip monitor` saw of routes, links and addresses while something was done.
pub(crate) fn changes_during(lab: &Lab, node: &str, work: impl FnOnce(&Lab)) -> String {
    let soon = Duration::from_secs(5);
    let monitor = lab
        .at(node, "exec timeout 60 ip monitor route link address")
        .stdout(Stdio::piped())
        .spawn()
        .expect("ip monitor");
    lab.within(soon, "ip monitor runs", |lab| lab.try_run(node, "pgrep -x ip").0);
    work(lab);
    lab.run(node, "pkill -x ip");
    String::from_utf8_lossy(&monitor.wait_with_output().expect("it ends").stdout).into_owned()
}

/// 1 GiB, with the sums of what was sent and of what came.
pub(crate) fn a_gibibyte_arrives_intact(lab: &Lab, from: &str, to: &str) {
    let listen = "socat -u -b 262144 TCP-LISTEN:9000,reuseaddr STDOUT | sha256sum";
    let receiver = lab.at(to, listen).stdout(Stdio::piped()).spawn().expect("socat");
    let listening = |lab: &Lab| lab.try_run(to, "ss -ltn | grep -q ':9000 '").0;
    lab.within(Duration::from_secs(5), "the receiver listens", listening);
    let address = lab.address(to);
    // A keystream of zeros: as good as random data, and faster to make.
    let sent = lab.run(
        from,
        &format!(
            "head -c 1073741824 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null | \
             tee /dev/fd/3 3>&1 >/dev/null | (tee /dev/stderr | \
             socat -u -b 262144 STDIN TCP:{address}:9000) 2>&1 | sha256sum"
        ),
    );
    let received = receiver.wait_with_output().expect("the receiver ends");
    assert_eq!(String::from_utf8_lossy(&received.stdout), sent, "1 GiB {from} → {to}");
}

/// Both streams of a finished command.
pub(crate) fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
