//! `calico-ipam -upgrade` on the embedded datastore, with the files that host-local leaves.

use cni::{HostLocal, UpgradeError, upgrade};
use ipam::{AssignAddress, CheckIp, ReadConfig, pools_of_requested};
use jiff::Timestamp;
use model::{IpPool, IpPoolSpec, Resource, WorkloadEndpointSpec, names};
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use store::{Datastore, Settings, drive, typed};
use tempfile::TempDir;

/// A node on a datastore, whose files are below a directory.
struct Node {
    datastore: Arc<dyn Datastore>,
    place: HostLocal,
    variables: BTreeMap<String, String>,
    _data: TempDir,
    _server: datastore::Server,
}

impl Node {
    async fn new() -> Node {
        let data = tempfile::tempdir().expect("a directory");
        let options = datastore::Options::local(data.path());
        let server = datastore::Server::start(options).await.expect("a datastore");
        let endpoint = server.endpoints()[0].clone();
        let settings = Settings::new(&endpoint).expect("settings");
        let datastore = store::connect(&settings).await.expect("a client");
        let spec = IpPoolSpec { cidr: "10.244.0.0/16".to_owned(), ..IpPoolSpec::default() };
        typed::create(&*datastore, IpPool::new("default", spec)).await.expect("a pool");
        let variables = [("KUBERNETES_NODE_NAME", "worker-1"), ("ETCD_ENDPOINTS", &endpoint)];
        let place = HostLocal {
            given: data.path().join("networks/k8s-pod-network"),
            plugins: data.path().join("plugins"),
        };
        std::fs::create_dir(&place.plugins).expect("a directory");
        for plugin in ["calico", "host-local", "portmap"] {
            std::fs::write(place.plugins.join(plugin), "").expect("a file");
        }
        let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        Node { datastore, place, variables, _data: data, _server: server }
    }

    /// What host-local leaves of an address.
    fn given(&self, address: &str, container: &str) -> PathBuf {
        std::fs::create_dir_all(&self.place.given).expect("a directory");
        std::fs::write(self.place.given.join("last_reserved_ip.0"), address).expect("a file");
        let file = self.place.given.join(address);
        std::fs::write(&file, format!("{container}\r\neth0")).expect("a file");
        file
    }

    async fn pod(&self, node: &str, pod: &str, addresses: &[&str]) {
        let spec = WorkloadEndpointSpec {
            orchestrator: "k8s".to_owned(),
            node: node.to_owned(),
            pod: pod.to_owned(),
            endpoint: "eth0".to_owned(),
            ip_networks: addresses.iter().map(|one| format!("{one}/32")).collect(),
            interface_name: "cali0".to_owned(),
            ..WorkloadEndpointSpec::default()
        };
        let name = names::kubernetes_endpoint(node, pod, "eth0");
        let mut endpoint = Resource::new(name, spec);
        endpoint.metadata.namespace = Some("default".to_owned());
        typed::create(&*self.datastore, endpoint).await.expect("an endpoint");
    }

    async fn run(&self) -> (Result<(), UpgradeError>, Vec<String>) {
        let mut said = Vec::new();
        let done = upgrade(&self.variables, &self.place, &mut |line| said.push(line)).await;
        (done, said)
    }

    /// Handle and pod of who holds an address.
    async fn holder(&self, address: &str) -> Option<(String, String)> {
        let address = address.parse().expect("an address");
        let held =
            drive(&*self.datastore, CheckIp { address }.start()).await.expect("an answer")?;
        let pod = held.attributes.get("pod").cloned().unwrap_or_default();
        Some((held.handle.unwrap_or_default(), pod))
    }

    fn plugins(&self) -> Vec<String> {
        let there = std::fs::read_dir(&self.place.plugins).expect("a directory");
        let names = there.map(|entry| entry.expect("an entry").file_name().into_string());
        let mut names: Vec<String> = names.map(|name| name.expect("a name")).collect();
        names.sort();
        names
    }

    async fn assign(&self, address: &str, handle: &str) {
        let config = drive(&*self.datastore, ReadConfig.start()).await.expect("settings");
        let pools = typed::list::<IpPoolSpec>(&*self.datastore, None).await.expect("pools");
        let operation = AssignAddress {
            address: address.parse().expect("an address"),
            host: "worker-2".to_owned(),
            handle: handle.to_owned(),
            attributes: BTreeMap::new(),
            pools: pools_of_requested(&pools),
            config,
            now: Timestamp::now(),
        };
        drive(&*self.datastore, operation.start()).await.expect("an address");
    }
}

fn holder(handle: &str, pod: &str) -> Option<(String, String)> {
    Some((handle.to_owned(), pod.to_owned()))
}

#[tokio::test]
async fn pods_keep_their_addresses() {
    let node = Node::new().await;
    node.given("10.244.1.5", "aa");
    node.given("10.244.1.6", "bb");
    node.given("10.244.1.7", "cc");
    node.pod("worker-1", "one", &["10.244.1.5"]).await;
    node.pod("worker-1", "two", &["10.244.1.6"]).await;
    // It has it on another node, by a mistake of somebody's.
    node.pod("worker-2", "three", &["10.244.1.7"]).await;
    let (done, said) = node.run().await;
    done.expect("the addresses are moved");
    assert_eq!(
        said,
        [
            "10.244.1.5: moved, of pod default/one",
            "10.244.1.6: moved, of pod default/two",
            "10.244.1.7: no pod of this node has it, so it is free",
        ]
    );
    assert_eq!(node.holder("10.244.1.5").await, holder("k8s-pod-network.aa", "one"));
    assert_eq!(node.holder("10.244.1.6").await, holder("k8s-pod-network.bb", "two"));
    assert_eq!(node.holder("10.244.1.7").await, None);
    assert_eq!(node.plugins(), ["portmap"]);
    assert!(!node.place.given.exists());
}

#[tokio::test]
async fn without_addresses_nobody_is_asked() {
    let node = Node::new().await;
    let variables = BTreeMap::from([("DATASTORE_TYPE".to_owned(), "none".to_owned())]);
    for _ in 0..2 {
        upgrade(&variables, &node.place, &mut |_| {}).await.expect("nothing to do");
        assert_eq!(node.plugins(), ["calico", "host-local", "portmap"]);
        assert!(!node.place.given.exists());
        std::fs::create_dir_all(&node.place.given).expect("a directory");
        std::fs::write(node.place.given.join("lock"), "").expect("a file");
    }
}

/// An upgrade that died between assigning an address and removing its file.
#[tokio::test]
async fn an_upgrade_that_was_interrupted_goes_on() {
    let node = Node::new().await;
    node.pod("worker-1", "one", &["10.244.1.5"]).await;
    node.given("10.244.1.5", "aa");
    node.assign("10.244.1.5", "k8s-pod-network.aa").await;
    let (done, said) = node.run().await;
    done.expect("the addresses are moved");
    assert_eq!(said, ["10.244.1.5: was moved before, of pod default/one"]);
    assert!(!node.place.given.exists());
}

#[tokio::test]
async fn an_address_with_another_holder_is_told() {
    let node = Node::new().await;
    node.pod("worker-1", "one", &["10.244.1.5"]).await;
    node.given("10.244.1.5", "aa");
    node.assign("10.244.1.5", "k8s-pod-network.zz").await;
    let (done, said) = node.run().await;
    done.expect("the rest is moved");
    assert!(said[0].contains("kubectl delete pod -n default one"), "{said:?}");
    assert_eq!(node.holder("10.244.1.5").await, holder("k8s-pod-network.zz", ""));
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_and_files_stay() {
    let mut node = Node::new().await;
    node.pod("worker-1", "one", &["10.245.0.1"]).await;
    let file = node.given("10.245.0.1", "aa");
    let (done, _) = node.run().await;
    let error = done.expect_err("the address is in no pool").to_string();
    assert!(error.contains("default/one") && error.contains("create an IPPool"), "{error}");
    assert!(file.exists());
    node.variables.remove("KUBERNETES_NODE_NAME");
    let error = node.run().await.0.expect_err("the node has no name").to_string();
    assert!(error.contains("KUBERNETES_NODE_NAME"), "{error}");
    assert!(file.exists());
}

/// What a plugin that runs adds is moved, too.
#[tokio::test]
async fn a_plugin_that_runs_is_waited_for() {
    let node = Node::new().await;
    node.given("10.244.1.5", "aa");
    node.pod("worker-1", "one", &["10.244.1.5"]).await;
    let lock = std::fs::File::create(node.place.given.join("lock")).expect("a file");
    let lock = Flock::lock(lock, FlockArg::LockExclusive).expect("a lock");
    let given = node.place.given.clone();
    let plugin = std::thread::spawn(move || {
        // Longer than the upgrade takes to come to the lock; were it not, the test would pass still.
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::fs::write(given.join("10.244.1.6"), "bb\r\neth0").expect("a file");
        drop(lock);
    });
    let (done, said) = node.run().await;
    plugin.join().expect("a plugin");
    done.expect("the addresses are moved");
    assert_eq!(said.len(), 2, "{said:?}");
}
