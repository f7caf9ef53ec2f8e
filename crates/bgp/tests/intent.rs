//! Resources in, configuration out: cases as folders, and what holds for any cluster.
//!
//! A folder of `cases` has `why.txt`, `input.yaml` (what the node itself knows, then resources) and
//! `expect.json`, the whole answer; `UPDATE=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bgp::Configuration;
use bgp::intent::{Cluster, configuration};
use ipnet::IpNet;
use model::{BgpConfiguration, BgpFilter, BgpPeer, IpPool, Node, Resource, Spec};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// A [`Cluster`] with what it borrows.
#[derive(Clone, Debug, Default)]
struct Owned {
    own: Own,
    nodes: BTreeMap<String, Node>,
    configurations: BTreeMap<String, BgpConfiguration>,
    peers: BTreeMap<String, BgpPeer>,
    filters: BTreeMap<String, BgpFilter>,
    pools: BTreeMap<String, IpPool>,
}

/// What the node knows of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Own {
    node: String,
    router_id: Option<String>,
    blocks: BTreeSet<IpNet>,
    workloads: BTreeSet<IpAddr>,
}

impl Owned {
    fn read(text: &str) -> Owned {
        let documents: Vec<Json> = serde_saphyr::from_multiple(text).unwrap();
        let mut owned = Owned::default();
        for document in documents {
            match document["kind"].as_str() {
                None => owned.own = serde_json::from_value(document).unwrap(),
                Some("Node") => insert(&mut owned.nodes, document),
                Some("BGPConfiguration") => insert(&mut owned.configurations, document),
                Some("BGPPeer") => insert(&mut owned.peers, document),
                Some("BGPFilter") => insert(&mut owned.filters, document),
                Some("IPPool") => insert(&mut owned.pools, document),
                Some(other) => panic!("{other}"),
            }
        }
        owned
    }

    fn answer(&self) -> (Option<Configuration>, Vec<String>) {
        configuration(&Cluster {
            node: &self.own.node,
            router_id: self.own.router_id.as_deref(),
            nodes: &self.nodes,
            configurations: &self.configurations,
            peers: &self.peers,
            filters: &self.filters,
            pools: &self.pools,
            blocks: self.own.blocks.clone(),
            workloads: self.own.workloads.clone(),
        })
    }

    fn configuration(&self) -> Configuration {
        self.answer().0.unwrap()
    }
}

fn insert<S: Spec>(all: &mut BTreeMap<String, Resource<S>>, document: Json) {
    let resource: Resource<S> = serde_json::from_value(document).unwrap();
    assert!(all.insert(resource.metadata.name.clone(), resource).is_none());
}

fn cases() -> Vec<(String, Owned)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut cases: Vec<(String, Owned)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let input = std::fs::read_to_string(path.join("input.yaml")).unwrap();
            (path.display().to_string(), Owned::read(&input))
        })
        .collect();
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(cases.len() > 10, "cases are missing from {folder}");
    cases
}

#[test]
fn cases_come_to_what_is_expected() {
    let mut wrong = Vec::new();
    for (folder, case) in cases() {
        let folder = Path::new(&folder);
        assert!(folder.join("why.txt").exists(), "{folder:?} does not say why it is there");
        let (configuration, problems) = case.answer();
        let text = serde_json::to_string(&configuration).unwrap();
        let again: Option<Configuration> = serde_json::from_str(&text).unwrap();
        assert_eq!(again, configuration, "{folder:?}");
        let answer = json!({"configuration": configuration, "problems": problems});
        let answer = serde_json::to_string_pretty(&answer).unwrap() + "\n";
        let file = folder.join("expect.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &answer).unwrap();
        }
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&answer) {
            wrong.push(format!("{}:\n{answer}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 writes these anew:\n{}", wrong.join("\n"));
}

#[test]
fn problems_name_their_object_and_a_way_out() {
    let mut problems: Vec<String> = cases().iter().flat_map(|(_, case)| case.answer().1).collect();
    problems.dedup();
    assert!(problems.len() > 15, "{problems:#?}");
    for problem in problems {
        let (object, rest) = problem.split_once("): ").unwrap();
        assert!(object.contains('('), "{problem}");
        assert!(rest.contains("; "), "{problem}");
    }
}

#[test]
fn a_change_of_one_resource_changes_its_peers_only() {
    for (folder, case) in cases() {
        let Some(before) = case.answer().0 else { continue };
        for name in case.peers.keys() {
            let mut changed = case.clone();
            changed.peers.get_mut(name).unwrap().spec.ttl_security = Some(77);
            let after = changed.configuration();
            let rest = Configuration { peers: before.peers.clone(), ..after.clone() };
            assert_eq!(rest, before, "{folder}");
            assert_eq!(after.peers.len(), before.peers.len(), "{folder}");
            for (name, peer) in &after.peers {
                let former = &before.peers[name];
                if peer.ttl_security == Some(77) {
                    let undone = bgp::configuration::Peer {
                        ttl_security: former.ttl_security,
                        ..peer.clone()
                    };
                    assert_eq!(&undone, former, "{folder}");
                } else {
                    assert_eq!(peer, former, "{folder}");
                }
            }
        }
    }
}

/// Clusters of nodes in two racks, some of them reflectors, with peers among them and outside.
fn cluster() -> impl Strategy<Value = Owned> {
    let node = (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(64600u32..64603));
    let peer = (0usize..4, 0usize..5, any::<bool>(), 64600u32..64603);
    let mesh = prop::option::of(any::<bool>());
    (prop::collection::vec(node, 2..7), prop::collection::vec(peer, 0..5), mesh).prop_map(
        |(nodes, peers, mesh)| {
            let mut owned =
                Owned { own: Own { node: "n0".to_owned(), ..Own::default() }, ..<_>::default() };
            for (i, (rack, ipv6, reflector, number)) in nodes.into_iter().enumerate() {
                let mut bgp =
                    json!({"ipv4Address": format!("10.0.0.{}/24", 8 + i), "asNumber": number});
                if ipv6 {
                    bgp["ipv6Address"] = json!(format!("fd00::{}/64", 8 + i));
                }
                if reflector {
                    bgp["routeReflectorClusterID"] = json!("244.0.0.1");
                }
                let labels = json!({"rack": if rack { "a" } else { "b" }});
                let metadata = json!({"name": format!("n{i}"), "labels": labels});
                insert(&mut owned.nodes, json!({"metadata": metadata, "spec": {"bgp": bgp}}));
            }
            for (i, (local, remote, manual, number)) in peers.into_iter().enumerate() {
                let mut spec = match local {
                    0 => json!({}),
                    1 => json!({"node": "n0"}),
                    2 => json!({"nodeSelector": "rack == 'a'"}),
                    _ => json!({"node": "n1"}),
                };
                match remote {
                    0 => spec["peerSelector"] = json!("rack == 'b'"),
                    1 => spec["peerSelector"] = json!("all()"),
                    _ => {
                        let port = if manual { ":179" } else { "" };
                        spec["peerIP"] = json!(format!("10.0.0.{}{port}", 7 + remote));
                        spec["asNumber"] = json!(number);
                    }
                }
                if manual {
                    spec["reversePeering"] = json!("Manual");
                }
                let metadata = json!({"name": format!("p{i}")});
                insert(&mut owned.peers, json!({"metadata": metadata, "spec": spec}));
            }
            let spec = json!({"nodeToNodeMeshEnabled": mesh});
            let default = json!({"metadata": {"name": "default"}, "spec": spec});
            insert(&mut owned.configurations, default);
            owned
        },
    )
}

/// The same cluster, seen by another of its nodes.
fn seen_by(cluster: &Owned, node: &str) -> Configuration {
    let mut seen = cluster.clone();
    seen.own.node = node.to_owned();
    seen.configuration()
}

proptest! {
    #[test]
    fn a_node_that_goes_takes_only_its_own_peers_along(cluster in cluster(), gone in 1usize..7) {
        let gone = format!("n{gone}");
        let Some(node) = cluster.nodes.get(&gone) else { return Ok(()) };
        let addresses: Vec<IpAddr> = [
            node.spec.ipv4().map(|net| net.addr().into()),
            node.spec.ipv6().map(|net| net.addr().into()),
        ].into_iter().flatten().collect();
        let before = cluster.configuration();
        let mut without = cluster.clone();
        without.nodes.remove(&gone);
        let mut after = without.configuration();
        let mut expected = before.clone();
        // A peer that a BGPPeer names by its address stays, as somebody's who is no node.
        expected.peers.retain(|_, peer| !addresses.contains(&peer.address));
        after.peers.retain(|_, peer| !addresses.contains(&peer.address));
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn no_two_sessions_go_to_one_place(cluster in cluster()) {
        let configuration = cluster.configuration();
        let own = &cluster.nodes["n0"].spec;
        let mut places = BTreeSet::new();
        for peer in configuration.peers.values() {
            prop_assert!(places.insert((peer.address, peer.port)), "{:?}", peer);
            prop_assert_ne!(Some(peer.address), own.ipv4().map(|net| net.addr().into()));
            prop_assert_ne!(Some(peer.address), own.ipv6().map(|net| net.addr().into()));
        }
    }

    // Both ends of each session in the mesh have it, as the same ASes, and exactly one connects.
    #[test]
    fn both_ends_of_the_mesh_agree(cluster in cluster()) {
        let mut cluster = cluster;
        cluster.peers.clear();
        let views: BTreeMap<&String, Configuration> =
            cluster.nodes.keys().map(|name| (name, seen_by(&cluster, name))).collect();
        for one in views.values() {
            for peer in one.peers.values() {
                let other = views.values().find(|other| {
                    other.peers.values().any(|back| Some(back.address) == peer.source
                        && back.source == Some(peer.address))
                });
                let other = other.unwrap();
                let back = other.peers.values().find(|p| Some(p.address) == peer.source).unwrap();
                prop_assert_eq!((peer.remote_as, peer.local_as), (back.local_as, back.remote_as));
                prop_assert_ne!(peer.passive, back.passive);
            }
        }
    }

    // With reversePeering Auto whoever a node takes for a peer takes it for one, too.
    #[test]
    fn peering_between_nodes_is_mutual(cluster in cluster()) {
        let mut cluster = cluster;
        for peer in cluster.peers.values_mut() {
            peer.spec.reverse_peering = None;
            // An AS that isn't the node's makes a peer of somebody else.
            if !peer.spec.peer_ip.is_empty() {
                peer.spec.peer_ip = "10.9.9.9".to_owned();
            }
        }
        let views: BTreeMap<&String, Configuration> =
            cluster.nodes.keys().map(|name| (name, seen_by(&cluster, name))).collect();
        for one in views.values() {
            for peer in one.peers.values().filter(|p| p.address.to_string() != "10.9.9.9") {
                let mutual = views.values().any(|other| {
                    other.peers.values().any(|back| Some(back.address) == peer.source
                        && back.source == Some(peer.address))
                });
                prop_assert!(mutual, "{:?}", peer);
            }
        }
    }
}
