use super::*;
use crate::input::PolicyKind;
use proptest::prelude::*;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn rule(kind: PolicyKind, namespace: &str, name: &str, index: u32) -> Origin {
    let policy = PolicyId { kind, namespace: namespace.into(), name: name.into() };
    Origin::PolicyRule { policy, index }
}

fn global(name: &str, index: u32) -> Origin {
    rule(PolicyKind::GlobalNetworkPolicy, "", name, index)
}

// The vectors of Felix's nflogprefix_test.go; the last ones are of our own.
#[test]
fn prefixes_are_felixs() {
    use Action::{Allow, Deny, Log, Pass};
    use Direction::{Egress, Ingress};
    let long_name = "this-is-still-quite-a-long-tier-name-even-though-its-not-required.\
                     quite-a-long-policy-name";
    let tier = "tier-01234567890123456789012345678901234567890123456789012";
    let policy = rule(PolicyKind::NetworkPolicy, "namespace1", "default.policy", 0);
    let profile = Origin::ProfileRule { profile: "short.profile.name".into(), index: 999 };
    for (action, direction, origin, text) in [
        (Allow, Ingress, policy, "API0|np/namespace1/default.policy"),
        (Pass, Egress, profile, "PRE999|short.profile.name"),
        (Deny, Egress, global(LETTERS, 88), &*format!("DPE88|gnp/{LETTERS}")),
        (
            Deny,
            Ingress,
            global(&format!("{LETTERS}0"), 88),
            "DPI88|gnp/_12IXaBPahNM7a7dZhI8zg6PStmHsgneYaax8LVSIq_RSTUVWXYZ0",
        ),
        (
            Deny,
            Egress,
            global(long_name, 1),
            "DPE1|gnp/t_FSGxA9eGa6t_A5Rj2agPvl4aq8-eohq0An6xEW4n7_olicy-name",
        ),
        (
            Deny,
            Egress,
            global(&format!("{long_name}2"), 2),
            "DPE2|gnp/t_G4MaamO0BQNQg8Ibyy-r9qg2HIK8-7EaPOVzsy5Nv_licy-name2",
        ),
        (Deny, Egress, Origin::EndOfTier("tier-1".into()), "DPE|tier-1"),
        (Deny, Ingress, Origin::EndOfTier(tier.into()), &format!("DPI|{tier}")),
        (
            Deny,
            Ingress,
            Origin::EndOfTier(format!("{tier}3").into()),
            "DPI|tier-0_phEfG4Vhbq2xh4TQsePNa2X9YRj5peCVw1FgaNSbd_4567890123",
        ),
        (Deny, Ingress, Origin::NoProfile, "DRI"),
        (Deny, Egress, Origin::NoProfile, "DRE"),
        (Log, Egress, global("a", 3), "LPE3|gnp/a"),
        (Pass, Ingress, Origin::EndOfTier("t".into()), "PPI|t"),
    ] {
        let prefix = Prefix { action, direction, origin };
        let mut shortened = Names::default();
        assert_eq!(prefix.text(), text);
        assert_eq!(shortened.insert(&prefix), text);
        assert_eq!(shortened.read(text), Ok(prefix.clone()));
        let is_whole = prefix.whole_text() == text;
        assert_eq!(shortened == Names::default(), is_whole, "{text}");
        shortened.remove(&prefix);
        assert_eq!(shortened.read(text).is_ok(), is_whole, "{text}");
    }
}

#[test]
fn other_texts_are_no_prefixes() {
    for text in [
        "",
        "D",
        "DP",
        "DPI",
        "DPI|",
        "DPI0",
        "DPI0|",
        "DPI0|a",
        "DPI0|np/",
        "DPI+0|gnp/a",
        "XPI|a",
        "DXI|a",
        "DPX|a",
        "DPI00|gnp/a",
        "DPI4294967296|gnp/a",
        "DRI|p",
        "DRI0|",
        "dpi|a",
        "calico-packet",
        "DPI88|gnp/_12IXaBPahNM7a7dZhI8zg6PStmHsgneYaax8LVSIq_RSTUVWXYZ0",
    ] {
        assert!(Names::default().read(text).is_err(), "{text}");
    }
}

#[test]
fn people_read_sentences() {
    for (text, sentence) in [
        ("DPI0|np/shop/web", "denied by NetworkPolicy(shop/web) rule 0"),
        ("LPE12|gnp/baseline", "logged by GlobalNetworkPolicy(baseline) rule 12"),
        ("ARI1|kns.shop", "allowed by Profile(kns.shop) rule 1"),
        (
            "PPI|security",
            "passed on at the end of Tier(security), as no rule of its policies matches",
        ),
        ("DRE", "denied, as no Profile allows it"),
    ] {
        assert_eq!(Prefix::parse(text).expect("a prefix").to_string(), sentence);
    }
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    let name = "[a-z0-9.é-]{1,90}";
    let kind = prop_oneof![
        Just(PolicyKind::NetworkPolicy),
        Just(PolicyKind::GlobalNetworkPolicy),
        Just(PolicyKind::KubernetesNetworkPolicy),
    ];
    let origin = prop_oneof![
        (kind, name, any::<u32>()).prop_map(|(kind, name, index)| {
            let namespace = if kind == PolicyKind::GlobalNetworkPolicy { "" } else { "shop" };
            rule(kind, namespace, &name, index)
        }),
        (name, any::<u32>())
            .prop_map(|(name, index)| { Origin::ProfileRule { profile: name.into(), index } }),
        name.prop_map(|name| Origin::EndOfTier(name.into())),
        Just(Origin::NoProfile),
    ];
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny), Just(Action::Log)];
    let direction = prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)];
    (action, direction, origin).prop_map(|(action, direction, origin)| Prefix {
        action,
        direction,
        origin,
    })
}

proptest! {
    #[test]
    fn any_prefix_fits_and_reads_back(prefixes in prop::collection::vec(any_prefix(), 1..4)) {
        let mut shortened = Names::default();
        let texts: Vec<_> = prefixes.iter().map(|prefix| shortened.insert(prefix)).collect();
        for (prefix, text) in prefixes.iter().zip(&texts) {
            prop_assert!(text.len() <= LENGTH_MAX, "{}", text);
            prop_assert_eq!(shortened.read(text), Ok(prefix.clone()));
        }
    }

    #[test]
    fn what_parses_is_written_the_same(text in "[ADPLX][PR][IE][0-9]{0,3}(\\|(g?np/)?[a-z/]{0,8})?") {
        if let Ok(prefix) = Prefix::parse(&text) {
            prop_assert_eq!(prefix.text(), text);
        }
    }
}

#[test]
fn labels_have_what_log_prefix_asks_for() {
    let by = |kind, namespace: &str, name: &str| {
        let policy = PolicyId { kind, namespace: namespace.into(), name: name.into() };
        let origin = Origin::PolicyRule { policy, index: 0 };
        Prefix { action: Action::Log, direction: Direction::Ingress, origin }
    };
    let web = by(PolicyKind::NetworkPolicy, "shop", "web");
    let baseline = by(PolicyKind::GlobalNetworkPolicy, "", "baseline");
    let origin = Origin::ProfileRule { profile: "kns.shop".into(), index: 0 };
    let profile = Prefix { origin, ..web.clone() };
    for (prefix, log_prefix, tier, label) in [
        (&web, "calico-packet", "default", "calico-packet"),
        (&web, "%t|%k|%n|%p", "security", "security|np|web|shop/web"),
        (&baseline, "%k %n %p", "default", "gnp baseline baseline"),
        (&profile, "[%t] %k %p", "", "[] pro kns.shop"),
        (&web, "100%% %x %", "default", "100%% %x %"),
        (&web, "a\nb\u{1b}[%%n]", "default", "ab[%web]"),
        (&web, "", "default", ""),
    ] {
        assert_eq!(prefix.label(log_prefix, tier), label, "{log_prefix:?}");
    }
}
