//! What goes with a pool or a node that is deleted: blocks, addresses, endpoints.

use crate::{Error, resources};
use ipam::{Held, ReadConfig, ReleaseAddresses, ReleaseBlockAffinity, ReleaseHost, ReleaseOne};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{AffinityKind, Block, IpPool, Key, Kind, Query, WorkloadEndpoint};
use serde_json::{Value, json};
use store::{Datastore, drive, typed};

/// Before a pool goes it gives no more addresses, and nodes lose its empty blocks. Addresses in use
/// stay with their holders.
pub(crate) async fn empty_pool(datastore: &dyn Datastore, name: &str) -> Result<(), Error> {
    let disable = |pool: &mut Value| {
        pool["spec"]["disabled"] = json!(true);
        Ok(())
    };
    resources::change(datastore, &Key::cluster(Kind::IpPool, name), &disable).await?;
    let pool: Option<IpPool> = typed::get(datastore, None, name).await?;
    // A range that cannot be read has no blocks.
    let Some(net) = pool.and_then(|pool| pool.spec.net().ok()) else { return Ok(()) };
    let all = Query::Affinities { kind: AffinityKind::Host, host: None };
    for entry in datastore.list(&all).await?.entries {
        if let Key::Affinity { host, block, .. } = entry.key
            && net.contains(&block)
        {
            let release = ReleaseBlockAffinity { host, block, now: Timestamp::now() };
            drive(datastore, release.start()).await?;
        }
    }
    Ok(())
}

/// Before a node goes, its endpoints go, the addresses it holds (its own tunnels' too) are free
/// again, and its blocks are nobody's.
pub(crate) async fn release_node(datastore: &dyn Datastore, node: &str) -> Result<(), Error> {
    let config = drive(datastore, ReadConfig.start()).await?;
    let endpoints: Vec<WorkloadEndpoint> = typed::list(datastore, None).await?;
    let mut networks: Vec<IpNet> = Vec::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.spec.node == node) {
        networks
            .extend(endpoint.spec.ip_networks.iter().filter_map(|net| net.parse::<IpNet>().ok()));
        match datastore.delete(&endpoint.key(), None).await {
            Ok(()) | Err(store::Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let addresses = held_by(datastore, node, &networks).await?;
    let now = Timestamp::now();
    drive(datastore, ReleaseAddresses { addresses, config: config.clone(), now }.start()).await?;
    drive(datastore, ReleaseHost { host: node.to_owned(), config, now }.start()).await?;
    Ok(())
}

/// The addresses that say they are the node's, and those of its endpoints.
async fn held_by(
    datastore: &dyn Datastore,
    node: &str,
    networks: &[IpNet],
) -> Result<Vec<ReleaseOne>, Error> {
    let mut found = Vec::new();
    for entry in datastore.list(&Query::Blocks).await?.entries {
        let block: Block = serde_json::from_slice(&entry.value).map_err(|why| {
            store::Error::Corrupt { key: entry.key.clone(), reason: why.to_string() }
        })?;
        let of_node = |held: &Held| {
            held.attributes.get("node").is_some_and(|holder| holder == node)
                || networks.contains(&IpNet::from(held.address))
        };
        let held = ipam::lookup::held(&block).into_iter().filter(of_node);
        found.extend(held.map(|held| ReleaseOne {
            address: held.address,
            handle: held.handle,
            sequence_number: held.sequence_number,
        }));
    }
    Ok(found)
}
