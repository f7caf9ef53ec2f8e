//! From a policy that the datastore has accepted to packets that meet it.

use super::datastore::Datastore;
use super::groups;
use super::plugin::Kind;
use super::pods::Pods;
use super::probe::{Fate, Probe};
use anyhow::{Context, Result, ensure};
use model::{Action, EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, PolicyType, Rule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Packets flow so long before a policy is written.
const LEAD: Duration = Duration::from_millis(5);
/// How long policies that are deleted may take to be forgotten.
const FORGET: Duration = Duration::from_millis(50);
/// How long the agent is left alone after what was written in bulk.
const SETTLE: Duration = Duration::from_secs(3);
const PORT: u16 = 4000;
const DENY: &str = "bench-deny";
const ALLOW: &str = "bench-allow";

/// How many resources there are beside those that are measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Others {
    /// Policies, of groups of ten.
    #[arg(long, default_value_t = 0)]
    pub policies: u32,
    /// Endpoints on other nodes, spread over the groups.
    #[arg(long, default_value_t = 0)]
    pub endpoints: u32,
}

/// How long new policies took to be in force.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// Packets that were allowed were dropped.
    pub(crate) deny: Vec<Latency>,
    /// Packets that were denied arrived.
    pub(crate) allow: Vec<Latency>,
}

/// Milliseconds until the first packet met a new policy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// From when the datastore was asked to write it.
    pub(crate) from_request: f64,
    /// From the datastore's answer; 0 where that came later than the packet.
    pub(crate) from_answer: f64,
}

/// Creates policies on a pod of this node that deny, then allow, what another pod of it sends.
///
/// # Errors
/// A pod cannot be connected, the datastore refuses, or a policy is not in force in good time.
pub(crate) fn measure(changes: u32, others: Others) -> Result<Latencies> {
    let datastore = Datastore::of_node()?;
    write(&datastore, others)?;
    let role = |number| BTreeMap::from([("role".to_owned(), format!("pod-{number}"))]);
    let pods = Pods::prepare(Kind::Calico, 2, role)?;
    let receiver = pods.add()?.last().context("no pod")?.0;
    let namespaces = pods.namespaces()?;
    let mut probe = Probe::new(&namespaces[0], &namespaces[1], receiver, PORT)?;
    probe.until(Fate::Delivered)?;
    let mut latencies = Latencies::default();
    for _ in 0..changes {
        let deny = policy(DENY, 20.0, Action::Deny);
        latencies.deny.push(in_force(&datastore, &mut probe, deny, Fate::Dropped)?);
        let allow = policy(ALLOW, 10.0, Action::Allow);
        latencies.allow.push(in_force(&datastore, &mut probe, allow, Fate::Delivered)?);
        for name in [DENY, ALLOW] {
            datastore.delete::<GlobalNetworkPolicySpec>(name)?;
        }
        std::thread::sleep(FORGET);
    }
    drop(probe);
    pods.delete()?;
    Ok(latencies)
}

fn write(datastore: &Datastore, others: Others) -> Result<()> {
    if others.policies == 0 && others.endpoints == 0 {
        return Ok(());
    }
    let groups = others.policies.div_ceil(groups::POLICIES);
    let endpoints = 0..others.endpoints;
    let endpoints = endpoints.map(|number| groups::endpoint(number, number % groups.max(1)));
    datastore.create_all(endpoints.collect())?;
    datastore.create_all((0..groups).flat_map(groups::policies).collect())?;
    std::thread::sleep(SETTLE);
    Ok(())
}

/// On the second pod, about what comes from the first.
fn policy(name: &str, order: f64, action: Action) -> GlobalNetworkPolicy {
    let source = EntityRule { selector: "role == 'pod-1'".to_owned(), ..EntityRule::default() };
    let spec = GlobalNetworkPolicySpec {
        order: Some(order),
        selector: "role == 'pod-2'".to_owned(),
        types: vec![PolicyType::Ingress],
        ingress: vec![Rule { source, ..Rule::new(action) }],
        ..GlobalNetworkPolicySpec::default()
    };
    GlobalNetworkPolicy::new(name, spec)
}

/// Writes a policy while packets flow, until the first one meets it.
fn in_force(
    datastore: &Datastore,
    probe: &mut Probe,
    policy: GlobalNetworkPolicy,
    wanted: Fate,
) -> Result<Latency> {
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| probe.until(wanted));
        std::thread::sleep(LEAD);
        let requested = Instant::now();
        datastore.create(policy)?;
        let answered = Instant::now();
        let since = watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        ensure!(since >= requested, "packets were {wanted:?} before the policy was written");
        let milliseconds = |begun| since.saturating_duration_since(begun).as_secs_f64() * 1e3;
        let (from_request, from_answer) = (milliseconds(requested), milliseconds(answered));
        Ok(Latency { from_request, from_answer })
    })
}
