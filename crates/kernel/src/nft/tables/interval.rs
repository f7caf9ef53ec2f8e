//! Which members the kernel must be told of when some elements of a set have changed.

use super::tracked::Toggled;
use crate::nft::set::disjoint;
use crate::nft::{Element, Set};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Members that go from the kernel and members that come, for a set that differs from the kernel's
/// in some elements. Of intervals the kernel is given those that no other covers, so one that goes
/// may uncover others; only what overlaps a change is looked at.
pub(super) fn difference(desired: &Set, toggled: &Toggled) -> (Vec<Element>, Vec<Element>) {
    if !desired.interval {
        return toggled.iter().partition(|element| !desired.elements.contains(element));
    }
    let (mut gone, mut new) = (vec![], vec![]);
    let mut hulls: Vec<(Element, Element)> = Vec::new();
    for element in toggled {
        if hulls.last().is_some_and(|(_, last)| element <= last) {
            continue;
        }
        hulls.push(match element {
            Element::Net(net) => hull(net, desired, toggled),
            // Ranges of ports overlap in chains, and are few: all of them are looked at.
            _ => (Element::Ports(0, 0), Element::Ports(u16::MAX, u16::MAX)),
        });
    }
    for (first, last) in hulls {
        let within = (Bound::Included(first), Bound::Included(last));
        let kept = desired.elements.range(within).filter(|element| !toggled.contains(element));
        let lost = toggled.range(within).filter(|element| !desired.elements.contains(element));
        let held: BTreeSet<Element> = kept.chain(lost).copied().collect();
        let held = disjoint(held.into_iter());
        let wanted = disjoint(desired.elements.range(within).copied());
        gone.extend(held.difference(&wanted));
        new.extend(wanted.difference(&held));
    }
    (gone, new)
}

/// The first and the last element that may be within the largest prefix that covers this one and
/// that the kernel's or the desired set has.
fn hull(net: &IpNet, desired: &Set, toggled: &Toggled) -> (Element, Element) {
    let known = |element: &Element| desired.elements.contains(element) || toggled.contains(element);
    let wider = (0..net.prefix_len()).filter_map(|length| IpNet::new(net.addr(), length).ok());
    let mut wider = wider.map(|net| net.trunc());
    let hull = wider.find(|net| known(&Element::Net(*net))).unwrap_or(*net);
    // Ordered by address, then length: within a prefix, its last address comes last.
    (Element::Net(hull), Element::from(hull.broadcast()))
}
