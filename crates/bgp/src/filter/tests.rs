//! Each condition and each operation, against what BIRD does with Calico's line for it.

use super::*;
use model::BgpFilter;
use serde_json::{Value as Json, json};

fn attributes() -> Attributes {
    Attributes {
        as_path: vec![AsSegment::Sequence(vec![65000, 65001]), AsSegment::Set(vec![65002])],
        local_pref: Some(LOCAL_PREF_OF_PRIORITY_0 - 512),
        communities: vec![0xfde8_0064],
        large_communities: vec![[65000, 1, 2]],
        ..Attributes::default()
    }
}

fn filter(name: &str, spec: Json) -> BgpFilter {
    BgpFilter::new(name, serde_json::from_value(spec).unwrap())
}

/// The rules of one list.
fn compiled(list: &str, rules: Json) -> Vec<Filter> {
    let resource = filter("f", json!({ list: rules }));
    let (rules, problems) = match &list[..6] {
        "export" => export_rules(&resource),
        _ => import_rules(&resource),
    };
    assert_eq!(problems, Vec::<String>::new());
    vec![Filter { name: "f".to_owned(), rules }]
}

fn verdict(filters: &[Filter], prefix: &str, from_peer: bool, external: bool) -> Verdict {
    let (prefix, attributes) = (prefix.parse().unwrap(), attributes());
    decide(filters, Candidate { prefix, attributes: &attributes, from_peer, external })
}

#[test]
fn destinations() {
    for (rule, matching, others) in [
        // net ~ 10.0.0.0/8
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "In"}),
            &["10.0.0.0/8", "10.1.0.0/16", "10.255.255.255/32"][..],
            &["0.0.0.0/0", "11.0.0.0/8", "10.0.0.0/7", "::/0"][..],
        ),
        // net !~ 10.0.0.0/8
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "NotIn"}),
            &["0.0.0.0/0", "11.0.0.0/8"],
            &["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"],
        ),
        // net = 10.0.0.0/8
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "Equal"}),
            &["10.0.0.0/8"],
            &["10.0.0.0/9", "0.0.0.0/0"],
        ),
        // net != 10.0.0.0/8
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "NotEqual"}),
            &["10.0.0.0/9", "0.0.0.0/0"],
            &["10.0.0.0/8", "::/0"],
        ),
        // net ~ [ 10.0.0.0/8{16,24} ]
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "In",
                   "prefixLength": {"min": 16, "max": 24}}),
            &["10.1.0.0/16", "10.1.2.0/24"],
            &["10.0.0.0/8", "10.1.2.0/25", "11.1.0.0/16"],
        ),
        // net !~ [ 10.0.0.0/8{16,24} ]
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "NotIn",
                   "prefixLength": {"min": 16, "max": 24}}),
            &["10.0.0.0/8", "10.1.2.0/25", "11.1.0.0/16"],
            &["10.1.0.0/16", "10.1.2.0/24"],
        ),
        // net ~ [ 10.0.0.0/8{8,32} ]: a minimum below the range's own length counts for nothing.
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 4}}),
            &["10.0.0.0/8", "10.1.2.3/32"],
            &["0.0.0.0/4", "8.0.0.0/5"],
        ),
        (json!({}), &["0.0.0.0/0", "10.0.0.0/8"], &["::/0"]),
    ] {
        let mut rejecting = rule.clone();
        rejecting["action"] = json!("Reject");
        let filters = compiled("importV4", json!([rejecting]));
        for prefix in matching {
            assert_eq!(verdict(&filters, prefix, true, false), Verdict::Reject, "{rule} {prefix}");
        }
        for prefix in others {
            let said = verdict(&filters, prefix, true, false);
            assert_eq!(said, Verdict::Unmatched, "{rule} {prefix}");
        }
    }
    let v6 = json!([{"cidr": "fd00::/16", "matchOperator": "In", "action": "Reject",
                     "prefixLength": {"max": 64}}]);
    let filters = compiled("exportV6", v6);
    assert_eq!(verdict(&filters, "fd00:10::/64", true, false), Verdict::Reject);
    assert_eq!(verdict(&filters, "fd00:10::/122", true, false), Verdict::Unmatched);
    assert_eq!(verdict(&filters, "10.0.0.0/8", true, false), Verdict::Unmatched);
}

#[test]
fn conditions_on_peers_and_attributes() {
    let (own, learned) = (false, true);
    let (internal, external) = (false, true);
    for (condition, from_peer, of_peer, matching) in [
        (json!({"source": "RemotePeers"}), learned, internal, true),
        (json!({"source": "RemotePeers"}), own, internal, false),
        (json!({"peerType": "eBGP"}), learned, external, true),
        (json!({"peerType": "eBGP"}), learned, internal, false),
        (json!({"peerType": "iBGP"}), learned, internal, true),
        (json!({"peerType": "iBGP"}), learned, external, false),
        (json!({"communities": {"values": ["65000:100"]}}), learned, internal, true),
        (json!({"communities": {"values": ["65000:101"]}}), learned, internal, false),
        (json!({"communities": {"values": ["65000:1:2"]}}), learned, internal, true),
        (json!({"communities": {"values": ["65000:1:3"]}}), learned, internal, false),
        (json!({"asPathPrefix": [65000]}), learned, internal, true),
        (json!({"asPathPrefix": [65000, 65001]}), learned, internal, true),
        (json!({"asPathPrefix": [65001]}), learned, internal, false),
        // A set has no first.
        (json!({"asPathPrefix": [65000, 65001, 65002]}), learned, internal, false),
        (json!({"priority": 512}), learned, internal, true),
        (json!({"priority": 1024}), learned, internal, false),
        // All conditions must be met.
        (json!({"priority": 512, "peerType": "iBGP"}), learned, internal, true),
        (json!({"priority": 512, "peerType": "iBGP"}), learned, external, false),
    ] {
        let mut rule = condition.clone();
        rule["action"] = json!("Accept");
        let filters = compiled("exportV4", json!([rule]));
        let expected = if matching { Verdict::Accept(None) } else { Verdict::Unmatched };
        let said = verdict(&filters, "10.0.0.0/26", from_peer, of_peer);
        assert_eq!(said, expected, "{condition} {from_peer} {of_peer}");
    }
}

#[test]
fn a_route_without_local_pref_has_its_sources_priority() {
    let bare = Attributes::default();
    for (from_peer, priority) in [(false, 1024), (true, LOCAL_PREF_OF_PRIORITY_0 - 100)] {
        let filters = compiled("exportV4", json!([{"priority": priority, "action": "Reject"}]));
        let prefix = "10.0.0.0/26".parse().unwrap();
        let candidate = Candidate { prefix, attributes: &bare, from_peer, external: false };
        assert_eq!(decide(&filters, candidate), Verdict::Reject);
        let other = Candidate { from_peer: !from_peer, ..candidate };
        assert_eq!(decide(&filters, other), Verdict::Unmatched);
    }
}

#[test]
fn operations_change_what_they_name_and_nothing_else() {
    let changed = |operations: Json| {
        let rule = json!([{"action": "Accept", "operations": operations}]);
        match verdict(&compiled("exportV4", rule), "10.0.0.0/26", true, false) {
            Verdict::Accept(Some(changed)) => changed,
            other => panic!("{other:?}"),
        }
    };
    let community = |text: &str| changed(json!([{"addCommunity": {"value": text}}]));
    let standard = Attributes { communities: vec![1, 0xfde8_0064], ..attributes() };
    assert_eq!(community("0:1"), standard);
    assert_eq!(community("65000:100"), attributes());
    let large = vec![[65000, 1, 2], [65000, 1, 3]];
    assert_eq!(community("65000:1:3"), Attributes { large_communities: large, ..attributes() });

    let prepended = changed(json!([{"prependASPath": {"prefix": [1, 2]}}]));
    let path = vec![AsSegment::Sequence(vec![1, 2, 65000, 65001]), AsSegment::Set(vec![65002])];
    assert_eq!(prepended, Attributes { as_path: path, ..attributes() });

    let local_pref = Some(LOCAL_PREF_OF_PRIORITY_0 - 7);
    let set = changed(json!([{"setPriority": {"value": 7}}]));
    assert_eq!(set, Attributes { local_pref, ..attributes() });

    // In order: the second prepended comes to stand before the first.
    let twice = changed(json!([{"prependASPath": {"prefix": [1]}},
                               {"prependASPath": {"prefix": [2]}},
                               {"setPriority": {"value": 7}}]));
    assert_eq!(twice.as_path[0], AsSegment::Sequence(vec![2, 1, 65000, 65001]));
    assert_eq!(twice.local_pref, local_pref);
}

#[test]
fn a_full_segment_gets_one_before_it() {
    let mut path = vec![AsSegment::Sequence(vec![7; 254])];
    prepend(&mut path, &[1]);
    assert_eq!(path.len(), 1);
    prepend(&mut path, &[2]);
    assert_eq!(path[0], AsSegment::Sequence(vec![2]));
    let mut empty = vec![];
    prepend(&mut empty, &[1, 2]);
    assert_eq!(empty, [AsSegment::Sequence(vec![1, 2])]);
}

#[test]
fn the_first_rule_of_the_first_filter_decides() {
    let mut filters = compiled(
        "exportV4",
        json!([{"cidr": "10.0.0.0/8", "matchOperator": "In", "action": "Accept"},
               {"cidr": "10.0.0.0/8", "matchOperator": "In", "action": "Reject"}]),
    );
    filters.extend(compiled("exportV4", json!([{"action": "Reject"}])));
    assert_eq!(verdict(&filters, "10.0.0.0/26", false, false), Verdict::Accept(None));
    assert_eq!(verdict(&filters, "11.0.0.0/26", false, false), Verdict::Reject);
    assert_eq!(verdict(&filters, "fd00::/64", false, false), Verdict::Unmatched);
    assert_eq!(verdict(&[], "11.0.0.0/26", false, false), Verdict::Unmatched);
}

#[test]
fn each_direction_has_its_rules_of_both_families() {
    let resource = filter(
        "f",
        json!({"exportV4": [{"action": "Accept"}], "exportV6": [{"action": "Reject"}],
               "importV6": [{"action": "Accept"}]}),
    );
    let families = |rules: &[Rule]| rules.iter().map(|rule| rule.family).collect::<Vec<_>>();
    let (export, import) = (export_rules(&resource).0, import_rules(&resource).0);
    assert_eq!(families(&export), [Some(Family::Ipv4), Some(Family::Ipv6)]);
    assert_eq!(families(&import), [Some(Family::Ipv6)]);
}

#[test]
fn rules_that_cannot_be_read_are_left_out_and_told() {
    for (rule, said) in [
        (json!({}), "action is ''"),
        (json!({"action": "Accept", "cidr": "10.0.0.0/8"}), "no matchOperator"),
        (json!({"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"}), "cidr is"),
        (json!({"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "At"}), "one of Equal"),
        (json!({"action": "Accept", "source": "Kernel"}), "source is"),
        (json!({"action": "Accept", "interface": "tunl0"}), "interface of a route"),
        (json!({"action": "Accept", "communities": {"values": []}}), "has 0 values"),
        (json!({"action": "Accept", "communities": {"values": ["x"]}}), "no community"),
        (json!({"action": "Accept", "operations": [{}]}), "operation is empty"),
        (json!({"action": "Accept", "operations": [{"setPriority": {}}]}), "no value"),
    ] {
        let resource = filter("f", json!({"importV4": [rule, {"action": "Reject"}]}));
        let (rules, problems) = import_rules(&resource);
        assert_eq!(rules.len(), 1, "{rule}");
        assert_eq!(problems.len(), 1, "{rule}");
        assert!(problems[0].starts_with("BGPFilter(f): rule importV4[0] is left out: "));
        assert!(problems[0].contains(said), "{problems:?}");
    }
}
