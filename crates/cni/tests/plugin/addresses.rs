//! `calico-ipam` on the embedded datastore, in process and as many processes.

use crate::rig::{Rig, error_of};
use cni::{Input, Outcome, Places, calico_ipam};
use model::{AffinityKind, IpPool, IpPoolSpec, Key, Query};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use store::{Datastore, Settings, typed};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Set for a process that is to be the plugin: the directory of its [`Places`].
const PLACES: &str = "CALICO_TEST_PLACES";

/// A datastore with one pool, and a node on it.
struct Addressed {
    rig: Rig,
    runtime: Runtime,
    datastore: Arc<dyn Datastore>,
    endpoint: String,
    _data: TempDir,
    _server: datastore::Server,
}

impl Addressed {
    fn new(pools: &[(&str, &str, u8)]) -> Addressed {
        let runtime = Runtime::new().expect("a runtime");
        let data = tempfile::tempdir().expect("a directory");
        let options = datastore::Options::local(data.path());
        let server = runtime.block_on(datastore::Server::start(options)).expect("a datastore");
        let endpoint = server.endpoints()[0].clone();
        let settings = Settings::new(&endpoint).expect("settings");
        let datastore = runtime.block_on(async {
            let datastore = store::connect(&settings).await.expect("a client");
            for (name, cidr, block_size) in pools {
                let spec = IpPoolSpec {
                    cidr: (*cidr).to_owned(),
                    block_size: Some(*block_size),
                    ..IpPoolSpec::default()
                };
                let pool = IpPool::new(*name, spec);
                typed::create(&*datastore, pool).await.expect("a pool");
            }
            datastore
        });
        let rig = Rig::new();
        Addressed { rig, runtime, datastore, endpoint, _data: data, _server: server }
    }

    fn input(&self, command: &str, container: &str, ipam: &Value) -> Input {
        let configuration = json!({
            "cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "calico", "ipam": ipam,
            "etcd_endpoints": self.endpoint,
        });
        let mut input = self.rig.input(command, &configuration);
        input.environment.insert("CNI_CONTAINERID".into(), container.into());
        input
    }

    fn run(&self, input: &Input) -> Outcome {
        calico_ipam(input, &self.rig.places)
    }

    fn good(&self, command: &str, container: &str, ipam: &Value) -> Value {
        let outcome = self.run(&self.input(command, container, ipam));
        assert!(outcome.success, "{}", outcome.stdout);
        serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null)
    }

    fn bad(&self, container: &str, ipam: &Value) -> (u64, String) {
        error_of(&self.run(&self.input("ADD", container, ipam)))
    }

    /// Handles that hold an address.
    fn handles(&self) -> Vec<String> {
        let list = self.datastore.list(&Query::Handles);
        let entries = self.runtime.block_on(list).expect("the handles").entries;
        let names = entries.into_iter().map(|entry| match entry.key {
            Key::Handle(id) => id,
            other => panic!("{other} is no handle"),
        });
        names.collect()
    }
}

fn plain() -> Value {
    json!({ "type": "calico-ipam" })
}

#[test]
fn an_address_comes_and_goes() {
    let node = Addressed::new(&[("one", "10.65.0.0/24", 26)]);
    let result = node.good("ADD", "aa", &plain());
    let address = result["ips"][0]["address"].as_str().expect("an address");
    assert!(address.starts_with("10.65.0.") && address.ends_with("/26"), "{result}");
    assert_eq!(result["routes"].as_array().map(Vec::len), Some(1));
    assert!(result.get("interfaces").is_none());
    assert_eq!(node.handles(), ["k8s-pod-network.aa"]);
    for _ in 0..2 {
        node.good("DEL", "aa", &plain());
        assert_eq!(node.handles(), [""; 0]);
    }
    // The node keeps its block.
    let affinities = Query::Affinities { kind: AffinityKind::Host, host: None };
    let list = node.runtime.block_on(node.datastore.list(&affinities)).expect("affinities");
    assert_eq!(list.entries.len(), 1);
}

#[test]
fn an_address_can_be_asked_for() {
    let node = Addressed::new(&[("one", "10.65.0.0/24", 26)]);
    let mut input = node.input("ADD", "aa", &plain());
    input.environment.insert("CNI_ARGS".into(), "IP=10.65.0.77".into());
    let outcome = node.run(&input);
    assert!(outcome.success && outcome.stdout.contains("10.65.0.77/26"), "{}", outcome.stdout);
    input.environment.insert("CNI_CONTAINERID".into(), "bb".into());
    let (code, message) = error_of(&node.run(&input));
    assert!(code == 101 && message.contains("10.65.0.77"), "{code} {message}");
    input.environment.insert("CNI_ARGS".into(), "IP=10.66.0.1".into());
    let (code, message) = error_of(&node.run(&input));
    assert!(
        code == 101 && message.contains("The provided IP address is not in a configured pool"),
        "{code} {message}"
    );
}

#[test]
fn pools_and_families_are_the_configurations() {
    let node = Addressed::new(&[
        ("one", "10.65.0.0/24", 26),
        ("two", "10.66.0.0/24", 26),
        ("six", "fd00:65::/112", 122),
    ]);
    let both = json!({
        "type": "calico-ipam", "assign_ipv6": "true", "ipv4_pools": ["two"],
        "ipv6_pools": ["fd00:65::/112"],
    });
    let result = node.good("ADD", "aa", &both);
    let address = |index: usize| result["ips"][index]["address"].as_str().expect("an address");
    assert!(address(0).starts_with("10.66.0."), "{result}");
    assert!(address(1).starts_with("fd00:65::") && address(1).ends_with("/122"), "{result}");

    let (code, message) = node.bad("bb", &json!({ "ipv4_pools": ["three"] }));
    assert!(code == 7 && message.contains("three"), "{code} {message}");
    // The second family fails: the first one's address goes back.
    let half = json!({ "assign_ipv6": "true", "ipv6_pools": ["none"] });
    let (code, message) = node.bad("bb", &half);
    assert!(code == 7 && message.contains("none"), "{code} {message}");
    assert_eq!(node.handles(), ["k8s-pod-network.aa"]);
    let (code, message) = node.bad("bb", &json!({ "assign_ipv4": "false" }));
    assert!(code == 7 && message.contains("assign_ipv4"), "{code} {message}");
}

#[test]
fn a_full_pool_and_a_missing_datastore_are_said() {
    let node = Addressed::new(&[("tiny", "10.65.0.0/31", 31)]);
    for container in ["aa", "bb"] {
        node.good("ADD", container, &plain());
    }
    let (code, message) = node.bad("cc", &plain());
    assert!(code == 101 && message.contains("tiny (10.65.0.0/31)"), "{code} {message}");
    assert_eq!(node.handles().len(), 2);

    let mut input = node.input("ADD", "cc", &plain());
    let text = String::from_utf8(input.stdin).expect("JSON");
    input.stdin = text.replace(&node.endpoint, "http://127.0.0.1:1").into();
    let (code, message) = error_of(&node.run(&input));
    assert!(code == 11 && message.contains("127.0.0.1:1"), "{code} {message}");
}

// One node, so that they compete for one block's addresses.
#[test]
fn processes_at_once_get_addresses_of_their_own() {
    const PROCESSES: usize = 24;
    let node = Addressed::new(&[("one", "10.65.0.0/27", 28)]);
    let start = |number: usize| {
        let input = node.input("ADD", &format!("c{number}"), &plain());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "addresses::be_the_plugin", "--nocapture"])
            .envs(&input.environment)
            .env(PLACES, node.rig.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let mut stdin = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut stdin, &input.stdin).expect("its input");
        child
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let addresses: BTreeSet<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("its end");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text.lines().find(|line| line.starts_with('{')).expect("a result");
            let result: Value = serde_json::from_str(line).expect("a result");
            result["ips"][0]["address"].as_str().expect(line).to_owned()
        })
        .collect();
    assert_eq!(addresses.len(), PROCESSES);
    assert_eq!(node.handles().len(), PROCESSES);
}

/// The plugin, in a process that [`processes_at_once_get_addresses_of_their_own`] started.
#[test]
fn be_the_plugin() {
    let Some(directory) = std::env::var_os(PLACES).map(std::path::PathBuf::from) else { return };
    let mut stdin = vec![];
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut stdin).expect("the configuration");
    let places = Places {
        state: directory.clone(),
        log: directory.join("log/cni.log"),
        // Each its own lock: what is tested is that nothing depends on it.
        lock: directory.join(format!("lock-{}", std::process::id())),
        ..Places::default()
    };
    let outcome = calico_ipam(&Input { environment: std::env::vars().collect(), stdin }, &places);
    println!("\n{}", outcome.stdout);
    assert!(outcome.success);
}
