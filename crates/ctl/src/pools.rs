//! What pools must satisfy beside each other and across changes; nothing for other kinds.

use crate::Error;
use model::{Entry, IpPool, Key, Kind, Problem, Problems, Query, Resource, Spec};
use store::{Datastore, typed};

/// The resource as a pool, if it is one that can be read.
pub(crate) fn of<S: Spec>(resource: &Resource<S>) -> Option<IpPool> {
    if S::KIND != Kind::IpPool {
        return None;
    }
    serde_json::from_value(serde_json::to_value(resource).ok()?).ok()
}

/// A new pool overlaps none that is stored or in `earlier`, and no blocks of another size are left
/// in its range from an earlier pool.
pub(crate) async fn check_new<S: Spec>(
    datastore: &dyn Datastore,
    resource: &Resource<S>,
    earlier: &[IpPool],
) -> Result<(), Error> {
    let Some(new) = of(resource) else { return Ok(()) };
    let mut others: Vec<IpPool> = typed::list(datastore, None).await?;
    others.extend_from_slice(earlier);
    refuse(&new, model::validate::validate_pools(&new, &others))?;
    let blocks = datastore.list(&Query::Blocks).await?.entries;
    refuse(&new, blocks_fit(&new, &blocks))
}

fn blocks_fit(new: &IpPool, blocks: &[Entry]) -> Result<(), Vec<Problem>> {
    let (net, size) = (new.spec.net().map_err(|problem| vec![problem])?, new.spec.block_size());
    let mut problems = Problems::default();
    for entry in blocks {
        if let Key::Block(block) = &entry.key
            && net.contains(block)
            && block.prefix_len() != size
        {
            let reason = format!(
                "block {block} of an earlier pool is still in this range: set {}, or move the \
                 workloads that hold its addresses first (calicoctl ipam show --show-blocks)",
                block.prefix_len()
            );
            problems.add("spec.blockSize", size, reason);
            break;
        }
    }
    problems.into_result()
}

/// A stored pool keeps its range, block size and kind of use.
pub(crate) fn check_update<S: Spec>(old: &Resource<S>, new: &Resource<S>) -> Result<(), Error> {
    match (of(old), of(new)) {
        (Some(old), Some(new)) => refuse(&new, model::validate::validate_pool_update(&old, &new)),
        _ => Ok(()),
    }
}

fn refuse(pool: &IpPool, checked: Result<(), Vec<Problem>>) -> Result<(), Error> {
    checked.map_err(|problems| Error::problems(&pool.key(), &problems))
}
