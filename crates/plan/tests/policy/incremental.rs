//! Tables that grew by changes equal tables made afresh.

use crate::inputs::layout;
use crate::kept::{Kept, difference};
use crate::random::{INTERFACES, Random};
use plan::policy::{EndpointToHost, Renderer, Settings};
use policy::Told;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn interfaces() -> BTreeMap<Box<str>, BTreeSet<IpAddr>> {
    let held = ["10.66.0.254".parse().expect("an address")].into();
    [(INTERFACES[0].into(), BTreeSet::new()), (INTERFACES[1].into(), held)].into()
}

fn fresh(settings: &Settings, told: &Told) -> Kept {
    let mut renderer = Renderer::new(settings.clone());
    let mut kept = Kept::new();
    kept.apply(renderer.place(layout(settings)));
    kept.apply(renderer.interfaces(interfaces()));
    kept.apply(renderer.apply(difference(&Told::default(), told)));
    kept
}

/// Something random of one state and the rest of another, so that little changes at a time.
fn between(random: &mut Random, old: &Told, new: &Told) -> Told {
    let mut next = new.clone();
    let mut keep = || random.percent(50);
    for (id, set) in &mut next.sets {
        if keep() {
            set.clone_from(&old.sets[id]);
        }
    }
    for (id, policy) in &mut next.policies {
        if keep() {
            policy.clone_from(&old.policies[id]);
        }
    }
    for (id, workload) in &mut next.workloads {
        if let Some(old) = old.workloads.get(id).filter(|_| keep()) {
            workload.clone_from(old);
        }
    }
    next.profiles.retain(|_, _| keep());
    next.workloads.retain(|_, _| keep());
    next
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_told_decides_and_not_how(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut settings = Settings::default();
        let mut renderer = Renderer::new(settings.clone());
        let mut kept = Kept::new();
        kept.apply(renderer.place(layout(&settings)));
        let mut told = random.told(true);
        kept.apply(renderer.apply(difference(&Told::default(), &told)));
        kept.apply(renderer.interfaces(interfaces()));
        for _ in 0..4 {
            let next = random.told(true);
            let next = between(&mut random, &told, &next);
            kept.apply(renderer.apply(difference(&told, &next)));
            told = next;
            if random.percent(30) {
                settings.source_spoofing = !settings.source_spoofing;
                settings.vxlan_from_workloads = !settings.vxlan_from_workloads;
                settings.endpoint_to_host = EndpointToHost::Accept;
                kept.apply(renderer.configure(settings.clone()));
                kept.apply(renderer.place(layout(&settings)));
            }
            kept.check();
            let afresh = fresh(&settings, &told);
            prop_assert!(kept == afresh, "{}\n\nafresh:\n{}", kept.text(), afresh.text());
        }
        // Nothing is left where nothing is told.
        kept.apply(renderer.apply(difference(&told, &Told::default())));
        let afresh = fresh(&settings, &Told::default());
        prop_assert!(kept == afresh, "{}\n\nafresh:\n{}", kept.text(), afresh.text());
    }
}
