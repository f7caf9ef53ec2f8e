//! A node in miniature: two namespaces of its own, a directory, an agent that says what the test
//! wants.

use cni::{Input, Outcome, Places, calico};
use linux::netns::NetNs;
use node::api::{Reply, Request};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the scripted agent answers; `None`: it hangs up.
pub(crate) type Script = fn(&Request) -> Option<Reply>;

/// The host, a container, and what they share.
pub(crate) struct Rig {
    pub(crate) host: NetNs,
    pub(crate) container: NetNs,
    pub(crate) places: Places,
    /// What the agent was asked.
    pub(crate) asked: Arc<Mutex<Vec<Request>>>,
    pub(crate) directory: TempDir,
}

/// The host's end of the tests' pod, `default/pod1`.
pub(crate) const HOST_INTERFACE: &str = "calice0906292e2";

impl Rig {
    /// A node whose agent is down.
    pub(crate) fn new() -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("nodename"), "worker-1\n").expect("writing the node's name");
        let places = Places {
            socket: at("agent.sock"),
            spool: at("spool"),
            state: directory.path().to_owned(),
            log: at("log/cni.log"),
            lock: at("ipam.lock"),
        };
        Rig {
            host: NetNs::create().expect("a namespace: these tests need root"),
            container: NetNs::create().expect("a namespace"),
            places,
            asked: Arc::default(),
            directory,
        }
    }

    /// A node whose agent gives every pod 192.168.1.5.
    pub(crate) fn with_agent() -> Rig {
        let rig = Rig::new();
        rig.start_agent(good);
        rig
    }

    /// Starts an agent in place of the last one.
    pub(crate) fn start_agent(&self, script: Script) {
        let _ = std::fs::remove_file(&self.places.socket);
        let listener = UnixListener::bind(&self.places.socket).expect("the agent's socket");
        let asked = self.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, asked) = (stream.expect("a client"), asked.clone());
                std::thread::spawn(move || answer(stream, script, &asked));
            }
        });
    }

    /// Takes the agent away.
    pub(crate) fn stop_agent(&self) {
        std::fs::remove_file(&self.places.socket).expect("the agent's socket");
    }

    pub(crate) fn netns(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.container.as_fd().as_raw_fd())
    }

    /// What a runtime gives for `default/pod1`.
    pub(crate) fn input(&self, command: &str, configuration: &Value) -> Input {
        let variables = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "0123456789abcdef"),
            ("CNI_NETNS", &self.netns()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/usr/lib/cni"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod1"),
        ];
        Input {
            environment: variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            stdin: configuration.to_string().into_bytes(),
        }
    }

    /// Runs the plugin on the host.
    pub(crate) fn run(&self, input: &Input) -> Outcome {
        self.host.run(|| calico(input, &self.places)).expect("entering the host's namespace")
    }

    /// Runs the plugin for `default/pod1`, which must succeed.
    pub(crate) fn good(&self, command: &str, configuration: &Value) -> Value {
        let outcome = self.run(&self.input(command, configuration));
        assert!(outcome.success, "{command}: {}", outcome.stdout);
        serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null)
    }

    /// Runs the plugin for `default/pod1`, which must fail: code and message.
    pub(crate) fn bad(&self, command: &str, configuration: &Value) -> (u64, String) {
        error_of(&self.run(&self.input(command, configuration)))
    }

    /// What a program prints in the host's namespace.
    pub(crate) fn on_host(&self, command: &str) -> String {
        execute(&self.host, command)
    }

    /// What a program prints in the container's namespace.
    pub(crate) fn in_container(&self, command: &str) -> String {
        execute(&self.container, command)
    }

    /// Nothing is left of any pod, on either side.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.on_host("ip -br link | cut -d' ' -f1"), "lo\n");
        assert_eq!(self.in_container("ip -br link | cut -d' ' -f1"), "lo\n");
    }

    /// The log's lines so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.places.log).unwrap_or_default()
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("the list").clone()
    }

    /// What the agent was asked, as soon as that is so many requests.
    pub(crate) fn asked_so_many(&self, count: usize) -> Vec<Request> {
        let end = Instant::now() + Duration::from_secs(10);
        while self.asked().len() < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.asked()
    }
}

fn answer(mut stream: UnixStream, script: Script, asked: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream.try_clone().expect("the stream")).lines();
    let mut next = || serde_json::from_str(&lines.next()?.expect("a line")).ok();
    // A plugin that only looked whether somebody is there.
    let Some(request) = next() else { return };
    let reply = script(&request);
    // Only a refusal does not wait for the interface.
    let waits = match &request {
        Request::AddWorkload(add) if matches!(reply, Some(Reply::Added { .. })) => {
            add.interface_follows.then(|| add.id.clone())
        }
        _ => None,
    };
    asked.lock().expect("the list").push(request);
    if let Some(id) = waits {
        match next() {
            Some(Request::InterfaceMade(made)) => assert_eq!(made, id),
            // The plugin has hung up.
            other => return assert_eq!(other, None),
        }
    }
    if let Some(reply) = reply {
        let mut answer = serde_json::to_vec(&reply).expect("a reply");
        answer.push(b'\n');
        stream.write_all(&answer).expect("the client waits");
    }
}

/// The configuration of the walkthroughs.
pub(crate) fn configuration(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "k8s-pod-network",
        "type": "calico",
        "ipam": { "type": "calico-ipam" },
        "mtu": 1440,
    })
}

/// An agent to which everything is fine.
pub(crate) fn good(request: &Request) -> Option<Reply> {
    Some(match request {
        Request::AddWorkload(_) => {
            let addresses = vec!["192.168.1.5/32".parse().expect("an address")];
            Reply::Added { addresses, mac: None }
        }
        _ => Reply::Done,
    })
}

pub(crate) fn error_of(outcome: &Outcome) -> (u64, String) {
    assert!(!outcome.success, "{}", outcome.stdout);
    let error: Value = serde_json::from_str(&outcome.stdout).expect("an error in JSON");
    let code = error["code"].as_u64().expect("a code");
    (code, error["msg"].as_str().expect("a message").to_owned())
}

fn execute(namespace: &NetNs, command: &str) -> String {
    let run = || std::process::Command::new("sh").args(["-c", command]).output();
    let output = namespace.run(run).expect("the namespace").expect("sh");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
