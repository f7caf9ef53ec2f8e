//! Which pools a workload's addresses may come from.
//!
//! Source: Calico's reference, "Configure the Calico CNI plugins", IPAM, and "IP pool".

use crate::{Error, Pool};
use ipnet::IpNet;
use model::{AllowedUse, AssignmentMode, IpPool, Selector};
use std::collections::BTreeMap;

/// Who wants addresses for its workloads, and of which pools.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The node.
    pub host: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The labels of the workload's namespace; `None`: it has none.
    pub namespace: Option<&'a BTreeMap<String, String>>,
    /// IPv4 addresses, or else IPv6.
    pub ipv4: bool,
    /// Pools by name or prefix; empty: whatever selects the node and the namespace.
    pub wished: &'a [String],
}

/// The pools that a demand is met from. Pools asked for by name or prefix are used whatever they
/// select; without such a wish every enabled automatic pool that selects the node and the workload's
/// namespace is.
///
/// # Errors
/// [`Error::BadPool`] for a wish that cannot be met; [`Error::NoPool`] when nothing is left.
pub fn select_pools<'p>(
    pools: impl IntoIterator<Item = &'p IpPool>,
    demand: &Demand<'_>,
) -> Result<Vec<Pool>, Error> {
    let of_family = |(_, pool): &(&IpPool, Pool)| pool.cidr.addr().is_ipv4() == demand.ipv4;
    let offered = pools.into_iter().filter_map(|resource| Some((resource, Pool::of(resource)?)));
    let offered: Vec<(&IpPool, Pool)> = offered.filter(of_family).collect();
    if !demand.wished.is_empty() {
        return demand.wished.iter().map(|wish| wished(&offered, wish)).collect();
    }
    let mut chosen = Vec::new();
    let mut left_out = Vec::new();
    for (resource, pool) in offered {
        match refusal(resource, demand) {
            None => chosen.push(pool),
            Some(reason) => left_out.push(format!("{} {}: {reason}", pool.name, pool.cidr)),
        }
    }
    if chosen.is_empty() {
        let none = || "none".to_owned();
        let considered = if left_out.is_empty() { none() } else { left_out.join(", ") };
        let family = if demand.ipv4 { "IPv4" } else { "IPv6" };
        return Err(Error::NoPool { family, host: demand.host.to_owned(), considered });
    }
    Ok(chosen)
}

/// The pools that an address asked for by itself may be of, whatever they select.
pub fn pools_of_requested<'p>(pools: impl IntoIterator<Item = &'p IpPool>) -> Vec<Pool> {
    pools.into_iter().filter(|pool| unusable(pool).is_none()).filter_map(Pool::of).collect()
}

fn wished(offered: &[(&IpPool, Pool)], wish: &str) -> Result<Pool, Error> {
    let is_meant = |(_, pool): &&(&IpPool, Pool)| {
        pool.name == wish || wish.parse::<IpNet>().is_ok_and(|net| net == pool.cidr)
    };
    let bad = |reason: &str| Error::BadPool { pool: wish.to_owned(), reason: reason.to_owned() };
    let (resource, pool) =
        offered.iter().find(is_meant).ok_or_else(|| bad("it does not exist in this family"))?;
    match unusable(resource) {
        Some(reason) => Err(bad(reason)),
        None => Ok(pool.clone()),
    }
}

fn unusable(pool: &IpPool) -> Option<&'static str> {
    if pool.spec.disabled {
        Some("it is disabled")
    } else if !pool.spec.allows(AllowedUse::Workload) {
        Some("its allowedUses have no Workload")
    } else {
        None
    }
}

fn refusal(pool: &IpPool, demand: &Demand<'_>) -> Option<String> {
    let spec = &pool.spec;
    let unreadable =
        [("nodeSelector", &spec.node_selector), ("namespaceSelector", &spec.namespace_selector)]
            .into_iter()
            .find_map(|(field, text)| Some((field, Selector::parse(text.as_ref()?).err()?)));
    let reason = if let Some(reason) = unusable(pool) {
        reason
    } else if spec.assignment_mode == Some(AssignmentMode::Manual) {
        "its assignmentMode is Manual"
    } else if let Some((field, why)) = unreadable {
        return Some(format!("its {field} cannot be read: {why}"));
    } else if !spec.selects_node(demand.labels) {
        "its nodeSelector does not select the node"
    } else if !spec.selects_namespace(demand.namespace.unwrap_or(&BTreeMap::new())) {
        "its namespaceSelector does not select the namespace"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::IpPoolSpec;

    fn pools() -> Vec<IpPool> {
        let pool = |name: &str, cidr: &str, change: fn(&mut IpPoolSpec)| {
            let mut spec = IpPoolSpec { cidr: cidr.to_owned(), ..IpPoolSpec::default() };
            change(&mut spec);
            IpPool::new(name, spec)
        };
        vec![
            pool("all", "10.0.0.0/16", |_| {}),
            pool("rack", "10.1.0.0/16", |spec| spec.node_selector = Some("rack == 'a'".into())),
            pool("manual", "10.2.0.0/16", |spec| {
                spec.assignment_mode = Some(AssignmentMode::Manual);
            }),
            pool("off", "10.3.0.0/16", |spec| spec.disabled = true),
            pool("tunnels", "10.4.0.0/16", |spec| {
                spec.allowed_uses = Some(vec![AllowedUse::Tunnel]);
            }),
            pool("six", "fd00::/48", |_| {}),
            pool("shop", "10.5.0.0/16", |spec| {
                spec.namespace_selector = Some("team == 'shop'".into());
            }),
            pool("unreadable", "ten", |_| {}),
            pool("typo", "10.6.0.0/16", |spec| spec.node_selector = Some("rack = 'a'".into())),
        ]
    }

    fn selected(ipv4: bool, rack: &str, wished: &[&str]) -> Result<Vec<String>, String> {
        selected_for(None, ipv4, rack, wished)
    }

    fn selected_for(
        team: Option<&str>,
        ipv4: bool,
        rack: &str,
        wished: &[&str],
    ) -> Result<Vec<String>, String> {
        let labels = BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
        let namespace = team.map(|team| BTreeMap::from([("team".to_owned(), team.to_owned())]));
        let namespace = namespace.as_ref();
        let wished: Vec<String> = wished.iter().map(|wish| (*wish).to_owned()).collect();
        let demand = Demand { host: "worker-1", labels: &labels, namespace, ipv4, wished: &wished };
        let pools = select_pools(&pools(), &demand).map_err(|error| error.to_string())?;
        Ok(pools.into_iter().map(|pool| pool.name).collect())
    }

    #[test]
    fn without_a_wish_all_that_select_the_node_are_used() {
        assert_eq!(selected(true, "a", &[]).unwrap(), ["all", "rack"]);
        assert_eq!(selected(true, "b", &[]).unwrap(), ["all"]);
        assert_eq!(selected(false, "b", &[]).unwrap(), ["six"]);
    }

    #[test]
    fn some_pools_are_for_some_namespaces() {
        assert_eq!(selected_for(Some("shop"), true, "b", &[]).unwrap(), ["all", "shop"]);
        assert_eq!(selected_for(Some("bank"), true, "b", &[]).unwrap(), ["all"]);
        assert_eq!(selected_for(Some("bank"), true, "b", &["shop"]).unwrap(), ["shop"]);
    }

    #[test]
    fn a_wish_goes_past_selectors_but_not_past_what_is_off() {
        let wish = ["manual", "10.1.0.0/16"];
        assert_eq!(selected(true, "b", &wish).unwrap(), ["manual", "rack"]);
        for (wish, said) in [
            ("off", "off was asked for but it is disabled"),
            ("tunnels", "its allowedUses have no Workload"),
            ("six", "does not exist"),
            ("nonesuch", "does not exist"),
        ] {
            let error = selected(true, "a", &["all", wish]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn when_nothing_is_left_each_pool_says_why() {
        let labels = BTreeMap::new();
        let (host, namespace) = ("worker-1", None);
        let demand = Demand { host, labels: &labels, namespace, ipv4: true, wished: &[] };
        let error = select_pools(&pools()[1..], &demand).unwrap_err().to_string();
        for said in [
            "no IPv4 pool gives addresses to node worker-1",
            "rack 10.1.0.0/16: its nodeSelector does not select the node",
            "manual 10.2.0.0/16: its assignmentMode is Manual",
            "off 10.3.0.0/16: it is disabled",
            "shop 10.5.0.0/16: its namespaceSelector does not select the namespace",
            "typo 10.6.0.0/16: its nodeSelector cannot be read: ",
        ] {
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_address_asked_for_may_be_of_any_pool_in_use() {
        let names = pools_of_requested(&pools()).into_iter().map(|pool| pool.name);
        assert_eq!(names.collect::<Vec<_>>(), ["all", "rack", "manual", "six", "shop", "typo"]);
    }
}
