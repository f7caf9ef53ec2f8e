//! Tables that grew by changes equal tables made afresh.

use crate::difference::difference;
use crate::inputs::{apply, check, layout, text};
use crate::random::{INTERFACES, Random};
use kernel::nft::Tables;
use model::config::EndpointToHostAction;
use plan::policy::{Renderer, Settings};
use policy::Told;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn interfaces() -> BTreeMap<Box<str>, BTreeSet<IpAddr>> {
    let held = ["10.66.0.254".parse().expect("an address")].into();
    [(INTERFACES[0].into(), BTreeSet::new()), (INTERFACES[1].into(), held)].into()
}

fn fresh(settings: &Settings, told: &Told) -> Tables {
    let mut renderer = Renderer::new(settings.clone());
    let mut tables = Tables::new();
    tables.set_static(&layout(settings));
    apply(&mut tables, renderer.start());
    apply(&mut tables, renderer.interfaces(interfaces()));
    apply(&mut tables, renderer.apply(difference(&Told::default(), told)));
    tables
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

fn same(one: &Tables, other: &Tables) -> bool {
    one.desired().eq(other.desired())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_told_decides_and_not_how(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut settings = Settings::default();
        let mut renderer = Renderer::new(settings.clone());
        let mut tables = Tables::new();
        tables.set_static(&layout(&settings));
        apply(&mut tables, renderer.start());
        let mut told = random.told(true);
        apply(&mut tables, renderer.apply(difference(&Told::default(), &told)));
        apply(&mut tables, renderer.interfaces(interfaces()));
        for _ in 0..4 {
            let next = random.told(true);
            let next = between(&mut random, &told, &next);
            apply(&mut tables, renderer.apply(difference(&told, &next)));
            told = next;
            if random.percent(30) {
                settings.source_spoofing = !settings.source_spoofing;
                settings.vxlan_from_workloads = !settings.vxlan_from_workloads;
                settings.endpoint_to_host = EndpointToHostAction::Accept;
                apply(&mut tables, renderer.configure(settings.clone()));
                tables.set_static(&layout(&settings));
            }
            check(&tables);
            let afresh = fresh(&settings, &told);
            prop_assert!(same(&tables, &afresh), "{}\n\nafresh:\n{}", text(&tables), text(&afresh));
        }
        // Nothing is left where nothing is told.
        apply(&mut tables, renderer.apply(difference(&told, &Told::default())));
        let afresh = fresh(&settings, &Told::default());
        prop_assert!(same(&tables, &afresh), "{}\n\nafresh:\n{}", text(&tables), text(&afresh));
    }
}
