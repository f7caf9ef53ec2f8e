//! Which addresses are lost: held for a pod that isn't there, or on a node that isn't.
//!
//! ```text
//!  held for a pod ─┬─ the pod is there and has it, or may get it ──▶ live
//!                  └─ else ─┬─ its node is gone ──▶ leaked at once
//!                           └─ a suspect, from now; so for longer than the grace ──▶ leaked
//!  of a tunnel     ─── its node is gone and holds nothing else ──▶ released with the node
//!  anything else   ─── live, and its node is kept
//! ```
//!
//! An address is valid until proven otherwise: what cannot be judged is live. All addresses of one
//! handle are leaked, or none is. Whoever frees a leak asks the API for the pod once more
//! ([`is_held`]). Nothing here reads a clock or a datastore.
//!
//! Source: `calico-features.md` §4 ("GC"). Other than Calico's, an address that isn't among a pod's
//! is live as long as its handle names the pod's own sandbox: it may be of another network.

use crate::cluster::{Allocation, Block, Cluster, Holder, Host, Pod};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// The handle of Windows' own addresses.
const WINDOWS_RESERVED: &str = "windows-reserved-ipam-handle";
/// How the attribute `type` of tunnels' addresses ends.
const TUNNEL: &str = "TunnelAddress";
/// The shortest grace where the pod is there: CNI ADD may be under way, which takes 90 s at most.
const SANDBOX_GRACE: Duration = Duration::from_secs(120);

/// When what seems lost was first seen so, by the clock of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    addresses: BTreeMap<IpAddr, Suspect>,
    /// Blocks without a held or resting address.
    empty: BTreeMap<IpNet, Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspect {
    handle: Box<str>,
    sequence_number: Option<u64>,
    since: Duration,
}

/// All addresses of a handle, lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leak {
    pub(crate) handle: String,
    /// By block, with the numbers at which they were assigned.
    pub(crate) addresses: BTreeMap<IpNet, BTreeMap<IpAddr, Option<u64>>>,
    /// The pods that they were for: node in Kubernetes, namespace, name.
    pub(crate) pods: BTreeSet<(String, String, String)>,
    /// The nodes that must be gone for it.
    pub(crate) gone: BTreeSet<String>,
}

/// A node that is gone and holds nothing but what is released with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoneHost {
    pub(crate) host: String,
    pub(crate) tunnels: Vec<Leak>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) leaks: Vec<Leak>,
    pub(crate) hosts: Vec<GoneHost>,
    /// Blocks that their nodes have no use for.
    pub(crate) blocks: Vec<(String, IpNet)>,
    /// Empty blocks that nobody claims.
    pub(crate) unclaimed: Vec<IpNet>,
    /// Addresses that seem lost, by block and node.
    pub(crate) candidates: BTreeMap<(IpNet, String), usize>,
    /// When to look again although nothing has changed.
    pub(crate) next: Option<Duration>,
}

/// What an address is held for, by its handle and attributes.
pub(crate) fn holder(handle: Option<&str>, attributes: &BTreeMap<String, String>) -> Holder {
    if handle == Some(WINDOWS_RESERVED) {
        return Holder::Reserved;
    }
    if attributes.get("type").is_some_and(|kind| kind.ends_with(TUNNEL)) {
        return Holder::Tunnel;
    }
    match (attributes.get("namespace"), attributes.get("pod")) {
        // A virtual machine keeps its address while it has no pod.
        (Some(namespace), Some(name)) if !attributes.contains_key("vmi-name") => {
            Holder::Pod { namespace: namespace.as_str().into(), name: name.as_str().into() }
        }
        _ => Holder::Other,
    }
}

/// Whether a pod has, or may be about to have, an address that is held for it.
pub(crate) fn is_held(pod: Option<&Pod>, address: IpAddr, handle: &str) -> bool {
    let Some(pod) = pod else { return false };
    if pod.addresses.contains(&address) || pod.container.is_empty() {
        return true;
    }
    let of_sandbox = handle.rsplit('.').next() == Some(&*pod.container);
    of_sandbox && !pod.addresses.is_empty()
}

/// What is lost now. `grace` is how long an address may seem so, zero for ever; `now` is a time of
/// the process's clock. Returns the suspects for the next time.
pub(crate) fn judge(
    cluster: &Cluster,
    before: &Suspects,
    grace: Duration,
    now: Duration,
) -> (Suspects, Findings) {
    let mut judgement = Judgement {
        cluster,
        before,
        grace,
        now,
        suspects: Suspects::default(),
        handles: BTreeMap::new(),
        hosts: BTreeMap::new(),
        findings: Findings::default(),
    };
    judgement.claimed_hosts();
    for (cidr, block) in &cluster.blocks {
        for allocation in &block.held {
            judgement.allocation(*cidr, allocation);
        }
        if block.is_empty && !block.is_claimed {
            judgement.findings.unclaimed.push(*cidr);
        }
    }
    judgement.leaks();
    judgement.gone_hosts();
    judgement.empty_blocks();
    (judgement.suspects, judgement.findings)
}

impl Suspects {
    /// An address of this handle has proved to be live: it becomes a suspect anew at the earliest.
    pub(crate) fn acquit(&mut self, leak: &Leak, now: Duration) {
        for suspect in self.addresses.values_mut().filter(|one| *one.handle == *leak.handle) {
            suspect.since = now;
        }
    }
}

/// What is held under a handle.
#[derive(Default)]
struct OfHandle {
    leak: Leak,
    /// When all of it is a leak; `None`: never, as it is.
    due: Option<Duration>,
    is_known: bool,
}

/// What a node that is gone still has.
#[derive(Default)]
struct OfHost {
    holds: bool,
    tunnels: BTreeMap<String, Leak>,
}

struct Judgement<'a> {
    cluster: &'a Cluster,
    before: &'a Suspects,
    grace: Duration,
    now: Duration,
    suspects: Suspects,
    handles: BTreeMap<&'a str, OfHandle>,
    hosts: BTreeMap<&'a str, OfHost>,
    findings: Findings,
}

/// What an allocation is.
enum Verdict {
    Live,
    /// So long after it was first seen.
    Suspect(Duration),
    AtOnce,
}

impl<'a> Judgement<'a> {
    fn is_gone(&self, host: &str) -> bool {
        self.cluster.host(host) == Host::Gone
    }

    fn claimed_hosts(&mut self) {
        let of_affinities = self.cluster.affinities.iter().map(|(host, _)| host.as_str());
        let of_blocks = self.cluster.blocks.values().filter_map(|block| block.host.as_deref());
        for host in of_affinities.chain(of_blocks) {
            if self.is_gone(host) {
                self.hosts.entry(host).or_default();
            }
        }
    }

    fn allocation(&mut self, cidr: IpNet, allocation: &'a Allocation) {
        let gone = allocation.node.as_deref().filter(|node| self.is_gone(node));
        if let Some(node) = gone {
            let host = self.hosts.entry(node).or_default();
            match (&allocation.holder, allocation.handle.as_deref()) {
                (Holder::Reserved, _) => {}
                (Holder::Tunnel, Some(handle)) => {
                    let tunnel = host.tunnels.entry(handle.to_owned()).or_default();
                    tunnel.add(handle, cidr, allocation);
                    tunnel.gone.insert(node.to_owned());
                    return;
                }
                _ => host.holds = true,
            }
        }
        let Some(handle) = allocation.handle.as_deref() else { return };
        let due = match self.verdict(allocation, handle) {
            Verdict::Live => None,
            Verdict::AtOnce => Some(self.now),
            Verdict::Suspect(grace) => {
                let since = self.suspect(cidr, allocation, handle);
                (!self.grace.is_zero()).then(|| since.saturating_add(grace))
            }
        };
        let of_handle = self.handles.entry(handle).or_default();
        of_handle.leak.add(handle, cidr, allocation);
        if let Holder::Pod { namespace, name } = &allocation.holder
            && let Some(node) = allocation.node.as_deref()
        {
            let node_of_pod = match self.cluster.host(node) {
                Host::Present(kubernetes) => kubernetes,
                _ => node,
            };
            let pod = (node_of_pod.to_owned(), namespace.to_string(), name.to_string());
            of_handle.leak.pods.insert(pod);
        }
        if let Some(node) = gone {
            of_handle.leak.gone.insert(node.to_owned());
        }
        of_handle.due = match (of_handle.is_known, of_handle.due, due) {
            (false, _, due) => due,
            (true, Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
        of_handle.is_known = true;
    }

    fn verdict(&self, allocation: &Allocation, handle: &str) -> Verdict {
        let Holder::Pod { namespace, name } = &allocation.holder else { return Verdict::Live };
        let Some(node) = allocation.node.as_deref() else { return Verdict::Live };
        let (kubernetes, is_gone) = match self.cluster.host(node) {
            Host::Foreign => return Verdict::Live,
            Host::Present(kubernetes) => (kubernetes, false),
            Host::Gone => (node, true),
        };
        let pod = self.cluster.pod(kubernetes, namespace, name);
        if is_held(pod, allocation.address, handle) {
            return Verdict::Live;
        }
        match (is_gone, pod) {
            (true, _) => Verdict::AtOnce,
            (false, None) => Verdict::Suspect(self.grace),
            (false, Some(_)) => Verdict::Suspect(self.grace.max(SANDBOX_GRACE)),
        }
    }

    /// Since when the address seems lost.
    fn suspect(&mut self, cidr: IpNet, allocation: &Allocation, handle: &str) -> Duration {
        let number = allocation.sequence_number;
        let known = self.before.addresses.get(&allocation.address);
        let known = known.filter(|one| *one.handle == *handle && one.sequence_number == number);
        let since = known.map_or(self.now, |one| one.since);
        let suspect = Suspect { handle: handle.into(), sequence_number: number, since };
        self.suspects.addresses.insert(allocation.address, suspect);
        let node = allocation.node.as_deref().unwrap_or_default().to_owned();
        *self.findings.candidates.entry((cidr, node)).or_default() += 1;
        since
    }

    fn leaks(&mut self) {
        for of_handle in std::mem::take(&mut self.handles).into_values() {
            match of_handle.due {
                Some(due) if due <= self.now => self.findings.leaks.push(of_handle.leak),
                Some(due) => self.look_again(due),
                None => {}
            }
        }
    }

    fn gone_hosts(&mut self) {
        for (host, found) in std::mem::take(&mut self.hosts) {
            if !found.holds {
                let tunnels = found.tunnels.into_values().collect();
                self.findings.hosts.push(GoneHost { host: host.to_owned(), tunnels });
            }
        }
    }

    /// A block that has been empty for the grace, of a node that keeps another.
    fn empty_blocks(&mut self) {
        if self.grace.is_zero() {
            return;
        }
        let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
        let mut empty: Vec<(&str, IpNet)> = Vec::new();
        for (cidr, Block { host, is_empty, .. }) in &self.cluster.blocks {
            let Some(host) = host.as_deref() else { continue };
            if !matches!(self.cluster.host(host), Host::Present(_)) {
                continue;
            }
            *kept.entry(host).or_default() += 1;
            if *is_empty {
                empty.push((host, *cidr));
            }
        }
        for (host, cidr) in empty {
            let since = self.before.empty.get(&cidr).copied().unwrap_or(self.now);
            self.suspects.empty.insert(cidr, since);
            let left = kept.get_mut(host).filter(|left| **left > 1);
            let Some(left) = left else { continue };
            *left -= 1;
            let due = since.saturating_add(self.grace);
            if due > self.now {
                self.look_again(due);
            } else {
                self.findings.blocks.push((host.to_owned(), cidr));
            }
        }
    }

    fn look_again(&mut self, due: Duration) {
        self.findings.next = Some(self.findings.next.map_or(due, |next| next.min(due)));
    }
}

impl Leak {
    fn add(&mut self, handle: &str, cidr: IpNet, allocation: &Allocation) {
        handle.clone_into(&mut self.handle);
        let of_block = self.addresses.entry(cidr).or_default();
        of_block.insert(allocation.address, allocation.sequence_number);
    }
}

#[cfg(test)]
mod tests;
