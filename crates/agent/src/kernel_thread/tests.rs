use super::{Slot, Waiting};
use kernel::nft::{Family, Part, Update};
use plan::Plan;
use std::sync::Arc;

fn update(name: &str) -> Update {
    Update { family: Family::Ip, table: "calico".into(), part: Part::Chain(name.into(), None) }
}

#[test]
fn updates_and_plan_outlive_what_they_came_with() {
    let slot = Slot::default();
    let plan = |mtu| Some(Arc::new(Plan { pod_mtu: mtu, ..Plan::default() }));
    let waiting = |generation, plan, updates| Waiting { generation, plan, updates };
    slot.put(waiting(1, plan(1400), vec![update("a"), update("b")]));
    slot.put(waiting(2, plan(1450), vec![]));
    slot.put(waiting(3, None, vec![update("a")]));
    let all = vec![update("a"), update("b"), update("a")];
    assert_eq!(slot.take(), Some(waiting(3, plan(1450), all)));
    assert_eq!(slot.take(), None);
}
