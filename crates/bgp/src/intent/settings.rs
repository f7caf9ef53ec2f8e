//! What a BGPPeer says of its sessions, whoever they are with.

use super::Cluster;
use crate::configuration::{NextHop, RESTART_TIME_DEFAULT};
use crate::filter::{self, Filter, Rule};
use model::{BgpFilter, BgpPeer, duration};

/// The most that RFC 4724's field of 12 bits takes.
const RESTART_TIME_MAX: u64 = 4095;

/// What a BGPPeer says of its sessions.
pub(super) struct Settings {
    pub(super) use_node_address: bool,
    pub(super) restart_time: u16,
    pub(super) keepalive_time: Option<u16>,
    pub(super) next_hop: NextHop,
    /// `keepOriginalNextHop`: towards other ASes only.
    pub(super) keep_next_hop: bool,
    pub(super) ttl_security: Option<u8>,
    pub(super) allowed_own_as: u8,
    pub(super) import: Vec<Filter>,
    pub(super) export: Vec<Filter>,
}

impl Settings {
    pub(super) fn of(
        resource: &BgpPeer,
        cluster: &Cluster<'_>,
        problems: &mut Vec<String>,
    ) -> Settings {
        let spec = &resource.spec;
        let at = format!("BGPPeer({})", resource.metadata.name);
        if spec.password.is_some() {
            problems.push(format!(
                "{at}: its password is in a Secret, which cannot be read without Kubernetes, so \
                 the session does without; leave it out on both ends"
            ));
        }
        if let (Some((peer, _)), false) = (spec.peer_address(), spec.reachable_by.is_empty()) {
            problems.push(format!(
                "{at}: reachableBy makes no route here; add it yourself: ip route add {peer} via {}",
                spec.reachable_by
            ));
        }
        let restart = spec.max_restart_time.as_deref();
        let keepalive = spec.keepalive_time.as_deref();
        let allowed = spec.num_allowed_local_as_numbers.unwrap_or_default();
        Settings {
            use_node_address: spec.source_address.as_deref() != Some("None"),
            restart_time: restart_time(&format!("{at}: maxRestartTime"), restart, problems),
            keepalive_time: seconds(&format!("{at}: keepaliveTime"), keepalive, problems)
                .map(|seconds| seconds.clamp(1, u64::from(u16::MAX)) as u16),
            next_hop: match spec.next_hop_mode.as_deref() {
                Some("Self") => NextHop::Own,
                Some("Keep") => NextHop::Keep,
                _ => NextHop::Auto,
            },
            keep_next_hop: spec.keep_original_next_hop,
            ttl_security: spec.ttl_security.filter(|hops| *hops > 0),
            allowed_own_as: u8::try_from(allowed.max(0)).unwrap_or(u8::MAX),
            import: filters(&at, resource, cluster, filter::import_rules, problems),
            export: filters(&at, resource, cluster, filter::export_rules, problems),
        }
    }
}

/// Seconds that a peer should keep our routes while we restart.
pub(super) fn restart_time(what: &str, text: Option<&str>, problems: &mut Vec<String>) -> u16 {
    match seconds(what, text, problems) {
        Some(seconds) => seconds.min(RESTART_TIME_MAX) as u16,
        None => RESTART_TIME_DEFAULT,
    }
}

/// A Go duration in whole seconds, rounded.
fn seconds(what: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<u64> {
    let text = text?;
    let read = duration::parse(text).map(|duration| duration.as_secs_f64().round() as u64);
    if read.is_none() {
        problems.push(format!(
            "{what} is '{text}', which is no duration, so the default counts; write one such as 90s"
        ));
    }
    read
}

/// A filter that isn't there filters nothing, as in Calico.
fn filters(
    at: &str,
    resource: &BgpPeer,
    cluster: &Cluster<'_>,
    rules: fn(&BgpFilter) -> (Vec<Rule>, Vec<String>),
    problems: &mut Vec<String>,
) -> Vec<Filter> {
    let mut filters = Vec::new();
    for name in &resource.spec.filters {
        let Some(filter) = cluster.filters.get(name) else {
            problems.push(format!(
                "{at}: there is no BGPFilter({name}), so nothing is filtered by it; create it, or \
                 take it out of filters"
            ));
            continue;
        };
        let (rules, wrong) = rules(filter);
        problems.extend(wrong);
        if !rules.is_empty() {
            filters.push(Filter { name: name.clone(), rules });
        }
    }
    filters
}
