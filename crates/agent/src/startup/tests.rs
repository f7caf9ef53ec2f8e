//! The decisions of start-up, and what it makes for policy; the rest of its course is the lab's to
//! test.

use super::*;
use crate::settings;

fn startup(variables: &[(&str, &str)]) -> Startup {
    let mut environment = vec![("NODENAME".to_owned(), "worker-1".to_owned())];
    environment.extend(variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    settings::read(&environment).expect("settings")
}

fn machine() -> Machine {
    let interface = |index, name: &str, addresses: &str| Interface {
        index,
        name: name.to_owned(),
        up: true,
        addresses: addresses.split(' ').map(|text| text.parse().expect("a prefix")).collect(),
    };
    let interfaces = vec![
        interface(1, "lo", "127.0.0.1/8"),
        interface(2, "ens4", "192.168.7.1/24 fd00:7::1/64"),
        interface(3, "ens5", "10.30.0.206/24"),
        interface(4, "cali1", "192.168.9.1/32"),
    ];
    Machine { interfaces, reached_from: vec!["192.168.7.1".parse().expect("an address")] }
}

fn stored(address: &str) -> Node {
    let bgp = NodeBgpSpec { ipv4_address: Some(address.to_owned()), ..NodeBgpSpec::default() };
    Node::new("worker-1", model::NodeSpec { bgp: Some(bgp), ..model::NodeSpec::default() })
}

#[test]
fn the_address_is_given_stored_or_detected() {
    for (variables, stored_address, expected) in [
        (vec![], None, Some("10.30.0.206/24")),
        (vec![], Some("10.30.0.99/24"), Some("10.30.0.99/24")),
        (vec![("IP", "autodetect")], Some("10.30.0.99/24"), Some("10.30.0.206/24")),
        (vec![("IP", "none")], Some("10.30.0.99/24"), Some("10.30.0.99/24")),
        (vec![("IP", "none")], None, None),
        (vec![("IP", "192.168.7.1")], None, Some("192.168.7.1/24")),
        (vec![("IP", "10.1.1.1/16")], None, Some("10.1.1.1/16")),
        (vec![("IP", "10.1.1.1")], None, Some("10.1.1.1/32")),
        (vec![("IP_AUTODETECTION_METHOD", "can-reach=8.8.8.8")], None, Some("192.168.7.1/24")),
    ] {
        let settings = startup(&variables);
        let stored = stored_address.map(stored);
        let found =
            address(&settings.ipv4, &settings, &machine(), stored.as_ref()).expect("an address");
        assert_eq!(found.map(|net| net.to_string()).as_deref(), expected, "{variables:?}");
    }
    // What Kubernetes calls the node's address is that, where the machine has it.
    let method = "kubernetes-internal-ip";
    let settings = startup(&[
        ("IP", "autodetect"),
        ("IP_AUTODETECTION_METHOD", method),
        ("DATASTORE_TYPE", "kubernetes"),
    ]);
    for (kind, internal, said) in [
        ("InternalIP", "192.168.7.1", Ok("192.168.7.1/24")),
        ("InternalIP", "192.168.7.2", Err("kubernetes-internal-ip (192.168.7.2): looked at")),
        ("Hostname", "192.168.7.1", Err("Node worker-1 of Kubernetes has no InternalIP of IPv4")),
    ] {
        let mut node = stored("10.30.0.99/24");
        let kind = Some(kind.to_owned());
        node.spec.addresses = vec![NodeAddress { address: internal.to_owned(), kind }];
        let found = address(&settings.ipv4, &settings, &machine(), Some(&node));
        match (found, said) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected.parse().ok()),
            (Err(why), Err(part)) => assert!(why.to_string().contains(part), "{why}"),
            (found, said) => panic!("{found:?}, and {said:?} was expected"),
        }
    }
    for (value, expected) in [
        ("", None),
        ("none", None),
        ("autodetect", Some("fd00:7::1/64")),
        ("fd00:7::1", Some("fd00:7::1/64")),
        ("fd00:9::1/56", Some("fd00:9::1/56")),
    ] {
        let settings = startup(&[("IP6", value)]);
        let found = address(&settings.ipv6, &settings, &machine(), None).expect("an address");
        assert_eq!(found.map(|net| net.to_string()).as_deref(), expected, "{value}");
    }
    let refused = |own: &OwnAddress| {
        address(own, &startup(&[]), &machine(), None).expect_err("wrong").to_string()
    };
    let settings = startup(&[("IP", "fd00::1"), ("IP6", "banana")]);
    let wrong = refused(&settings.ipv4) + &refused(&settings.ipv6);
    assert!(wrong.contains("IP=fd00::1 is no IPv4 address"), "{wrong}");
    assert!(wrong.contains("IP6=banana is no IPv6 address"), "{wrong}");
}

#[test]
fn the_default_pool_is_as_the_variables_say_and_overlaps_no_address() {
    let pool = default_pool(&startup(&[]).pool, &machine()).expect("a pool");
    assert_eq!(pool.spec.cidr, "172.16.0.0/16", "192.168.7.1 is the node's own");
    let pool = default_pool(
        &startup(&[
            ("CALICO_IPV4POOL_CIDR", "10.42.0.0/16"),
            ("CALICO_IPV4POOL_VXLAN", "Always"),
            ("CALICO_IPV4POOL_IPIP", "Off"),
            ("CALICO_IPV4POOL_BLOCK_SIZE", "24"),
        ])
        .pool,
        &machine(),
    )
    .expect("a pool");
    expect_test::expect![[r#"{"cidr":"10.42.0.0/16","ipipMode":"Never","vxlanMode":"Always","natOutgoing":true,"blockSize":24,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"]}"#]]
    .assert_eq(&serde_json::to_string(&pool.spec).expect("JSON"));
    for (variables, said) in [
        ([("CALICO_IPV4POOL_CIDR", "10.42.0.7/16")], "spec.cidr"),
        ([("CALICO_IPV4POOL_CIDR", "banana")], "spec.cidr"),
    ] {
        let error = default_pool(&startup(&variables).pool, &machine()).expect_err("wrong");
        assert!(error.to_string().contains(said), "{error}");
    }
    let six = |variables| startup(variables).pool_v6;
    assert!(six(&[("FELIX_IPV6SUPPORT", "false")]).is_none());
    let variables =
        [("CALICO_IPV6POOL_CIDR", "fd00:244::/56"), ("CALICO_IPV6POOL_NAT_OUTGOING", "true")];
    let pool = default_pool(&six(&variables).expect("one"), &machine()).expect("a pool");
    expect_test::expect![[r#"{"cidr":"fd00:244::/56","ipipMode":"Never","vxlanMode":"Never","natOutgoing":true,"blockSize":122,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"]}"#]].assert_eq(&serde_json::to_string(&pool.spec).expect("JSON"));
    let random = || default_pool(&six(&[]).expect("one"), &machine()).expect("a pool").spec.cidr;
    assert!(random().starts_with("fd") && random().ends_with("::/48") && random() != random());
}

#[test]
fn cluster_types_are_only_ever_added() {
    let wanted = ["k8s".to_owned(), "bgp".to_owned()];
    assert_eq!(merged_types("", &wanted), "k8s,bgp");
    assert_eq!(merged_types("kubespray,bgp", &wanted), "kubespray,bgp,k8s");
}

#[test]
fn interfaces_of_pods_are_not_the_nodes() {
    let mut node = stored("10.30.0.206/24");
    describe(&mut node, &startup(&[("CALICO_K8S_NODE_REF", "w1")]), &machine(), &[]);
    let names: Vec<_> = node.spec.interfaces.iter().filter_map(|i| i.name.as_deref()).collect();
    assert_eq!(names, ["ens4", "ens5"]);
    assert_eq!(node.spec.orch_refs.len(), 1);
    let again = node.clone();
    describe(&mut node, &startup(&[("CALICO_K8S_NODE_REF", "w1")]), &machine(), &[]);
    assert_eq!(node, again);
}

#[tokio::test]
async fn built_in_tiers_and_profile_are_created_once_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = datastore::Options::local(directory.path().join("datastore"));
    let server = datastore::Server::start(options).await.expect("a server");
    let settings = store::Settings::new(&server.endpoints().join(",")).expect("settings");
    let store = store::connect(&settings).await.expect("a datastore");
    // Somebody has labelled the profile of a cluster that is older than its tiers.
    let mut own = Profile::new(ALLOW_PROFILE, ProfileSpec::allow_all());
    own.metadata.labels.insert("kept".to_owned(), "yes".to_owned());
    typed::create(&*store, own).await.expect("created");
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        nodes.spawn(async move { ensure_policy_built_ins(&*store).await });
    }
    for node in nodes.join_all().await {
        node.expect("races are no errors");
    }
    let tiers: Vec<model::Tier> = typed::list(&*store, None).await.expect("tiers");
    let specs = tiers.iter().map(|tier| {
        let spec = serde_json::to_string(&tier.spec).expect("JSON");
        assert_eq!(tier.validate(), Ok(()));
        format!("{} {spec}\n", tier.metadata.name)
    });
    expect_test::expect![[r#"
        default {"order":1000000,"defaultAction":"Deny"}
        kube-admin {"order":1000,"defaultAction":"Pass"}
        kube-baseline {"order":10000000,"defaultAction":"Pass"}
    "#]]
    .assert_eq(&specs.collect::<String>());
    let profile: Option<Profile> = typed::get(&*store, None, ALLOW_PROFILE).await.expect("it");
    let profile = profile.expect("the profile");
    assert_eq!(profile.spec, ProfileSpec::allow_all());
    assert_eq!(profile.metadata.labels["kept"], "yes");
}
