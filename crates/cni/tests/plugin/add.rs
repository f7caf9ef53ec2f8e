//! ADD on the real kernel: what it makes, and that a failed one leaves nothing.

use crate::rig::{HOST_INTERFACE, Rig, configuration, good};
use model::WorkloadEndpointPort;
use node::api::{AddressSource, Reply, Request};
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn a_pod_gets_its_network() {
    let rig = Rig::with_agent();
    let result = rig.good("ADD", &configuration("1.0.0"));

    assert_eq!(
        rig.in_container("ip -4 route | sed 's/ *$//'"),
        "default via 169.254.1.1 dev eth0\n169.254.1.1 dev eth0 scope link\n"
    );
    assert!(rig.in_container("ip -4 addr show eth0").contains("inet 192.168.1.5/32 scope global"));
    assert!(rig.in_container("ip link show eth0").contains("mtu 1440"));
    let host = rig.on_host(&format!("ip link show {HOST_INTERFACE}"));
    assert!(host.contains("ee:ee:ee:ee:ee:ee") && host.contains("state UP"), "{host}");
    assert_eq!(rig.in_container("cat /proc/sys/net/ipv4/ip_forward"), "0\n");

    let shown = rig.in_container("ip -br link show eth0");
    let stated = result["interfaces"][1]["mac"].as_str().expect("a MAC");
    assert!(shown.contains(stated), "{shown} {stated}");

    let asked = rig.asked();
    let [Request::AddWorkload(add)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(add.host_interface, HOST_INTERFACE);
    assert_eq!(add.mac, stated);
    assert!(add.interface_follows);
    assert_eq!((add.id.namespace.as_str(), add.id.pod.as_str()), ("default", "pod1"));
    assert_eq!((add.id.orchestrator.as_str(), add.id.interface.as_str()), ("k8s", "eth0"));
    assert_eq!(add.id.network, "k8s-pod-network");
    let log = rig.log();
    assert!(log.contains("192.168.1.5") && log.contains("Pod=\"default/pod1\""), "{log}");
}

#[test]
fn the_configuration_says_what_the_agent_is_asked() {
    let rig = Rig::with_agent();
    let mut wanted = configuration("0.3.1");
    wanted["ipam"] = json!({
        "type": "calico-ipam", "assign_ipv4": "false", "assign_ipv6": "true",
        "ipv4_pools": ["a"], "ipv6_pools": ["fd00::/64", "b"],
    });
    wanted["container_settings"] = json!({ "allow_ip_forwarding": true });
    let mut input = rig.input("ADD", &wanted);
    input.environment.insert("CNI_ARGS".into(), "IP=192.168.1.9".into());
    let outcome = rig.run(&input);
    assert!(outcome.success, "{}", outcome.stdout);

    let asked = rig.asked();
    let [Request::AddWorkload(add)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(
        add.addresses,
        AddressSource::CalicoIpam {
            ipv4: 0,
            ipv6: 1,
            ipv4_pools: vec!["a".into()],
            ipv6_pools: vec!["fd00::/64".into(), "b".into()],
            requested: vec!["192.168.1.9".parse().expect("an address")],
        }
    );
    // No pod was named.
    assert_eq!((add.id.orchestrator.as_str(), add.id.pod.as_str()), ("cni", ""));
    assert_eq!(add.host_interface, "cali0123456789a");
    assert_eq!(rig.in_container("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
}

#[test]
fn the_arguments_say_labels_service_account_and_ports() {
    let rig = Rig::with_agent();
    let mut wanted = configuration("1.0.0");
    wanted["args"] = json!({"cni": {
        "labels": [{"key": "app", "value": "web"}],
        "serviceAccount": "cart",
        "ports": [{"name": "http", "protocol": "tcp", "port": 8080}],
    }});
    rig.good("ADD", &wanted);
    // Mesos: no pod, and the namespace is one of the labels, also for DEL.
    wanted["args"] = json!({"org.apache.mesos": {"network_info": {"labels": {"labels": [
        {"key": "rack/no", "value": "7 b"}, {"key": "projectcalico.org/namespace", "value": "shop"},
    ]}}}});
    for command in ["DEL", "ADD"] {
        let mut input = rig.input(command, &wanted);
        input.environment.remove("CNI_ARGS");
        let outcome = rig.run(&input);
        assert!(outcome.success, "{}", outcome.stdout);
    }

    let asked = rig.asked();
    let [Request::AddWorkload(pod), Request::DeleteWorkload(gone), Request::AddWorkload(task)] =
        asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert_eq!(pod.labels, BTreeMap::from([("app".to_owned(), "web".to_owned())]));
    assert_eq!(pod.service_account.as_deref(), Some("cart"));
    let name = "http".to_owned();
    assert_eq!(pod.ports, [WorkloadEndpointPort { name, port: 8080, ..<_>::default() }]);
    assert_eq!(task.labels, BTreeMap::from([("rack.no".to_owned(), "7-b".to_owned())]));
    assert_eq!((task.id.orchestrator.as_str(), task.id.namespace.as_str()), ("cni", "shop"));
    assert_eq!(gone.id, task.id);
}

/// An annotation of the pod's says so; the agent reads it.
#[test]
fn the_agent_may_name_another_mac() {
    let rig = Rig::new();
    rig.start_agent(|request| match request {
        Request::AddWorkload(_) => Some(Reply::Added {
            addresses: vec!["192.168.1.5/32".parse().expect("an address")],
            mac: Some("02:00:0a:00:00:05".to_owned()),
        }),
        other => good(other),
    });
    let result = rig.good("ADD", &configuration("1.0.0"));
    assert_eq!(result["interfaces"][1]["mac"], "02:00:0a:00:00:05");
    let link = rig.in_container("ip link show eth0");
    assert!(link.contains("link/ether 02:00:0a:00:00:05") && link.contains("UP"), "{link}");
    assert!(rig.in_container("ip route").contains("default via 169.254.1.1"));
}

#[test]
fn what_pods_may_ask_for_is_the_configurations_to_say() {
    let rig = Rig::with_agent();
    let mut wanted = configuration("1.0.0");
    rig.good("ADD", &wanted);
    wanted["feature_control"] = json!({"ip_addrs_no_ipam": true});
    rig.good("ADD", &wanted);
    let features = rig.asked().into_iter().filter_map(|request| match request {
        Request::AddWorkload(add) => {
            Some((add.features.ip_addrs_no_ipam, add.features.floating_ips))
        }
        _ => None,
    });
    assert_eq!(features.collect::<Vec<_>>(), [(false, false), (true, false)]);
}

#[test]
fn both_families() {
    let rig = Rig::new();
    rig.start_agent(|request| match request {
        Request::AddWorkload(_) => Some(Reply::Added {
            addresses: vec![
                "192.168.1.5/32".parse().expect("an address"),
                "fd00::5/128".parse().expect("an address"),
            ],
            mac: None,
        }),
        other => good(other),
    });
    rig.good("ADD", &configuration("1.0.0"));
    let routes = rig.in_container("ip -6 route show default");
    assert!(routes.starts_with("default via fe80::ecee:eeff:feee:eeee dev eth0"), "{routes}");
    assert!(rig.in_container("ip -6 addr show eth0").contains("inet6 fd00::5/128 scope global"));
    assert!(rig.in_container("ip -4 route").contains("default via 169.254.1.1"));
}

#[test]
fn add_again_replaces_what_was_there() {
    let rig = Rig::with_agent();
    rig.good("ADD", &configuration("1.0.0"));
    rig.good("ADD", &configuration("1.0.0"));
    assert_eq!(rig.on_host("ip -br link | grep -c cali"), "1\n");
    rig.good("DEL", &configuration("1.0.0"));
    rig.assert_clean();
}

#[test]
fn the_mtu_is_the_configurations_or_the_nodes() {
    let rig = Rig::with_agent();
    let mut silent = configuration("1.0.0");
    silent["mtu"] = 0.into();
    let mtu_shown = |rig: &Rig| {
        let shown = rig.in_container("ip link show eth0");
        shown.split_whitespace().skip_while(|w| *w != "mtu").nth(1).map(str::to_owned)
    };
    rig.good("ADD", &silent);
    assert_eq!(mtu_shown(&rig).as_deref(), Some("1450"));
    std::fs::write(rig.places.state.join("mtu"), "8951\n").expect("the MTU's file");
    rig.good("ADD", &silent);
    assert_eq!(mtu_shown(&rig).as_deref(), Some("8951"));
    std::fs::write(rig.places.state.join("mtu"), "many").expect("the MTU's file");
    let (code, message) = rig.bad("ADD", &silent);
    assert!(code == 7 && message.contains("\"many\""), "{code} {message}");
    std::fs::remove_file(rig.places.state.join("mtu")).expect("the MTU's file");
    silent["require_mtu_file"] = true.into();
    let (code, message) = rig.bad("ADD", &silent);
    assert!(code == 11 && message.contains("require_mtu_file"), "{code} {message}");
}

#[test]
fn without_agent_nothing_is_made() {
    let rig = Rig::new();
    let (code, message) = rig.bad("ADD", &configuration("1.0.0"));
    assert_eq!(code, 11);
    let socket = rig.places.socket.display().to_string();
    assert!(message.contains(&socket), "{message}");
    assert!(message.contains("is calico-node running on this node"), "{message}");
    rig.assert_clean();
    assert!(!rig.places.spool.exists());
    assert!(rig.log().contains("[ERROR]"), "{}", rig.log());
}

#[test]
fn a_failed_add_is_undone() {
    type Case = (fn(&Request) -> Option<Reply>, u64, &'static str);
    let cases: [Case; 4] = [
        (|request| refused(request, true, "the pool is resting"), 11, "the pool is resting"),
        (|request| refused(request, false, "no free address"), 102, "no free address"),
        // It dies on the way: the connection ends, or is reset where it had not read all.
        (|request| good(request).filter(|reply| *reply == Reply::Done), 11, "no answer from"),
        // The kernel takes no multicast address.
        (
            |request| match request {
                Request::AddWorkload(_) => {
                    let addresses = vec!["ff02::1/128".parse().expect("one")];
                    Some(Reply::Added { addresses, mac: None })
                }
                other => good(other),
            },
            100,
            "ff02::1",
        ),
    ];
    for (script, code_expected, part) in cases {
        let rig = Rig::new();
        rig.start_agent(script);
        let (code, message) = rig.bad("ADD", &configuration("1.0.0"));
        assert!(code == code_expected && message.contains(part), "{code} {message}");
        rig.assert_clean();
        let asked = rig.asked();
        let [Request::AddWorkload(add), Request::DeleteWorkload(delete)] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert!(add.id == delete.id && delete.release_addresses);
        assert!(!rig.places.spool.exists());
    }
}

fn refused(request: &Request, retry: bool, message: &str) -> Option<Reply> {
    match request {
        Request::AddWorkload(_) => Some(Reply::Failed { retry, message: message.into() }),
        other => good(other),
    }
}

#[test]
fn an_interface_of_somebody_else_stays() {
    let rig = Rig::with_agent();
    rig.in_container("ip link add eth0 type bridge");
    let (code, message) = rig.bad("ADD", &configuration("1.0.0"));
    assert!(code == 100 && message.contains("eth0 already"), "{code} {message}");
    assert_eq!(rig.in_container("ip -d link show eth0 | grep -c bridge_id"), "1\n");
    assert_eq!(rig.on_host("ip -br link | cut -d' ' -f1"), "lo\n");
    // Two connections: the agent may read the second, whose answer the plugin awaits, before the first.
    let mut asked = rig.asked_so_many(2);
    asked.sort_by_key(|request| matches!(request, Request::DeleteWorkload(_)));
    let [Request::AddWorkload(add), Request::DeleteWorkload(delete)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(add.removal(), *delete);
}

#[test]
fn the_hosts_own_namespace_is_refused() {
    let rig = Rig::with_agent();
    for command in ["ADD", "CHECK"] {
        let mut input = rig.input(command, &configuration("1.0.0"));
        input.environment.insert("CNI_NETNS".into(), "/proc/thread-self/ns/net".into());
        let mut wanted = configuration("1.0.0");
        wanted["prevResult"] = json!({ "cniVersion": "1.0.0" });
        input.stdin = wanted.to_string().into_bytes();
        let (code, message) = crate::rig::error_of(&rig.run(&input));
        assert!(code == 4 && message.contains("the host's own"), "{code} {message}");
    }
    rig.assert_clean();
}

#[test]
fn a_missing_namespace_is_said() {
    let rig = Rig::with_agent();
    let mut input = rig.input("ADD", &configuration("1.0.0"));
    input.environment.insert("CNI_NETNS".into(), "/run/netns/no-such-namespace".into());
    let (code, message) = crate::rig::error_of(&rig.run(&input));
    assert!(code == 4 && message.contains("/run/netns/no-such-namespace"), "{code} {message}");
    rig.assert_clean();
}

#[test]
fn without_the_nodes_name_the_agent_is_asked_for() {
    let rig = Rig::with_agent();
    std::fs::remove_file(rig.places.state.join("nodename")).expect("the file");
    let (code, message) = rig.bad("ADD", &configuration("1.0.0"));
    assert_eq!(code, 11);
    assert!(
        message.contains(
            "check that the calico/node container is running and has mounted /var/lib/calico/"
        ),
        "{message}"
    );
    rig.assert_clean();
    let mut optional = configuration("1.0.0");
    optional["nodename_file_optional"] = true.into();
    rig.good("ADD", &optional);
}
