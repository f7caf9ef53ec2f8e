//! Beside kube-proxy, in each of its modes: services work, with policy in force on them, and neither's
//! rules are the other's business.

use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::workloads::guard;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Servers of both nodes, clients, and services.
pub(crate) const SERVICES: &str = include_str!("manifests/services.yaml");
/// How long policy, or kube-proxy, may take on a busy machine.
const SETTLE: Duration = Duration::from_secs(20);
/// Questions of one client that all go to one server: chance alone would do that once in 2,000.
const QUESTIONS: usize = 12;
/// Who is no part of the cluster.
const OUTSIDE: &str = "198.51.100.10";

const CLIENTS: [&str; 2] = ["friend", "stranger"];

/// Services that nothing forbids: `FROM TO SERVERS`. Who comes by a node port under a node's address
/// is not told from that node.
const OPEN: &str = "
    friend    both                n1+n2
    stranger  both                n1+n2
    n1        both                n1+n2
    outside   172.31.0.11:30081   n1+n2
    outside   172.31.0.12:30081   n1+n2
    friend    sticky              one
    outside   172.31.0.11:30082   n1
    outside   172.31.0.12:30082   nobody
    outside   172.31.0.11:30083   n1
    outside   172.31.0.12:30083   n1
";

/// The servers take connections of friends only.
const FRIENDS: &str = "
    friend    both                n1+n2
    friend    sticky              one
    stranger  both                nobody
    stranger  sticky              nobody
    outside   172.31.0.11:30081   nobody
    outside   172.31.0.11:30082   nobody
";

/// The servers take connections from outside only. That is judged where the server is: of what has
/// come by the other node, only that node is seen.
const FROM_OUTSIDE: &str = "
    outside   172.31.0.11:30082   n1
    outside   172.31.0.11:30083   n1
    outside   172.31.0.12:30083   nobody
    friend    both                nobody
    stranger  sticky              nobody
";

pub(crate) struct Services {
    pub(crate) cluster: Cluster,
    pub(crate) pods: Pods,
    /// Each service's addresses.
    addresses: BTreeMap<String, Vec<String>>,
}

impl Services {
    /// Applies [`SERVICES`]; returns when the pods are ready.
    pub(crate) fn start(cluster: Cluster) -> Services {
        cluster.apply(SERVICES);
        cluster.kubectl("wait --for=condition=Ready pod --all --timeout=60s");
        let list = cluster.kubectl("get services -o json");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let services = list["items"].as_array().expect("a list").iter().map(|service| {
            let addresses = service["spec"]["clusterIPs"].as_array().expect("addresses");
            (text(&service["metadata"]["name"]), addresses.iter().map(text).collect())
        });
        Services { pods: Pods::of(&cluster), addresses: services.collect(), cluster }
    }

    /// Which server answered, and whose address it saw.
    pub(crate) fn ask(&self, from: &str, authority: &str) -> Option<(String, String)> {
        let line = format!("curl -s -m1 http://{authority}/cgi-bin/who");
        let (succeeded, said) = if CLIENTS.contains(&from) {
            self.pods.try_inside(&self.cluster, from, &line)
        } else {
            self.cluster.try_run(from, &line)
        };
        let (server, client) = said.trim().split_once(' ').filter(|_| succeeded)?;
        Some((server.to_owned(), client.to_owned()))
    }

    /// The address of a service, of a family; an address with a port is itself.
    fn authority(&self, to: &str, family: usize) -> String {
        if to.contains(':') {
            return to.to_owned();
        }
        let address = &self.addresses[to][family];
        if family == 0 { address.clone() } else { format!("[{address}]") }
    }

    /// Every line comes out as it says, soon: `FROM TO SERVERS`, where SERVERS are all that answer,
    /// `one` that answers always, or `nobody`.
    pub(crate) fn come_out(&self, table: &str, family: usize) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [from, to, servers] = words[..] else { panic!("{line}") };
            let authority = self.authority(to, family);
            let ask = || self.ask(from, &authority).map(|(server, _)| server);
            let mut seen = BTreeSet::new();
            self.cluster.within(SETTLE, line, |_| match (servers, ask()) {
                ("nobody", answer) => answer.is_none(),
                ("one", answer) => answer.is_some(),
                (_, answer) => {
                    seen.extend(answer);
                    seen.iter().map(String::as_str).eq(servers.split('+'))
                }
            });
            if servers == "one" {
                let all: BTreeSet<_> = (0..QUESTIONS).map(|_| ask()).collect();
                assert!(all.len() == 1 && !all.contains(&None), "{line}: {all:?}");
            }
        }
    }

    /// A NetworkPolicy of the servers.
    pub(crate) fn allow(&self, from: &Value) {
        guard(&self.cluster, "default", "server", from, &json!(8080));
    }

    /// Tables of n1 without counters: Calico's (`true`), or all others.
    fn tables(&self, own: bool) -> BTreeSet<String> {
        let select = if own { "" } else { "-v" };
        // Clients that are remembered have a time, and kubelet renews its own marks.
        let lines = format!(
            "nft list tables | grep {select} calico | while read -r table; do \
                 echo \"$table\"; nft -s list $table | sed \"s/^/$table /\"; \
             done | grep -v -e expires -e CANARY"
        );
        self.cluster.run("n1", &lines).lines().map(str::to_owned).collect()
    }

    /// Calico's tables, or all others, come to be what they were.
    fn become_again(&self, own: bool, before: &BTreeSet<String>) {
        let what = if own { "Calico's tables" } else { "the others' tables" };
        let begin = std::time::Instant::now();
        loop {
            let now = self.tables(own);
            if now == *before {
                return;
            }
            let (gone, new) = (before - &now, &now - before);
            assert!(begin.elapsed() < LIMIT, "{what}: gone {gone:#?}, new {new:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn beside_kube_proxy(mode: &str, removal: &str) {
    let up = ["--nodes", "2", "--kube-proxy", mode];
    let services = Services::start(Cluster::up(&format!("proxy-{mode}"), &up));
    policy_is_in_force_on_services(&services);
    neither_depends_on_the_other(&services, removal);
}

/// Pods that the servers may take connections of, in [`Services::allow`].
pub(crate) fn friends() -> Value {
    json!({"podSelector": {"matchLabels": {"role": "friend"}}})
}

fn policy_is_in_force_on_services(services: &Services) {
    services.come_out(OPEN, 0);
    let seen = services.ask("outside", "172.31.0.11:30082");
    let client = seen.map(|(_, client)| client).unwrap_or_default();
    assert!(client.contains(OUTSIDE), "the client's own address, not {client}");
    services.allow(&friends());
    services.come_out(FRIENDS, 0);
    // What a client may send is judged by the server's address, not by the service's.
    let egress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friend"},
        "spec": {
            "podSelector": {"matchLabels": {"role": "friend"}}, "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"place": "n2"}}}]}],
        },
    });
    services.cluster.apply(&egress.to_string());
    services.come_out("friend local nobody", 0);
    services.come_out("friend both n2", 0);
    services.cluster.kubectl("delete networkpolicy friend");
    services.allow(&json!({"ipBlock": {"cidr": format!("{OUTSIDE}/32")}}));
    services.come_out(FROM_OUTSIDE, 0);
    services.allow(&json!({"ipBlock": {
        "cidr": "0.0.0.0/0", "except": [format!("{OUTSIDE}/32")],
    }}));
    services.come_out("outside 172.31.0.11:30082 nobody\nstranger both n1+n2", 0);
    services.allow(&json!({"ipBlock": {"cidr": format!("{OUTSIDE}/32")}}));
    services.come_out(FROM_OUTSIDE, 0);
}

/// All that happens, happens on n1. `removal` takes kube-proxy's rules away.
fn neither_depends_on_the_other(services: &Services, removal: &str) {
    let cluster = &services.cluster;
    // The base chains that it makes, used or not, are there from the start.
    cluster.run("n1", "iptables-save | iptables-restore");
    let (own, others) = (services.tables(true), services.tables(false));
    assert!(own.iter().any(|line| line.starts_with("table ip calico")), "{own:#?}");
    assert!(others.iter().any(|line| line.contains("30082")), "kube-proxy's: {others:#?}");

    cluster.run("n1", "nft delete table ip calico");
    services.come_out("outside 172.31.0.11:30082 n1", 0);
    services.become_again(true, &own);
    services.become_again(false, &others);

    let agent = "pgrep -x calico-node";
    let before = cluster.run("n1", agent);
    cluster.run("n1", "pkill -KILL -x calico-node");
    services.come_out(FROM_OUTSIDE, 0);
    cluster.within(LIMIT, "calico-node runs again", |cluster| {
        let (runs, now) = cluster.try_run("n1", agent);
        runs && now != before
    });
    crate::installation::await_calico(cluster);
    services.come_out(FROM_OUTSIDE, 0);
    services.become_again(true, &own);
    services.become_again(false, &others);

    services.allow(&friends());
    services.come_out(FRIENDS, 0);
    let own = services.tables(true);
    // It doesn't notice, as long as it is asleep.
    cluster.run("n1", "pkill -STOP -x kube-proxy");
    cluster.run("n1", removal);
    assert!(!services.tables(false).iter().any(|line| line.contains("30082")));
    let direct = format!("{}:8080", services.pods.address("server-1"));
    services.come_out("friend both nobody", 0);
    services.come_out(&format!("friend {direct} n1\nstranger {direct} nobody"), 0);
    services.become_again(true, &own);
    cluster.run("n1", "pkill -KILL -x kube-proxy");
    services.come_out(FRIENDS, 0);
    services.become_again(true, &own);
    services.become_again(false, &others);
    cluster.kubectl("delete networkpolicy server");
    services.come_out(OPEN, 0);
}

#[test]
fn services_beside_kube_proxy_by_iptables() {
    let removal = "iptables-save | grep -v KUBE- | iptables-restore";
    beside_kube_proxy("iptables", removal);
}

#[test]
fn services_beside_kube_proxy_by_nftables() {
    beside_kube_proxy("nftables", "nft delete table ip kube-proxy");
}
