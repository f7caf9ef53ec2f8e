use super::*;

fn refusal(text: &str) -> String {
    Topology::parse("lab.yaml", text).expect_err("must be refused").to_string()
}

#[test]
fn the_default_is_the_first_walkthrough() {
    let topology = Topology::default();
    topology.check().unwrap();
    let addresses: Vec<(&str, String)> = topology
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.uplinks[0].addresses[0].to_string()))
        .collect();
    let expected = [
        ("master", "10.30.0.136"),
        ("worker-1", "10.30.0.206"),
        ("worker-2", "10.30.0.56"),
        ("worker-3", "10.30.1.66"),
    ];
    assert_eq!(addresses, expected.map(|(name, address)| (name, address.to_owned())));
    assert_eq!(topology.datastore_node().map(|node| node.name.as_str()), Some("master"));
}

#[test]
fn what_is_written_is_read_back() {
    let topology = Topology::default();
    let json = serde_json::to_string(&topology).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), topology);
    assert_eq!(Topology::parse("lab.yaml", &json).unwrap(), topology);
}

#[test]
fn the_example_says_what_it_says() {
    let topology = Topology::parse("example.yaml", EXAMPLE).unwrap();
    assert_eq!(topology.nodes[1].uplinks[1].interface, "ens6");
    assert_eq!(topology.subnets[1].mtu, 9001);
    assert_eq!(topology.pools[0].block_size, Some(24));
    assert!(topology.pools[0].nat_outgoing && !topology.pools[1].nat_outgoing);
    assert_eq!(topology.pools[1].ipip_mode, "Never");
    assert_eq!(topology.pods[0].ports[0].protocol, "tcp");
    assert_eq!(topology.pods[0].namespace, "default");
    assert_eq!(topology.pods[1].ports[0].name.as_deref(), Some("http"));
    assert_eq!(topology.namespaces[0].service_accounts["cart"]["role"], "clerk");
    assert_eq!(topology.datastore_node().map(|node| node.name.as_str()), Some("master"));
    // Every field of a topology is shown, but a whole CNI configuration; Kubernetes has its own.
    let fields = serde_json::to_value(&topology).unwrap();
    for field in fields.as_object().unwrap().keys().filter(|field| *field != "cniConfig") {
        assert!(EXAMPLE.lines().any(|line| line.starts_with(&format!("{field}:"))), "{field}");
    }
}

#[test]
fn the_default_pool_is_what_the_backend_routes() {
    let modes = |text: &str| {
        let modes = Topology::parse("lab.yaml", text).unwrap().default_pool_modes();
        (modes.ipip_mode, modes.vxlan_mode)
    };
    let pair = |ipip: &str, vxlan: &str| (ipip.to_owned(), vxlan.to_owned());
    assert_eq!(modes("env: {}"), pair("Always", "Never"));
    assert_eq!(modes("backend: vxlan"), pair("Never", "Always"));
    assert_eq!(modes("encapsulation: {vxlanMode: CrossSubnet}"), pair("Never", "CrossSubnet"));
    assert_eq!(modes("backend: vxlan\nencapsulation: {}"), pair("Never", "Never"));
}

#[test]
fn namespaces_and_service_accounts_need_not_be_named() {
    let mut topology = Topology::parse(
        "lab.yaml",
        "namespaces: [{name: shop, labels: {team: a}, serviceAccounts: {cart: {role: clerk}}}]\n\
         pods:\n\
         - {name: a, node: master, namespace: shop, serviceAccount: till}\n\
         - {name: b, node: master, namespace: bank}",
    )
    .unwrap();
    topology.complete_namespaces();
    let once = topology.namespaces.clone();
    let shown: Vec<(&str, Vec<&String>)> = once
        .iter()
        .map(|namespace| (&*namespace.name, namespace.service_accounts.keys().collect()))
        .collect();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (shop, only) = (names(&["cart", "default", "till"]), names(&["default"]));
    assert_eq!(
        shown,
        [
            ("shop", shop.iter().collect()),
            ("bank", only.iter().collect()),
            ("default", only.iter().collect()),
        ]
    );
    assert_eq!(once[0].labels["team"], "a");
    topology.complete_namespaces();
    assert_eq!(topology.namespaces, once);
}

#[test]
fn what_is_wrong_is_named() {
    let node = |fields: &str| format!("nodes: [{{name: a, uplinks: [{{{fields}}}]}}]\npods: []");
    let ports = |ports: &str| format!("pods: [{{name: p, node: master, ports: [{ports}]}}]");
    let cases = [
        ("nodez: []".to_owned(), "nodez"),
        ("subnets: [{name: s, cidrs: [10.0.0.0/33]}]".to_owned(), "lab.yaml"),
        ("nodes: []".to_owned(), "no node"),
        (node("subnet: nowhere, addresses: [10.30.0.9]"), "no subnet \"nowhere\""),
        (node("subnet: subnet-1, addresses: [10.31.0.9]"), "10.31.0.9 is not in subnet subnet-1"),
        (node("subnet: subnet-1, addresses: [10.30.0.1]"), "the router's address"),
        (node("subnet: subnet-1, addresses: []"), "no uplink with an address"),
        (
            node("subnet: subnet-1, interface: a-name-too-long-for-it, addresses: [10.30.0.9]"),
            "interface",
        ),
        ("pods: [{name: p, node: nowhere}]".to_owned(), "no node \"nowhere\""),
        ("pods: [{name: master, node: master}]".to_owned(), "already in use"),
        ("pods: [{name: router, node: master}]".to_owned(), "already in use"),
        ("pods: [{name: Pod_1, node: master}]".to_owned(), "Pod_1"),
        ("pods: [{name: p, node: master, namespace: A b}]".to_owned(), "namespace \"A b\""),
        ("namespaces: [{name: a}, {name: a}]".to_owned(), "every namespace needs a name"),
        ("namespaces: [{name: a, serviceAccounts: {B: {}}}]".to_owned(), "service account \"B\""),
        (ports("{containerPort: 7}, {containerPort: 7}"), "port 7/tcp twice"),
        (ports("{containerPort: 7, protocol: ip}"), "7/ip is not"),
        (ports("{containerPort: 0}"), "0/tcp is not"),
        (ports("{name: a, containerPort: 7}, {name: a, containerPort: 8}"), "called \"a\""),
        ("datastore: {node: nowhere}".to_owned(), "nowhere"),
        ("backend: bgp".to_owned(), "bgp"),
        ("outside: {address: 10.30.1.9/24}".to_owned(), "overlaps"),
        ("blockSize: 99".to_owned(), "podCidr: blockSize 99 is not in 20–32"),
        ("podCidr: 10.0.0.1/16".to_owned(), "write 10.0.0.0/16"),
        ("encapsulation: {ipipMode: Always, vxlanMode: Always}".to_owned(), "one encapsulation"),
        ("encapsulation: {vxlanMode: Perhaps}".to_owned(), "CrossSubnet or Never"),
        ("pools: [{name: p, cidr: 10.0.0.0/28, blockSize: 24}]".to_owned(), "not in 28–32"),
    ];
    for (text, wanted) in cases {
        let message = refusal(&text);
        assert!(message.contains(wanted), "{text:?}: {message}");
    }
}

#[test]
fn the_routers_address_is_the_first() {
    for (cidr, first) in
        [("10.30.0.0/24", "10.30.0.1"), ("10.30.1.0/28", "10.30.1.1"), ("fd00:1::/64", "fd00:1::1")]
    {
        assert_eq!(gateway(&cidr.parse().unwrap()), first.parse::<IpAddr>().unwrap());
    }
}

#[test]
fn the_example_with_kubernetes_says_what_it_says() {
    let topology = Topology::parse("example.yaml", KUBERNETES_EXAMPLE).unwrap();
    let kubernetes = topology.kubernetes.as_ref().unwrap();
    assert_eq!(kubernetes.kube_proxy, KubeProxy::Nftables);
    assert!(kubernetes.programs.is_absolute());
    assert_eq!(topology.nodes[0].pod_cidrs[1].to_string(), "fd00:244:0:7::/64");
    let fields = serde_json::to_value(kubernetes).unwrap();
    for field in fields.as_object().unwrap().keys() {
        let shown = |line: &str| line.starts_with(&format!("  {field}:"));
        assert!(KUBERNETES_EXAMPLE.lines().any(shown), "{field}");
    }
    let json = serde_json::to_string(&topology).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), topology);
}

#[test]
fn kubernetes_has_its_own_defaults() {
    let topology =
        Topology::parse("lab.yaml", "kubernetes: {cni: bridge, dualStack: true}").unwrap();
    let machines = topology.machines();
    let lines: Vec<String> = machines
        .iter()
        .map(|machine| {
            let texts = |values: Vec<String>| values.join(" ");
            let addresses = texts(machine.addresses().map(|it| it.to_string()).collect());
            let pods = texts(machine.pod_cidrs.iter().map(IpNet::to_string).collect());
            format!("{} {addresses} {pods}", machine.name).trim_end().to_owned()
        })
        .collect();
    let expected = [
        "n1 172.31.0.11 fd00:31::11 10.244.1.0/24 fd00:244:0:1::/64",
        "n2 172.31.0.12 fd00:31::12 10.244.2.0/24 fd00:244:0:2::/64",
        "n3 172.31.0.13 fd00:31::13 10.244.3.0/24 fd00:244:0:3::/64",
        "control-plane 172.31.0.10 fd00:31::9",
    ];
    assert_eq!(lines, expected);
    // What the text says is as it says it.
    let text = "{kubernetes: {}, podCidr: 10.0.0.0/8, nodes: [{name: a, podCidrs: [10.0.1.0/24], \
                uplinks: [{subnet: s, addresses: [10.9.0.10]}]}, {name: b, \
                uplinks: [{subnet: s, addresses: [10.9.0.11]}]}], \
                subnets: [{name: s, cidrs: [10.9.0.0/24]}]}";
    let topology = Topology::parse("lab.yaml", text).unwrap();
    assert_eq!(topology.nodes[1].pod_cidrs, ["10.0.2.0/24".parse().unwrap()]);
    let control_plane = topology.control_plane().unwrap();
    assert_eq!(control_plane.addresses().next(), "10.9.0.12".parse().ok());
    assert!(topology.pods.is_empty());
}

#[test]
fn what_kubernetes_has_no_use_for_is_refused() {
    for (text, part) in [
        ("pods: [{name: a, node: n1}]", "pods are made with `calico lab kubectl`"),
        ("resources: [{kind: Tier}]", "resources are made with `calico lab kubectl`"),
        ("env: {A: b}", "what a manifest says"),
        ("podCidr: 10.244.0.0/24", "podCidr: 10.244.0.0/24 has no /24 left for node n1"),
        ("nodes: [{name: control-plane, uplinks: []}]", "already in use"),
    ] {
        let said = refusal(&format!("{{kubernetes: {{}}, {text}}}"));
        assert!(said.contains(part), "{text}: {said}");
    }
    let kubernetes = "{kubernetes: {cni: none, dualStack: true}, subnets: [{name: s, cidrs: [10.9.0.0/24]}], \
                      nodes: [{name: a, uplinks: [{subnet: s, addresses: [10.9.0.11]}]}]}";
    let said = refusal(kubernetes);
    assert!(said.contains("dualStack, but a has no IPv6 address"), "{said}");
}
