//! With Debian's host-local in place of Calico's IPAM.

use crate::rig::{Rig, configuration, good};
use node::api::{AddressSource, Reply, Request};
use serde_json::{Value, json};

fn host_local(rig: &Rig) -> Value {
    let mut wanted = configuration("0.4.0");
    let directory = rig.directory.path().join("host-local");
    wanted["ipam"] = json!({
        "type": "host-local", "dataDir": directory,
        "ranges": [[{ "subnet": "10.99.0.0/24" }]],
    });
    wanted
}

/// The addresses that host-local holds.
fn held(rig: &Rig) -> Vec<String> {
    let directory = rig.directory.path().join("host-local/k8s-pod-network");
    let Ok(entries) = std::fs::read_dir(directory) else { return vec![] };
    let names = entries.map(|e| e.expect("an entry").file_name().into_string().expect("text"));
    names.filter(|name| name.starts_with("10.")).collect()
}

fn given(request: &Request) -> Option<Reply> {
    match request {
        Request::AddWorkload(add) => match &add.addresses {
            AddressSource::Given(nets) => {
                let addresses = nets.iter().map(|net| net.addr().into()).collect();
                Some(Reply::Added { addresses, mac: None })
            }
            AddressSource::CalicoIpam { .. } => None,
        },
        other => good(other),
    }
}

#[test]
fn host_local_assigns_and_releases() {
    let rig = Rig::new();
    rig.start_agent(given);
    let mut wanted = host_local(&rig);
    let result = rig.good("ADD", &wanted);
    assert_eq!(result["ips"][0]["address"], "10.99.0.2/32");
    assert_eq!(held(&rig), ["10.99.0.2"]);
    wanted["prevResult"] = result;
    rig.good("CHECK", &wanted);

    // Again, as after a restart of kubelet: nothing leaks.
    rig.good("ADD", &wanted);
    assert_eq!(held(&rig).len(), 1);

    for _ in 0..2 {
        rig.good("DEL", &wanted);
        assert_eq!(held(&rig), [""; 0]);
    }
    rig.assert_clean();
    for request in rig.asked() {
        if let Request::DeleteWorkload(delete) = request {
            assert!(!delete.release_addresses);
        }
    }
}

/// `usePodCidr` is the range that Kubernetes has given the node, which the agent knows.
#[test]
fn the_nodes_own_range_has_a_word() {
    let rig = Rig::new();
    rig.start_agent(|request| match request {
        Request::PodRanges => {
            let range = "10.244.1.0/24".parse().expect("a range");
            Some(Reply::PodRanges(vec![range]))
        }
        other => given(other),
    });
    let mut wanted = host_local(&rig);
    let ipam = wanted["ipam"].as_object_mut().expect("an object");
    ipam.remove("ranges");
    ipam.insert("subnet".to_owned(), json!("usePodCidr"));
    ipam.insert("routes".to_owned(), json!([{"dst": "10.0.0.0/8"}, {"dst": "172.16.0.0/12"}]));
    let result = rig.good("ADD", &wanted);
    assert_eq!(result["ips"][0]["address"], "10.244.1.2/32");
    let routes = rig.in_container("ip route");
    for route in ["10.0.0.0/8 via 169.254.1.1", "172.16.0.0/12 via 169.254.1.1"] {
        assert!(routes.contains(route) && !routes.contains("default"), "{routes}");
    }
    wanted["prevResult"] = result;
    rig.good("CHECK", &wanted);
    // Without an agent, too.
    rig.stop_agent();
    rig.good("DEL", &wanted);
    assert_eq!(held(&rig), [""; 0]);
    rig.assert_clean();

    rig.start_agent(|request| match request {
        Request::PodRanges => {
            Some(Reply::Failed { retry: false, message: "no spec.podCIDRs".to_owned() })
        }
        other => given(other),
    });
    let (code, message) = rig.bad("ADD", &wanted);
    assert!(code == 102 && message == "no spec.podCIDRs", "{code} {message}");
    wanted["include_default_routes"] = json!(true);
    rig.start_agent(|request| match request {
        Request::PodRanges => Some(Reply::PodRanges(vec!["10.9.0.0/24".parse().expect("one")])),
        other => given(other),
    });
    rig.good("ADD", &wanted);
    let routes = rig.in_container("ip route");
    assert!(
        routes.contains("default via 169.254.1.1") && routes.contains("10.0.0.0/8"),
        "{routes}"
    );
}

#[test]
fn a_failed_add_gives_the_address_back() {
    let rig = Rig::new();
    rig.start_agent(|request| match request {
        Request::AddWorkload(_) => {
            Some(Reply::Failed { retry: false, message: "not today".into() })
        }
        other => good(other),
    });
    let (code, message) = rig.bad("ADD", &host_local(&rig));
    assert!(code == 102 && message == "not today", "{code} {message}");
    assert_eq!(held(&rig), [""; 0]);
    rig.assert_clean();
}

#[test]
fn what_the_other_plugin_says_is_passed_on() {
    let rig = Rig::with_agent();
    let mut wanted = host_local(&rig);
    wanted["ipam"]["ranges"] = json!([[{ "subnet": "10.99.0.0/33" }]]);
    let (_, message) = rig.bad("ADD", &wanted);
    assert!(message.starts_with("IPAM plugin host-local, ADD: "), "{message}");
    assert!(message.contains("10.99.0.0/33"), "{message}");

    wanted["ipam"]["type"] = "no-such-plugin".into();
    let (code, message) = rig.bad("ADD", &wanted);
    assert!(code == 7 && message.contains("/usr/lib/cni"), "{code} {message}");
    wanted["ipam"]["type"] = "../../bin/true".into();
    let (code, message) = rig.bad("ADD", &wanted);
    assert!(code == 7 && message.contains("path"), "{code} {message}");
    rig.assert_clean();
    assert!(rig.asked().iter().all(|r| !matches!(r, Request::AddWorkload(_))));
}
