use super::Slot;
use kernel::nft::{Family, Part, Update};

fn update(name: &str) -> Update {
    Update { family: Family::Ip, table: "calico".into(), part: Part::Chain(name.into(), None) }
}

#[test]
fn updates_outlive_the_plan_they_came_with() {
    let slot = Slot::default();
    slot.put((1, Box::default()), vec![update("a"), update("b")]);
    slot.put((2, Box::default()), vec![]);
    slot.put((3, Box::default()), vec![update("a")]);
    let ((generation, _), updates) = slot.take().expect("a plan");
    assert_eq!((generation, updates), (3, vec![update("a"), update("b"), update("a")]));
    assert!(slot.take().is_none());
}
