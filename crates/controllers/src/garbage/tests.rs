use super::*;
use crate::cluster::{Node, PodKey};
use proptest::prelude::*;

const GRACE: Duration = Duration::from_secs(900);
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn block() -> IpNet {
    "10.0.0.0/26".parse().expect("a range")
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn allocation(last: u8, node: &str, pod: &str, container: &str) -> Allocation {
    Allocation {
        address: address(last),
        handle: Some(format!("k8s-pod-network.{container}").into()),
        node: Some(node.into()),
        holder: Holder::Pod { namespace: "shop".into(), name: pod.into() },
        sequence_number: Some(7),
    }
}

fn tunnel(last: u8, node: &str) -> Allocation {
    let handle = format!("ipip-tunnel-addr-{node}");
    let attributes = [("node", node), ("type", "ipipTunnelAddress")];
    let attributes = attributes.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    Allocation {
        holder: holder(Some(&handle), &attributes),
        handle: Some(handle.into()),
        ..allocation(last, node, "", "")
    }
}

fn cluster(nodes: &[&str], held: Vec<Allocation>) -> Cluster {
    let mut cluster = Cluster { same: true, ..Cluster::default() };
    for name in nodes {
        add_node(&mut cluster, name);
    }
    let host = Some("n1".into());
    let of_block = Block { host, is_claimed: true, is_empty: held.is_empty(), held };
    cluster.blocks.insert(block(), of_block);
    cluster.affinities.insert(("n1".to_owned(), block()));
    cluster
}

fn add_node(cluster: &mut Cluster, name: &str) {
    let node = Node { kubernetes: Some(name.to_owned()), ..Node::default() };
    cluster.nodes.insert(name.to_owned(), node);
    cluster.kubernetes_nodes.insert(name.to_owned(), BTreeMap::new());
}

fn remove_node(cluster: &mut Cluster, name: &str) {
    cluster.nodes.remove(name);
    cluster.kubernetes_nodes.remove(name);
}

fn pod_key(node: &str, pod: &str) -> PodKey {
    ("shop".into(), model::names::kubernetes_endpoint(node, pod, "eth0").into())
}

fn pod(container: &str, addresses: &[u8]) -> Pod {
    let addresses = addresses.iter().map(|last| address(*last)).collect();
    Pod { container: container.into(), addresses }
}

/// Handles found lost when this cluster is looked at these times.
fn leaked(cluster: &Cluster, grace: Duration, times: &[u64]) -> Vec<String> {
    let (mut suspects, mut found) = (Suspects::default(), Findings::default());
    for time in times {
        (suspects, found) = judge(cluster, &suspects, grace, at(*time));
    }
    found.leaks.into_iter().map(|leak| leak.handle).collect()
}

#[test]
fn an_address_without_a_pod_is_lost_once_the_grace_is_over() {
    let mut cluster = cluster(&["n1"], vec![allocation(1, "n1", "web", "c1")]);
    let (suspects, found) = judge(&cluster, &Suspects::default(), GRACE, at(5));
    assert_eq!((found.leaks.len(), found.next), (0, Some(at(905))));
    assert_eq!(found.candidates[&(block(), "n1".to_owned())], 1);
    let (suspects, found) = judge(&cluster, &suspects, GRACE, at(904));
    assert_eq!(found.leaks, []);
    let (_, found) = judge(&cluster, &suspects, GRACE, at(905));
    let [leak] = found.leaks.as_slice() else { panic!("{found:?}") };
    assert_eq!(leak.handle, "k8s-pod-network.c1");
    assert_eq!(leak.addresses[&block()], BTreeMap::from([(address(1), Some(7))]));
    let named = ("n1".to_owned(), "shop".to_owned(), "web".to_owned());
    assert_eq!((&leak.pods, &leak.gone), (&BTreeSet::from([named]), &BTreeSet::new()));

    // Its pod was there meanwhile, or it is another allocation of the address: from the start.
    let with_pod = {
        let mut cluster = cluster.clone();
        cluster.pods.insert(pod_key("n1", "web"), pod("c1", &[1]));
        cluster
    };
    let (acquitted, found) = judge(&with_pod, &suspects, GRACE, at(905));
    assert_eq!((found.leaks.len(), found.candidates.len(), found.next), (0, 0, None));
    assert_eq!(judge(&cluster, &acquitted, GRACE, at(906)).1.leaks, []);
    let held = &mut cluster.blocks.get_mut(&block()).expect("a block").held;
    held[0].sequence_number = Some(8);
    assert_eq!(judge(&cluster, &suspects, GRACE, at(2000)).1.leaks, []);
    // Without a grace nothing is ever lost.
    assert_eq!(leaked(&cluster, Duration::ZERO, &[1, 100_000]), [""; 0]);
}

#[test]
fn what_cannot_be_judged_is_live() {
    let mut without_node = allocation(1, "n1", "gone", "c1");
    without_node.node = None;
    let mut without_handle = allocation(2, "n1", "gone", "c2");
    without_handle.handle = None;
    let mut other = allocation(3, "n1", "", "c3");
    other.holder = holder(Some("by-hand"), &BTreeMap::new());
    let machine = [("namespace", "a"), ("pod", "virt-launcher-x"), ("vmi-name", "x")];
    let machine = machine.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    assert_eq!(holder(Some("net.vmi.a.x"), &machine), Holder::Other);
    assert_eq!(holder(Some(WINDOWS_RESERVED), &machine), Holder::Reserved);
    let held = vec![without_node, without_handle, other, tunnel(4, "n1")];
    assert_eq!(leaked(&cluster(&["n1"], held), GRACE, &[1, 100_000]), [""; 0]);
}

#[test]
fn a_pod_keeps_what_it_has_and_what_it_may_get() {
    for (what, known, lost) in [
        ("has it", pod("c1", &[1]), false),
        ("has another of another network", pod("c1", &[9]), false),
        ("has none yet", pod("", &[]), false),
        ("is another plugin's", pod("", &[9]), false),
        ("has ended, and its sandbox with it", pod("c1", &[]), true),
        ("has another sandbox", pod("c2", &[9]), true),
    ] {
        let mut cluster = cluster(&["n1"], vec![allocation(1, "n1", "web", "c1")]);
        cluster.pods.insert(pod_key("n1", "web"), known);
        assert_eq!(leaked(&cluster, GRACE, &[1, 902]).len(), usize::from(lost), "{what}");
        // A short grace is not enough for a pod that may just be getting its address.
        assert_eq!(leaked(&cluster, SECOND, &[1, 100]), [""; 0], "{what}");
        assert_eq!(leaked(&cluster, SECOND, &[1, 121]).len(), usize::from(lost), "{what}");
    }
    // A pod of the same name elsewhere has nothing to do with it.
    let mut cluster = cluster(&["n1", "n2"], vec![allocation(1, "n1", "web", "c1")]);
    cluster.pods.insert(pod_key("n2", "web"), pod("c2", &[9]));
    assert_eq!(leaked(&cluster, GRACE, &[1, 902]).len(), 1);
}

#[test]
fn a_gone_node_keeps_nothing() {
    let held = vec![allocation(1, "n1", "web", "c1"), tunnel(2, "n1"), tunnel(3, "n2")];
    let mut cluster = cluster(&["n1", "n2"], held);
    cluster.pods.insert(pod_key("n1", "web"), pod("c1", &[1]));
    remove_node(&mut cluster, "n1");
    // As long as the pod is there, the address is its own.
    let (_, found) = judge(&cluster, &Suspects::default(), GRACE, at(1));
    assert_eq!((found.leaks.len(), found.hosts.len()), (0, 0));
    cluster.pods.clear();
    let (_, found) = judge(&cluster, &Suspects::default(), GRACE, at(1));
    assert_eq!((found.leaks.len(), found.hosts.len()), (1, 0));
    assert_eq!(found.leaks[0].gone, BTreeSet::from(["n1".to_owned()]));
    // Once that is released, the rest goes.
    cluster.blocks.get_mut(&block()).expect("a block").held.remove(0);
    let (_, found) = judge(&cluster, &Suspects::default(), Duration::ZERO, at(1));
    let [host] = found.hosts.as_slice() else { panic!("{found:?}") };
    let handles: Vec<&str> = host.tunnels.iter().map(|one| one.handle.as_str()).collect();
    assert_eq!((host.host.as_str(), handles), ("n1", vec!["ipip-tunnel-addr-n1"]));
    assert_eq!(host.tunnels[0].addresses[&block()].len(), 1);
    // Something that cannot be judged keeps it.
    let by_hand = Allocation { holder: Holder::Other, ..allocation(5, "n1", "", "c5") };
    cluster.blocks.get_mut(&block()).expect("a block").held.push(by_hand);
    assert_eq!(judge(&cluster, &Suspects::default(), GRACE, at(1)).1.hosts, []);
}

#[test]
fn in_etcd_a_node_has_its_name_there_and_may_be_none_of_kubernetes() {
    let held = vec![allocation(1, "calico-n1", "web", "c1"), allocation(2, "vm", "x", "c2")];
    let mut cluster = cluster(&[], held);
    cluster.same = false;
    let node = Node { kubernetes: Some("n1".to_owned()), ..Node::default() };
    cluster.nodes.insert("calico-n1".to_owned(), node);
    cluster.nodes.insert("vm".to_owned(), Node::default());
    cluster.kubernetes_nodes.insert("n1".to_owned(), BTreeMap::new());
    cluster.pods.insert(pod_key("n1", "web"), pod("", &[1]));
    assert_eq!(leaked(&cluster, GRACE, &[1, 902]), [""; 0]);
    cluster.pods.clear();
    assert_eq!(leaked(&cluster, GRACE, &[1, 902]), ["k8s-pod-network.c1"]);
    assert_eq!(cluster.gone_nodes(), [""; 0]);
    cluster.kubernetes_nodes.clear();
    assert_eq!(cluster.gone_nodes(), ["calico-n1"]);
    assert_eq!(leaked(&cluster, GRACE, &[1]), ["k8s-pod-network.c1"]);
}

#[test]
fn a_node_gives_up_empty_blocks_but_one() {
    let mut cluster = cluster(&["n1"], Vec::new());
    let other: IpNet = "10.0.0.64/26".parse().expect("a range");
    let given_up = |cluster: &Cluster, times: &[u64]| {
        let (mut suspects, mut found) = (Suspects::default(), Findings::default());
        for time in times {
            (suspects, found) = judge(cluster, &suspects, GRACE, at(*time));
        }
        found.blocks
    };
    assert_eq!(given_up(&cluster, &[1, 902]), []);
    cluster.blocks.insert(other, cluster.blocks[&block()].clone());
    assert_eq!(given_up(&cluster, &[1, 900]), []);
    assert_eq!(given_up(&cluster, &[1, 901]), [("n1".to_owned(), block())]);
    let rests = cluster.blocks.get_mut(&block()).expect("a block");
    rests.is_empty = false;
    assert_eq!(given_up(&cluster, &[1, 901]), [("n1".to_owned(), other)]);
    // One that is nobody's goes at once.
    let lost = cluster.blocks.get_mut(&other).expect("a block");
    (lost.host, lost.is_claimed) = (None, false);
    let (_, found) = judge(&cluster, &Suspects::default(), GRACE, at(1));
    assert_eq!(found.unclaimed, [other]);
}

/// What happens to a small cluster.
#[derive(Clone, Debug)]
enum Step {
    Assign { last: u8, node: u8, pod: u8, handle: u8 },
    Release { last: u8 },
    PodComes { node: u8, pod: u8, handle: u8, addresses: Vec<u8> },
    PodGoes { node: u8, pod: u8 },
    NodeComes(u8),
    NodeGoes(u8),
    TimePasses(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (last, few) = (1u8..8, 0u8..3);
    let step = prop_oneof![
        4 => (last.clone(), few.clone(), few.clone(), 0u8..5)
            .prop_map(|(last, node, pod, handle)| Step::Assign { last, node, pod, handle }),
        1 => last.clone().prop_map(|last| Step::Release { last }),
        3 => (few.clone(), few.clone(), 0u8..5, prop::collection::vec(last, 0..3))
            .prop_map(|(node, pod, handle, addresses)| {
                Step::PodComes { node, pod, handle, addresses }
            }),
        2 => (few.clone(), few.clone()).prop_map(|(node, pod)| Step::PodGoes { node, pod }),
        2 => few.clone().prop_map(Step::NodeComes),
        1 => few.prop_map(Step::NodeGoes),
        4 => (1u64..600).prop_map(Step::TimePasses),
    ];
    prop::collection::vec(step, 1..60)
}

fn take(cluster: &mut Cluster, step: &Step) {
    let name = |node: &u8| format!("n{node}");
    let held = &mut cluster.blocks.get_mut(&block()).expect("a block").held;
    match step {
        Step::Assign { last, node, pod, handle } => {
            if held.iter().all(|one| one.address != address(*last)) {
                let handle = format!("c{handle}");
                held.push(allocation(*last, &name(node), &format!("p{pod}"), &handle));
            }
        }
        Step::Release { last } => held.retain(|one| one.address != address(*last)),
        Step::PodComes { node, pod: number, handle, addresses } => {
            let key = pod_key(&name(node), &format!("p{number}"));
            cluster.pods.insert(key, pod(&format!("c{handle}"), addresses));
        }
        Step::PodGoes { node, pod } => {
            cluster.pods.remove(&pod_key(&name(node), &format!("p{pod}")));
        }
        Step::NodeComes(node) => add_node(cluster, &name(node)),
        Step::NodeGoes(node) => remove_node(cluster, &name(node)),
        Step::TimePasses(_) => {}
    }
}

proptest! {
    /// Whatever happens: nothing that a pod has is lost, all of a handle is or none, nothing on a
    /// node that is there before it has seemed lost for the grace, and everything else in the end.
    #[test]
    fn only_the_dead_are_lost_and_all_of_them(steps in steps()) {
        let mut cluster = cluster(&[], Vec::new());
        let (mut now, mut suspects) = (at(0), Suspects::default());
        let mut dead_since: BTreeMap<IpAddr, Duration> = BTreeMap::new();
        for step in steps.iter().chain([&Step::TimePasses(2000), &Step::TimePasses(2000)]) {
            if let Step::TimePasses(seconds) = step {
                now += at(*seconds);
            }
            take(&mut cluster, step);
            let (next, found) = judge(&cluster, &suspects, GRACE, now);
            let held = &cluster.blocks[&block()].held;
            let pod_of = |one: &Allocation| {
                let Holder::Pod { namespace, name } = &one.holder else { panic!("{one:?}") };
                cluster.pod(one.node.as_deref().expect("a node"), namespace, name).cloned()
            };
            let is_live = |one: &Allocation| {
                is_held(pod_of(one).as_ref(), one.address, one.handle.as_deref().expect("one"))
            };
            // An independent word of how long each has been dead.
            dead_since.retain(|known, _| {
                held.iter().any(|one| one.address == *known && !is_live(one))
            });
            for one in held.iter().filter(|one| !is_live(one)) {
                dead_since.entry(one.address).or_insert(now);
            }
            let mut lost = BTreeSet::new();
            for leak in &found.leaks {
                let addresses: BTreeSet<IpAddr> =
                    leak.addresses.values().flat_map(|of| of.keys().copied()).collect();
                let of_handle: BTreeSet<IpAddr> = held
                    .iter()
                    .filter(|one| one.handle.as_deref() == Some(&leak.handle))
                    .map(|one| one.address)
                    .collect();
                prop_assert_eq!(&addresses, &of_handle);
                lost.extend(addresses);
            }
            for one in held {
                let gone = !cluster.kubernetes_nodes.contains_key(one.node.as_deref().expect("n"));
                let dead = dead_since.get(&one.address).map(|since| now - *since);
                let handle = held.iter().filter(|other| other.handle == one.handle);
                if lost.contains(&one.address) {
                    prop_assert!(!is_live(one), "{:?} is live", one);
                    prop_assert!(gone || dead >= Some(GRACE), "{:?} is lost too soon", one);
                } else if matches!(step, Step::TimePasses(2000)) && now - at(2000) > at(0) {
                    let all_dead = handle.clone().all(|other| !is_live(other));
                    let long = dead_since.get(&one.address).is_some_and(|s| now - *s >= at(2000));
                    prop_assert!(!(all_dead && long), "{:?} stays", one);
                }
            }
            suspects = next;
        }
    }

    /// Looking more often changes nothing but the moment.
    #[test]
    fn how_often_it_is_looked_at_does_not_matter(steps in steps(), looks in 1u64..5) {
        let mut cluster = cluster(&[], Vec::new());
        let (mut now, mut seldom, mut often) = (at(0), Suspects::default(), Suspects::default());
        for step in &steps {
            take(&mut cluster, step);
            if let Step::TimePasses(seconds) = step {
                for look in 1..=looks {
                    let moment = now + at(*seconds) * (look as u32) / (looks as u32);
                    (often, _) = judge(&cluster, &often, GRACE, moment);
                }
                now += at(*seconds);
            }
            let one = judge(&cluster, &seldom, GRACE, now);
            let other = judge(&cluster, &often, GRACE, now);
            prop_assert_eq!(&one.1.leaks, &other.1.leaks);
            (seldom, often) = (one.0, other.0);
        }
    }
}
