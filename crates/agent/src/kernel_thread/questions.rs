//! What the kernel holds, for those who ask: chains with their counters, and where packets go.

use super::tables::OwnTables;
use linux::rtnetlink::Rtnetlink;
use node::RequestId;
use node::explain::{HeldRoute, KernelHolds, KernelQuestion};
use std::sync::{Arc, Mutex, PoisonError};

/// Questions that wait for the thread; the core bounds how many.
#[derive(Clone, Default)]
pub(super) struct Questions(Arc<Mutex<Vec<(RequestId, KernelQuestion)>>>);

impl Questions {
    pub(super) fn put(&self, id: RequestId, question: KernelQuestion) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, question));
    }

    pub(super) fn take(&self) -> Vec<(RequestId, KernelQuestion)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads what was asked for.
pub(super) fn read(
    question: &KernelQuestion,
    tables: &mut OwnTables,
    netlink: &mut Rtnetlink,
) -> KernelHolds {
    let mut holds = KernelHolds::default();
    for (family, chain) in &question.chains {
        match tables.chain(*family, chain) {
            Ok(chain) => holds.chains.push(chain),
            Err(error) => holds.problems.push(error.to_string()),
        }
    }
    match netlink.route_get(question.destination) {
        Ok(path) => {
            let (device, gateway, local) = (path.device, path.gateway, path.local);
            holds.route = Some(HeldRoute { device, gateway, local });
        }
        Err(error) if error.is_absent() => {}
        Err(error) => holds.problems.push(error.to_string()),
    }
    holds
}
