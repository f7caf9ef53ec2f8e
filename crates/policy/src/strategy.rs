//! Small random clusters: few names and values, so that things meet.

use crate::input::*;
use ipnet::IpNet;
use model::DefaultAction;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn texts(choices: &'static [&'static str]) -> impl Strategy<Value = Box<str>> + Clone {
    prop::sample::select(choices).prop_map(Box::from)
}

pub(crate) fn labels() -> impl Strategy<Value = BTreeMap<Box<str>, Box<str>>> + Clone {
    prop::collection::btree_map(texts(&["a", "b", "ns"]), texts(&["x", "y", "xy"]), 0..3)
}

pub(crate) fn selector() -> impl Strategy<Value = Box<str>> + Clone {
    texts(&[
        "",
        "all()",
        "a == 'x'",
        "a == \"x\"",
        "a != 'x'",
        "has(b)",
        "!has(a)",
        "a in {'x', 'y'}",
        "a in {}",
        "a starts with 'x'",
        "a contains 'y' && has(b)",
        "ns == 'x' && a == 'y'",
        "a == 'x' || a == 'y'",
        "a == 'x' || b == 'y'",
        "!(a == 'x' || b != 'x')",
        "a ==",
        "has(b)) (",
    ])
}

fn address() -> impl Strategy<Value = IpAddr> + Clone {
    prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"])
        .prop_map(|text| text.parse().unwrap())
}

fn net() -> impl Strategy<Value = IpNet> + Clone {
    let nets =
        vec!["10.0.0.1/32", "10.0.0.0/24", "10.0.0.9/24", "0.0.0.0/0", "fd00::1/128", "::/0"];
    prop::sample::select(nets).prop_map(|text| text.parse().unwrap())
}

fn port() -> impl Strategy<Value = Port> + Clone {
    prop_oneof![
        (1u16..3, 3u16..5).prop_map(|(first, last)| Port::Range(first, last)),
        texts(&["http", "dns"]).prop_map(Port::Named),
    ]
}

fn named_ports() -> impl Strategy<Value = Vec<NamedPort>> + Clone {
    let port = (texts(&["http", "dns"]), prop::sample::select(vec![6u8, 17]), 80u16..82)
        .prop_map(|(name, protocol, port)| NamedPort { name, protocol, port });
    prop::collection::vec(port, 0..3)
}

fn service() -> impl Strategy<Value = ServiceId> + Clone {
    texts(&["web", "db"]).prop_map(|name| ServiceId { namespace: "x".into(), name })
}

fn some<T: Strategy + Clone>(
    strategy: T,
    most: usize,
) -> impl Strategy<Value = Box<[T::Value]>> + Clone
where
    T::Value: std::fmt::Debug + Clone,
{
    prop_oneof![
        3 => Just(vec![]),
        1 => prop::collection::vec(strategy, 1..=most),
    ]
    .prop_map(Vec::into_boxed_slice)
}

fn entity() -> impl Strategy<Value = Box<Entity>> + Clone {
    let services = prop_oneof![3 => Just(None), 1 => service().prop_map(Some)];
    let rarely = prop_oneof![2 => Just("".into()), 1 => selector()];
    (some(net(), 2), some(net(), 1), selector(), rarely, some(port(), 2), some(port(), 1), services)
        .prop_map(|(nets, not_nets, selector, not_selector, ports, not_ports, service)| {
            Box::new(Entity { nets, not_nets, selector, not_selector, ports, not_ports, service })
        })
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> + Clone {
    let action = prop::sample::select(vec![Action::Allow, Action::Deny, Action::Log, Action::Pass]);
    let protocol = prop::option::of(prop::sample::select(vec![6u8, 17, 132, 1]));
    let icmp = prop::option::of(
        (any::<u8>(), prop::option::of(any::<u8>())).prop_map(|(kind, code)| Icmp { kind, code }),
    );
    let ends = (prop::option::of(entity()), prop::option::of(entity()));
    (action, prop::option::of(Just(4u8)), (protocol.clone(), protocol), (icmp.clone(), icmp), ends)
        .prop_map(|(action, ip_version, protocols, icmp, (source, destination))| Rule {
            action,
            ip_version,
            protocol: protocols.0,
            not_protocol: protocols.1,
            icmp: icmp.0,
            not_icmp: icmp.1,
            source,
            destination,
            name: "".into(),
        })
}

fn orders() -> impl Strategy<Value = Option<f64>> + Clone {
    prop::sample::select(vec![None, Some(1.0), Some(2.0), Some(-0.0), Some(0.0)])
}

fn broken() -> impl Strategy<Value = Option<Box<str>>> + Clone {
    prop_oneof![8 => Just(None), 1 => Just(Some("unreadable".into()))]
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = || prop::collection::vec(rule(), 0..3);
    let place = (texts(&["default", "first", "missing"]), orders(), selector());
    let flags = any::<[bool; 3]>();
    let sort =
        prop_oneof![4 => Just([false; 2]), 1 => Just([true, false]), 1 => Just([false, true])];
    (place, flags, sort, any::<bool>(), rules(), rules(), broken()).prop_map(
        |((tier, order, selector), flags, sort, apply_on_forward, ingress, egress, broken)| {
            Policy {
                tier,
                order,
                selector,
                applies_to_ingress: flags[0],
                applies_to_egress: flags[1],
                ingress,
                egress,
                staged: flags[2],
                do_not_track: sort[0],
                pre_dnat: sort[1],
                apply_on_forward,
                broken,
            }
        },
    )
}

fn profiles() -> impl Strategy<Value = Vec<Box<str>>> + Clone {
    prop::collection::vec(texts(&["one", "two", "none"]), 0..3)
}

fn nodes() -> impl Strategy<Value = Box<str>> + Clone {
    texts(&["here", "there"])
}

fn names() -> impl Strategy<Value = Box<str>> + Clone {
    texts(&["p", "q", "r"])
}

fn workload() -> impl Strategy<Value = Workload> {
    let addresses = prop::collection::vec(address(), 0..3);
    let sources = prop::collection::vec(net(), 0..2);
    (nodes(), addresses, labels(), profiles(), named_ports(), sources).prop_map(
        |(node, addresses, labels, profiles, ports, allowed_sources)| Workload {
            node,
            interface: "cali1".into(),
            addresses,
            labels,
            profiles,
            ports,
            allowed_sources,
        },
    )
}

fn host_endpoint() -> impl Strategy<Value = HostEndpoint> {
    let addresses = prop::collection::vec(address(), 0..3);
    (nodes(), addresses, labels(), profiles(), named_ports()).prop_map(
        |(node, addresses, labels, profiles, ports)| HostEndpoint {
            node,
            interface: "*".into(),
            addresses,
            labels,
            profiles,
            ports,
        },
    )
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let ports = prop::collection::vec((prop::sample::select(vec![6u8, 17]), 80u16..82), 0..3);
    (service(), prop::collection::vec(address(), 0..3), ports)
        .prop_map(|(service, addresses, ports)| EndpointSlice { service, addresses, ports })
}

fn there<T: std::fmt::Debug + Clone>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Box<T>>> {
    prop_oneof![1 => Just(None), 3 => strategy.prop_map(|it| Some(Box::new(it)))]
}

/// One change of a small cluster.
pub(crate) fn update() -> impl Strategy<Value = Update> {
    let namespace = || texts(&["x", "y"]);
    let kinds = vec![
        PolicyKind::GlobalNetworkPolicy,
        PolicyKind::NetworkPolicy,
        PolicyKind::StagedNetworkPolicy,
    ];
    let policy_id = (prop::sample::select(kinds), texts(&["", "x"]), names())
        .prop_map(|(kind, namespace, name)| PolicyId { kind, namespace, name });
    let rules = || prop::collection::vec(rule(), 0..2);
    let profile = (rules(), rules(), labels(), broken())
        .prop_map(|(ingress, egress, labels, broken)| Profile { ingress, egress, labels, broken });
    let tier = (orders(), prop::sample::select(vec![DefaultAction::Deny, DefaultAction::Pass]))
        .prop_map(|(order, default_action)| Tier { order, default_action });
    let set = (prop::collection::vec(net(), 0..4), labels(), profiles())
        .prop_map(|(nets, labels, profiles)| NetworkSet { nets, labels, profiles });
    prop_oneof![
        4 => (namespace(), names(), there(workload())).prop_map(|(namespace, name, workload)| {
            Update::Workload(WorkloadId { namespace, name }, workload)
        }),
        2 => (names(), there(host_endpoint())).prop_map(|(name, endpoint)| {
            Update::HostEndpoint(name.into(), endpoint)
        }),
        5 => (policy_id, there(policy())).prop_map(|(id, policy)| Update::Policy(id, policy)),
        1 => (texts(&["default", "first"]), there(tier)).prop_map(|(name, tier)| {
            Update::Tier(name.into(), tier.map(|tier| *tier))
        }),
        2 => (texts(&["one", "two"]), there(profile)).prop_map(|(name, profile)| {
            Update::Profile(name.into(), profile)
        }),
        2 => (namespace(), names(), there(set)).prop_map(|(namespace, name, set)| {
            Update::NetworkSet(NetworkSetId { namespace, name }, set)
        }),
        2 => (names(), there(slice())).prop_map(|(name, slice)| {
            Update::EndpointSlice(EndpointSliceId { namespace: "x".into(), name }, slice)
        }),
    ]
}
