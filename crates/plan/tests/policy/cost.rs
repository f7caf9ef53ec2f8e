//! What a change costs: the objects that are told anew, and no others.

use crate::inputs::{apply, check, layout, outputs};
use crate::table::parse;
use kernel::nft::{Part, Tables, Update};
use plan::policy::{Renderer, Settings};
use policy::Output;
use policy::output::{Member, SetId};

const CASE: &str = "case a workload with policies\n\
    set s:web: 10.65.0.10\n\
    set s:nets: 10.65.0.10 10.66.0.0/16\n\
    policy web\n  \
      allow source.sets=s:web\n\
    policy db\n  \
      allow source.sets=s:nets source.nets=10.1.0.0/16,10.2.0.0/16\n\
    profile open\n  \
      allow\n\
    tier default deny: web db\n\
    profiles: open\n";

fn members(set: &str, added: &[&str], removed: &[&str]) -> Output {
    let nets = |texts: &[&str]| {
        texts.iter().map(|text| Member::Net(text.parse().expect("a prefix"))).collect()
    };
    Output::Members { id: SetId(set.into()), added: nets(added), removed: nets(removed) }
}

fn object(update: &Update) -> String {
    let part = match &update.part {
        Part::Set(name, Some(_)) => format!("set {name}"),
        Part::Set(name, None) => format!("set {name} gone"),
        Part::Members { set, added, removed } => {
            format!("{set} +{} -{}", added.len(), removed.len())
        }
        Part::Map(name, _) => format!("map {name}"),
        Part::MapElements { map, .. } => format!("elements of {map}"),
        Part::Chain(name, Some(_)) => format!("chain {name}"),
        Part::Chain(name, None) => format!("chain {name} gone"),
    };
    format!("{}: {part}", update.family)
}

#[test]
fn a_change_touches_its_own_objects() {
    let settings = Settings::default();
    let mut renderer = Renderer::new(settings.clone());
    let mut tables = Tables::new();
    tables.set_static(&layout(&settings));
    apply(&mut tables, renderer.start());
    let all = outputs(&parse(CASE)[0], "cali1", "*");
    apply(&mut tables, renderer.apply(all.clone()));
    let chains = |policy: &str| {
        ["pi", "po"].map(|kind| format!("chain filter-cali-{kind}-np/shop/{policy}"))
    };
    let both = |[one, other]: [String; 2]| -> Vec<String> {
        let of = |family: &str| [format!("{family}: {one}"), format!("{family}: {other}")];
        [of("ip"), of("ip6")].concat()
    };
    for (what, output, expected) in [
        (
            "an address comes, another goes",
            members("s:web", &["10.65.0.11/32"], &["10.65.0.10/32"]),
            vec!["ip: cali40s-web +1 -1".to_owned()],
        ),
        (
            "an address of IPv6",
            members("s:web", &["fd00::1/128"], &[]),
            vec!["ip6: cali60s-web +1 -0".to_owned()],
        ),
        (
            "a second prefix, and an address",
            members("s:nets", &["10.67.0.0/16", "10.65.0.11/32"], &[]),
            vec!["ip: cali40s-nets +1 -0".to_owned(), "ip: cali4ns-nets +1 -0".to_owned()],
        ),
        (
            "the first prefix: its set, and the rules that look into it",
            members("s:web", &["10.68.0.0/16"], &[]),
            [vec!["ip: set cali4ns-web".to_owned()], both(chains("web"))].concat(),
        ),
        (
            "the last prefix goes",
            members("s:nets", &[], &["10.66.0.0/16", "10.67.0.0/16"]),
            [vec!["ip: set cali4ns-nets gone".to_owned()], both(chains("db"))].concat(),
        ),
        ("a policy's rules", all[2].clone(), both(chains("web"))),
    ] {
        let updates = renderer.apply([output]);
        assert_eq!(updates.iter().map(object).collect::<Vec<_>>(), expected, "{what}");
        apply(&mut tables, updates);
        check(&tables);
    }
}
