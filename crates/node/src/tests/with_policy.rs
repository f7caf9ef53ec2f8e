//! Policy in the core: what the kernel is told, which connections end, what is explained.

use super::*;
use crate::connections::{Connection, Listed};
use crate::explain::{KernelHolds, Nat};
use ::policy::evaluate::{At, Direction, Packet, Reason, Traffic, Verdict};
use kernel::nft::{Family, Match, Part, Update};
use model::{NetworkPolicy, Profile, ProfileSpec, Tier};
use std::net::IpAddr;

const POD: &str = "192.168.226.65";
const OTHER: &str = "192.168.133.193";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    let ports = Some((49_152, port));
    let (source, destination) = (address(source), address(destination));
    Packet { source, destination, protocol: 6, ports, icmp: None }
}

fn tier() -> Event {
    let tier: Tier = model::resources::tier::built_in_tier("default").expect("it is built in");
    stored(&tier)
}

fn profiles() -> Vec<Event> {
    let profile = |name: &str, spec| stored(&Profile::new(name, spec));
    vec![
        profile("kns.default", ProfileSpec::allow_all()),
        profile("ksa.default.default", ProfileSpec::default()),
    ]
}

/// Lets in TCP to port 80, to all of namespace `default`.
fn only_web() -> NetworkPolicy {
    let spec = serde_json::json!({
        "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]}}],
    });
    let spec = serde_json::from_value(spec).expect("a spec");
    let mut policy = NetworkPolicy::new("web", spec);
    policy.metadata.namespace = Some("default".to_owned());
    policy
}

/// The cluster's FelixConfiguration says this.
fn felix_says(spec: serde_json::Value) -> Event {
    let spec = serde_json::from_value(spec).expect("a spec");
    stored(&model::FelixConfiguration::new("default", spec))
}

/// A node with profiles, and pod-1, which has been added.
fn with_a_pod() -> Node {
    let mut node = ready();
    for event in profiles().into_iter().chain([tier()]) {
        node.on(event);
    }
    asked(&mut node, 1, add());
    let (endpoint, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    let answers = replies(&effects);
    assert!(matches!(answers.as_slice(), [Reply::Added { .. }]), "{answers:?}");
    without_connections(&mut node, effects);
    node.on(stored(&endpoint));
    node.on(Event::Idle);
    node
}

fn updates(effects: &[Effect]) -> (u64, bool, Vec<Update>) {
    let applied = effects.iter().find_map(|effect| match effect {
        Effect::Apply { generation, plan, tables } => {
            Some((*generation, plan.is_some(), tables.clone()))
        }
        _ => None,
    });
    applied.expect("something to apply")
}

fn chains(updates: &[Update]) -> Vec<&str> {
    let chain = |update: &'_ Update| match &update.part {
        Part::Chain(name, Some(_)) if update.family == Family::Ip => Some(name.clone()),
        _ => None,
    };
    let names: Vec<String> = updates.iter().filter_map(chain).collect();
    let known = ["filter-cali-pi-np/default/web", "filter-cali-tw-cali4d001776093"];
    known.into_iter().filter(|name| names.iter().any(|found| found == name)).collect()
}

#[test]
fn a_policy_changes_its_chains_and_no_plan() {
    let mut node = with_a_pod();
    node.on(stored(&only_web()));
    let (_, has_plan, updates) = updates(&node.on(Event::Idle));
    assert!(!has_plan);
    assert_eq!(
        chains(&updates),
        ["filter-cali-pi-np/default/web", "filter-cali-tw-cali4d001776093"]
    );
    assert!(node.on(Event::Idle).is_empty(), "told once");
}

#[test]
fn an_add_fails_where_its_policy_could_not_be_programmed() {
    let mut node = ready();
    asked(&mut node, 1, add());
    let (_, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    let failure = ApplyFailure {
        object: "table ip calico".to_owned(),
        interface: None,
        message: "nf_tables refused it".to_owned(),
    };
    let effects = but_connections(node.on(Event::Applied { generation, failures: vec![failure] }));
    assert!(matches!(effects.as_slice(), [Effect::Remove { .. }]), "{effects:?}");
    let effects = node.on(Event::Written { id: 1, written: Written::Removed });
    let refused = Reply::Failed { retry: true, message: "nf_tables refused it".to_owned() };
    assert_eq!(replies(&effects), [refused]);
}

#[test]
fn connections_that_a_policy_forbids_end_once_the_kernel_has_it() {
    let mut node = with_a_pod();
    node.on(stored(&only_web()));
    let (generation, ..) = updates(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    let [Effect::ListConnections(Listed::Of(addresses))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(addresses.contains(&address(POD)) && addresses.len() == 1, "{addresses:?}");
    let packets = [
        tcp(OTHER, POD, 80),
        tcp(OTHER, POD, 81),
        tcp(POD, OTHER, 81),
        // What the node itself sends to its pods is never denied.
        tcp("10.30.0.206", POD, 81),
    ];
    let list = packets.into_iter().enumerate();
    let list = list.map(|(number, packet)| Connection { number, packet, is_dnat: false }).collect();
    let effects = node.on(Event::Connections(list));
    let [Effect::EndConnections(numbers)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(numbers, &[1]);
}

#[test]
fn a_policy_that_changes_while_connections_are_listed_has_them_listed_again() {
    let mut node = with_a_pod();
    let apply = |node: &mut Node, event| {
        node.on(event);
        let (generation, ..) = updates(&node.on(Event::Idle));
        node.on(Event::Applied { generation, failures: vec![] })
    };
    let first = apply(&mut node, stored(&only_web()));
    assert!(matches!(first.as_slice(), [Effect::ListConnections(_)]), "{first:?}");
    let mut other = only_web();
    other.spec.ingress.clear();
    assert!(apply(&mut node, stored(&other)).is_empty(), "one list at a time");
    let again = node.on(Event::Connections(vec![]));
    assert!(matches!(again.as_slice(), [Effect::ListConnections(_)]), "{again:?}");
    assert!(node.on(Event::Connections(vec![])).is_empty());
}

#[test]
fn an_explanation_says_what_policy_and_kernel_say() {
    let mut node = with_a_pod();
    node.on(stored(&only_web()));
    node.on(Event::Idle);
    let request = Request::Explain(tcp(OTHER, POD, 81));
    let effects = node.on(Event::Request { id: 5, request });
    let [Effect::ReadKernel { id: 5, question }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(question.destination, address(POD));
    let to_pod = (Family::Ip, "filter-cali-tw-cali4d001776093".to_owned());
    assert_eq!(question.chains, [to_pod]);
    let holds = KernelHolds { problems: vec!["no root".to_owned()], ..KernelHolds::default() };
    let effects = node.on(Event::KernelRead { id: 5, holds: Box::new(holds.clone()) });
    let [Effect::Reply { id: 5, reply: Reply::Explained(explanation) }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((explanation.kernel.clone(), explanation.nat), (holds, Nat::None));
    let [leg] = explanation.legs.as_slice() else { panic!("{explanation:?}") };
    assert_eq!((leg.at, leg.decision.verdict), (At::Workload(Direction::Ingress), Verdict::Deny));
    assert_eq!(leg.decision.by, Reason::EndOfTier("default".into()));
}

#[test]
fn what_leaves_the_pools_is_translated() {
    let mut node = with_a_pod();
    let mut nat = |destination: &str| {
        let request = Request::Explain(tcp(POD, destination, 80));
        node.on(Event::Request { id: 5, request });
        let holds = Box::default();
        match node.on(Event::KernelRead { id: 5, holds }).remove(0) {
            Effect::Reply { reply: Reply::Explained(explanation), .. } => explanation.nat,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(nat(OTHER), Nat::None);
    assert_eq!(nat("198.51.100.10"), Nat::None, "the pool says nothing of natOutgoing");
}

#[test]
fn a_policy_that_cannot_be_read_denies_and_says_so() {
    let mut node = with_a_pod();
    node.on(changed(only_web().key(), b"{\"spec\":{\"ingress\":1}}".to_vec()));
    node.on(Event::Idle);
    let request = Request::Explain(tcp(OTHER, POD, 80));
    node.on(Event::Request { id: 5, request });
    let effects = node.on(Event::KernelRead { id: 5, holds: Box::default() });
    let [Effect::Reply { reply: Reply::Explained(explanation), .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(explanation.legs[0].decision.verdict, Verdict::Deny);
    let warnings = node.status().warnings.join("\n");
    assert!(warnings.contains("default/web"), "{warnings}");
}

#[test]
fn connections_of_workloads_that_went_end_also_if_no_agent_saw_it() {
    // After a start: the block's other addresses, but for the tunnel's and the one that worker-2 has.
    let mut node = Node::new("worker-1", environment());
    for event in cluster().into_iter().chain([in_sync()]) {
        node.on(event);
    }
    let generation = applied_generation(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    let [.., Effect::ListConnections(Listed::Of(addresses))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let has = |text: &str| addresses.contains(&address(text));
    assert!(has(POD) && has("192.168.226.127"), "{addresses:?}");
    assert!(!has("192.168.226.64") && !has("192.168.226.70") && !has(OTHER), "{addresses:?}");
    let packet = tcp(OTHER, "192.168.226.127", 80);
    let effects =
        node.on(Event::Connections(vec![Connection { number: 7, packet, is_dnat: false }]));
    assert!(matches!(effects.as_slice(), [Effect::EndConnections(numbers)] if numbers == &[7]));
    // A pod that comes forbids nothing; later only those of workloads that it has seen go.
    asked(&mut node, 1, add());
    let (_, generation) = assigned(&mut node, 1);
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::ListConnections(_))));
    node.on(Event::Request { id: 2, request: delete() });
    let (generation, ..) = updates(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    let [.., Effect::ListConnections(Listed::Of(addresses))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(addresses.iter().collect::<Vec<_>>(), [&address(POD)]);
}

#[test]
fn rules_that_only_log_are_labelled_by_log_prefix() {
    let mut node = with_a_pod();
    let mut policy = only_web();
    let log = serde_json::json!({"action": "Log"});
    policy.spec.ingress.insert(0, serde_json::from_value(log).expect("a rule"));
    let labels = |effects: &[Effect]| {
        let of = |effect: &Effect| match effect {
            Effect::NamePrefixes(names) => names.label("LPI0|np/default/web").map(str::to_owned),
            _ => None,
        };
        effects.iter().find_map(of)
    };
    node.on(stored(&policy));
    assert_eq!(labels(&node.on(Event::Idle)).as_deref(), Some("calico-packet"));
    node.on(felix_says(serde_json::json!({"logPrefix": "%t %p"})));
    assert_eq!(labels(&node.on(Event::Idle)).as_deref(), Some("default default/web"));
    node.on(stored(&only_web()));
    let gone = node.on(Event::Idle);
    assert!(gone.iter().any(|effect| matches!(effect, Effect::NamePrefixes(_))), "{gone:?}");
    assert_eq!(labels(&gone), None);
}

#[test]
fn addresses_of_services_that_nothing_serves_are_blocked_as_the_setting_says() {
    let mut node = with_a_pod();
    let spec = serde_json::json!({"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
                                  "serviceLoadBalancerIPs": [{"cidr": "fd00:97::/112"}]});
    let spec = serde_json::from_value(spec).expect("a spec");
    node.on(stored(&model::BgpConfiguration::new("default", spec)));
    let blocked = |effects: &[Effect]| {
        let plan = effects.iter().find_map(|effect| match effect {
            Effect::Apply { plan, .. } => plan.clone(),
            _ => None,
        });
        let plan = plan.expect("a plan");
        let chains =
            plan.tables.iter().filter_map(|table| table.chains.get("filter-cali-cidr-block"));
        let rules: Vec<_> = chains.flat_map(|chain| chain.rules.clone()).collect();
        rules.into_iter().map(|rule| (rule.matches, rule.verdict)).collect::<Vec<_>>()
    };
    let to = |net: &str| {
        vec![Match::DestinationPrefix { net: net.parse().expect("a range"), not: false }]
    };
    let of = |verdict: kernel::nft::Verdict| {
        vec![(to("10.96.0.0/12"), verdict.clone()), (to("fd00:97::/112"), verdict)]
    };
    assert_eq!(blocked(&node.on(Event::Idle)), of(kernel::nft::Verdict::Drop));
    node.on(felix_says(serde_json::json!({"serviceLoopPrevention": "Reject"})));
    let rejected = kernel::nft::Verdict::Reject(kernel::nft::Rejection::PortUnreachable);
    assert_eq!(blocked(&node.on(Event::Idle)), of(rejected));
    node.on(felix_says(serde_json::json!({"serviceLoopPrevention": "Disabled"})));
    assert_eq!(blocked(&node.on(Event::Idle)), []);
}

/// A host endpoint of this node, and a policy that lets in TCP to port 8080 through it.
fn host_endpoint(interface: &str) -> Vec<Event> {
    let spec = serde_json::json!({"node": "worker-1", "interfaceName": interface});
    let spec = serde_json::from_value(spec).expect("a spec");
    let mut endpoint = model::HostEndpoint::new("worker-1", spec);
    endpoint.metadata.labels.insert("host".to_owned(), "yes".to_owned());
    let spec = serde_json::json!({"selector": "has(host)", "types": ["Ingress"], "ingress": [
        {"action": "Allow", "protocol": "TCP", "destination": {"ports": [8080]}}]});
    let spec = serde_json::from_value(spec).expect("a spec");
    let Event::Facts(mut facts) = facts() else { panic!("facts") };
    let link = kernel::RouteTarget::Via { device: "ens5".to_owned(), gateway: None, onlink: false };
    let route = kernel::Route { target: link, protocol: 2, scope: 253, source: None };
    let destination = "10.30.0.0/24".parse().expect("a prefix");
    let key = kernel::RouteKey { table: 254, destination, metric: 0 };
    facts.routes.insert(key, route);
    facts.workload_links.insert(INTERFACE.to_owned());
    let policy = model::GlobalNetworkPolicy::new("host", spec);
    vec![Event::Facts(facts), stored(&endpoint), stored(&policy)]
}

const OWN: &str = "10.30.0.206";
const PEER: &str = "10.30.0.56";

/// What is said of a packet: the interface, whose policies, what they decide.
fn legs(node: &mut Node, packet: Packet) -> Vec<String> {
    node.on(Event::Request { id: 5, request: Request::Explain(packet) });
    let effects = node.on(Event::KernelRead { id: 5, holds: Box::default() });
    let [Effect::Reply { reply: Reply::Explained(explanation), .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let legs = explanation.legs.iter();
    legs.map(|leg| format!("{} {:?} {}", leg.interface, leg.at, leg.decision)).collect()
}

#[test]
fn a_host_endpoint_of_all_interfaces_judges_what_the_node_sends_to_itself() {
    let packet = tcp("127.0.0.1", "127.0.0.1", 8080);
    for (interface, expected) in [
        ("ens5", &[][..]),
        ("*", &["lo HostEndpoint(Local, Egress) deny: no rule of a profile matches"]),
        ("lo", &["lo HostEndpoint(Local, Egress) deny: no rule of a profile matches"]),
    ] {
        let mut node = with_a_pod();
        for event in host_endpoint(interface) {
            node.on(event);
        }
        node.on(Event::Idle);
        assert_eq!(legs(&mut node, packet), expected, "{interface}");
    }
    // Sent and received: both ways must be allowed.
    let mut node = with_a_pod();
    for event in host_endpoint("*") {
        node.on(event);
    }
    let spec = serde_json::json!({"selector": "has(host)", "types": ["Egress"],
        "egress": [{"action": "Allow"}]});
    let spec = serde_json::from_value(spec).expect("a spec");
    node.on(stored(&model::GlobalNetworkPolicy::new("out", spec)));
    node.on(Event::Idle);
    assert_eq!(
        legs(&mut node, tcp("127.0.0.1", "127.0.0.1", 81)),
        [
            "lo HostEndpoint(Local, Egress) allow: egress rule 0 of GlobalNetworkPolicy(out), \
             tier default",
            "lo HostEndpoint(Local, Ingress) deny: no rule of tier default matches",
        ]
    );
}

#[test]
fn explanations_tell_of_host_endpoints_too() {
    for interface in ["ens5", "*"] {
        let mut node = with_a_pod();
        assert_eq!(legs(&mut node, tcp(PEER, OWN, 8080)), [""; 0], "nobody's");
        for event in host_endpoint(interface) {
            node.on(event);
        }
        node.on(Event::Idle);
        let local = |direction| format!("ens5 {:?}", At::HostEndpoint(Traffic::Local, direction));
        let (ingress, egress) = (local(Direction::Ingress), local(Direction::Egress));
        let rule = "ingress rule 0 of GlobalNetworkPolicy(host), tier default";
        for (packet, said) in [
            (tcp(PEER, OWN, 8080), format!("{ingress} allow: {rule}")),
            (tcp(PEER, OWN, 22), format!("{ingress} allow: failsafe port")),
            (tcp(PEER, OWN, 81), format!("{ingress} deny: no rule of tier default matches")),
            (tcp(OWN, PEER, 81), format!("{egress} deny: no rule of a profile matches")),
            (tcp(OWN, PEER, 179), format!("{egress} allow: failsafe port")),
        ] {
            assert_eq!(legs(&mut node, packet), [said], "{interface}");
        }
        let to_own_node = legs(&mut node, tcp(POD, OWN, 81));
        assert_eq!(to_own_node.len(), 2, "{to_own_node:?}");
        assert!(to_own_node[1].ends_with("deny: defaultEndpointToHostAction"));
        assert_eq!(legs(&mut node, tcp(OWN, POD, 81)), [""; 0], "what it sends to its pods");
    }
}

/// Not of this node, nor of a workload.
const BEHIND: [&str; 2] = ["10.30.0.77", "10.30.0.78"];

#[test]
fn connections_that_the_node_forwards_for_others_end_as_its_host_endpoints_say() {
    for interface in ["ens5", "*"] {
        let mut node = with_a_pod();
        for event in host_endpoint(interface) {
            node.on(event);
        }
        let rules = serde_json::json!({"selector": "has(host)", "applyOnForward": true,
            "types": ["Ingress"], "ingress": [
                {"action": "Deny", "protocol": "TCP", "destination": {"ports": [81]}},
                {"action": "Allow"}]});
        let rules = serde_json::from_value(rules).expect("a spec");
        node.on(stored(&model::GlobalNetworkPolicy::new("forward", rules)));
        let (generation, ..) = updates(&node.on(Event::Idle));
        let effects = node.on(Event::Applied { generation, failures: vec![] });
        assert!(matches!(effects.as_slice(), [Effect::ListConnections(Listed::All)]));
        let [one, other] = BEHIND;
        let packets = [tcp(one, other, 80), tcp(one, other, 81), tcp(OWN, PEER, 179)];
        let list = packets.into_iter().enumerate();
        let list = list.map(|(number, packet)| Connection { number, packet, is_dnat: false });
        let effects = node.on(Event::Connections(list.collect()));
        let [Effect::EndConnections(numbers)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(numbers, &[1], "{interface}");
    }
}

#[test]
fn connections_of_the_node_end_as_its_host_endpoints_say_but_never_failsafe_ones() {
    let mut node = with_a_pod();
    for event in host_endpoint("ens5") {
        node.on(event);
    }
    let (generation, ..) = updates(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    let [Effect::ListConnections(Listed::Of(addresses))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(addresses.contains(&address(OWN)) && addresses.contains(&address(POD)));
    let reversed = |packet: Packet| Packet {
        source: packet.destination,
        destination: packet.source,
        ports: packet.ports.map(|(source, destination)| (destination, source)),
        ..packet
    };
    let packets = [
        (tcp(PEER, OWN, 8080), false),
        (tcp(PEER, OWN, 81), true),
        (tcp(PEER, OWN, 22), false),
        (reversed(tcp(PEER, OWN, 22)), false),
        (tcp(OWN, PEER, 2379), false),
        (reversed(tcp(OWN, PEER, 2379)), false),
        (tcp(OWN, PEER, 81), true),
        (tcp(OWN, POD, 81), false),
        (tcp(OTHER, POD, 81), false),
        (tcp(OWN, OWN, 81), false),
    ];
    let list = packets.iter().enumerate();
    let list =
        list.map(|(number, (packet, _))| Connection { number, packet: *packet, is_dnat: false });
    let effects = node.on(Event::Connections(list.collect()));
    let [Effect::EndConnections(numbers)] = effects.as_slice() else { panic!("{effects:?}") };
    let expected = packets.iter().enumerate().filter(|(_, (_, ends))| *ends);
    assert_eq!(numbers, &expected.map(|(number, _)| number).collect::<Vec<_>>());
}
