//! What the machine has, read once at start-up.

use crate::autodetect::{Family, Interface, Method};
use crate::settings::OwnAddress;
use crate::startup::Machine;
use anyhow::{Context, Result};
use linux::rtnetlink::Rtnetlink;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads interfaces and addresses; for `can-reach` also asks which way the kernel would go.
pub(crate) async fn read(own: &[&OwnAddress]) -> Result<Machine> {
    let root = "calico-node must run as root, with the node's network namespace";
    let mut netlink = Rtnetlink::open().context(root)?;
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for link in netlink.links().context(root)? {
        let interface = Interface {
            index: link.index,
            name: link.name.clone(),
            up: link.link.up,
            addresses: vec![],
        };
        interfaces.insert(link.name, interface);
    }
    for entry in netlink.addresses().context(root)? {
        if let Some(interface) = interfaces.get_mut(&entry.device)
            && !entry.deprecated
            && !entry.tentative
        {
            interface.addresses.push(entry.address);
        }
    }
    let mut reached_from = Vec::new();
    for own in own.iter().filter(|own| own.is_detected()) {
        if let Ok(Method::CanReach(target)) = Method::parse(own.family, &own.method) {
            reached_from.extend(from(&mut netlink, own.family, &target).await?);
        }
    }
    Ok(Machine { interfaces: interfaces.into_values().collect(), reached_from })
}

async fn from(netlink: &mut Rtnetlink, family: Family, target: &str) -> Result<Option<IpAddr>> {
    let what = || format!("{}_AUTODETECTION_METHOD=can-reach={target}", family.variable());
    let destination = resolve(family, target)
        .await
        .with_context(|| format!("{}: the name cannot be resolved", what()))?;
    let path =
        netlink.route_get(destination).with_context(|| format!("{}: there is no route", what()))?;
    Ok(path.source)
}

/// An address, or a name that the store's resolver knows.
async fn resolve(family: Family, target: &str) -> Result<IpAddr> {
    if let Ok(address) = target.parse() {
        return Ok(address);
    }
    let addresses = store::resolve(target).await?;
    let of_family = addresses.into_iter().find(|address| family.has(*address));
    of_family.context("it has no address of that family")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn can_reach_takes_a_name() {
        let loopback = [IpAddr::from([127, 0, 0, 1])];
        for target in ["localhost", "127.0.0.1"] {
            let (value, method) = (String::new(), format!("can-reach={target}"));
            let own = OwnAddress { family: Family::V4, value, method };
            let machine = read(&[&own]).await.expect(target);
            assert_eq!(machine.reached_from, loopback, "{target}");
        }
    }
}
