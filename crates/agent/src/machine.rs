//! What the machine has, read once at start-up.

use crate::autodetect::{Interface, Method};
use crate::startup::Machine;
use anyhow::{Context, Result};
use linux::rtnetlink::Rtnetlink;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads interfaces and addresses; for `can-reach` also asks which way the kernel would go.
pub(crate) async fn read(method: &str) -> Result<Machine> {
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
    let reached_from = match Method::parse(method) {
        Ok(Method::CanReach(target)) => reached_from(&mut netlink, &target).await?,
        _ => None,
    };
    Ok(Machine { interfaces: interfaces.into_values().collect(), reached_from })
}

async fn reached_from(netlink: &mut Rtnetlink, target: &str) -> Result<Option<IpAddr>> {
    let destination = resolve(target).await?;
    let path = netlink.route_get(destination).with_context(|| {
        format!("IP_AUTODETECTION_METHOD=can-reach={target}: there is no route")
    })?;
    Ok(path.source)
}

/// An address, or a name that the store's resolver knows.
async fn resolve(target: &str) -> Result<IpAddr> {
    if let Ok(address) = target.parse() {
        return Ok(address);
    }
    let found = store::resolve(target).await.map_err(anyhow::Error::from).and_then(|addresses| {
        let v4 = addresses.iter().find(|address| address.is_ipv4());
        v4.copied().context("it has no IPv4 address")
    });
    found.with_context(|| {
        format!("IP_AUTODETECTION_METHOD=can-reach={target}: the name cannot be resolved")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn can_reach_takes_a_name() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        for target in ["localhost", "127.0.0.1"] {
            let machine = read(&format!("can-reach={target}")).await.expect(target);
            assert_eq!(machine.reached_from, loopback, "{target}");
        }
    }
}
