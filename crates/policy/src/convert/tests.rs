//! Resources as the graph takes them.

use super::*;
use crate::input::{Entity, Port};
use model::{EntityRule, Resource, Rule, ServiceAccountMatch};

fn id(namespace: &str) -> PolicyId {
    let kind = if namespace.is_empty() {
        PolicyKind::GlobalNetworkPolicy
    } else {
        PolicyKind::NetworkPolicy
    };
    PolicyId { kind, namespace: namespace.into(), name: "p".into() }
}

fn parts(selector: &str) -> PolicyParts<'_> {
    PolicyParts {
        tier: "default",
        order: None,
        ingress: &[],
        egress: &[],
        selector,
        stated_types: &[],
        service_account_selector: "",
        performance_hints: &[],
    }
}

#[test]
fn a_policy_selects_in_its_namespace_by_labels_of_pods_namespaces_and_accounts() {
    const SHOP: &str = "projectcalico.org/namespace == 'shop'";
    for (namespace, selector, namespaces, accounts, expected) in [
        ("", "", "", "", "all()".to_owned()),
        ("", "a == 'b'", "", "", "a == \"b\"".to_owned()),
        ("shop", "", "", "", SHOP.to_owned()),
        ("shop", "a=='b'||c", "", "", SHOP.to_owned()),
        ("shop", "a=='b' || has(c)", "", "", format!("((a == \"b\" || has(c))) && ({SHOP})")),
        ("", "", "team == 'x'", "", "pcns.team == \"x\"".to_owned()),
        ("", "", "all()", "", "has(projectcalico.org/namespace)".to_owned()),
        ("", "", "global()", "", "!has(projectcalico.org/namespace)".to_owned()),
        ("shop", "", "", "has(x)", format!("({SHOP}) && (has(pcsa.x))")),
    ] {
        let parts = PolicyParts { service_account_selector: accounts, ..parts(selector) };
        let policy = policy(&id(namespace), &parts, namespaces);
        assert_eq!(&*policy.selector, expected, "{selector}|{namespaces}|{accounts}");
        assert_eq!(policy.broken.is_some(), selector.ends_with("||c"), "{:?}", policy.broken);
    }
}

fn converted(namespace: &str, source: EntityRule) -> Policy {
    let rule = Rule { source, ..Rule::new(model::Action::Allow) };
    let rules = [rule];
    policy(&id(namespace), &PolicyParts { ingress: &rules, ..parts("") }, "")
}

#[test]
fn a_rule_means_endpoints_of_the_policys_namespace_unless_it_names_others() {
    let selected = |namespace: &str, source: EntityRule| {
        let policy = converted(namespace, source);
        assert_eq!(policy.broken, None);
        policy.ingress[0].source.as_ref().map(|entity| entity.selector.to_string())
    };
    let by_label = || EntityRule { selector: "a == 'b'".into(), ..EntityRule::default() };
    let shop = "(projectcalico.org/namespace == 'shop') && (a == \"b\")";
    assert_eq!(selected("shop", EntityRule::default()), None);
    assert_eq!(selected("", by_label()).as_deref(), Some("a == \"b\""));
    assert_eq!(selected("shop", by_label()).as_deref(), Some(shop));
    let elsewhere = EntityRule { namespace_selector: "has(x)".into(), ..by_label() };
    assert_eq!(selected("shop", elsewhere).as_deref(), Some("(has(pcns.x)) && (a == \"b\")"));
    let global = EntityRule { namespace_selector: "global()".into(), ..EntityRule::default() };
    let none = "!has(projectcalico.org/namespace)";
    assert_eq!(selected("shop", global).as_deref(), Some(none));
    let accounts = ServiceAccountMatch { names: vec!["b".into(), "a".into()], ..<_>::default() };
    let by_account = EntityRule { service_accounts: Some(accounts), ..EntityRule::default() };
    let accounts = "projectcalico.org/serviceaccount in {\"a\", \"b\"}";
    let shop = format!("(projectcalico.org/namespace == 'shop') && ({accounts})");
    assert_eq!(selected("shop", by_account), Some(shop));
    let not = EntityRule { not_selector: "a == 'b'".into(), ..EntityRule::default() };
    let shop = "projectcalico.org/namespace == 'shop'";
    assert_eq!(selected("shop", not).as_deref(), Some(shop));
}

#[test]
fn a_selector_cannot_break_out_of_its_parentheses() {
    let source = EntityRule { selector: "a == 'b') || (all()".into(), ..EntityRule::default() };
    let policy = converted("shop", source);
    assert!(policy.ingress.is_empty(), "{policy:?}");
    assert!(policy.broken.unwrap().starts_with("its ingress rule 0, source.selector: "));
}

#[test]
fn what_cannot_be_read_names_its_place() {
    let source = EntityRule { nets: vec!["10.0.0.0/33".into()], ..EntityRule::default() };
    let broken = converted("", source).broken.unwrap();
    assert_eq!(&*broken, "its ingress rule 0, source.nets: 10.0.0.0/33 is no prefix");
}

#[test]
fn nets_lose_their_host_bits_and_ports_keep_their_names() {
    let source = EntityRule {
        nets: vec!["10.1.2.3/8".into(), "fd00::1".into()],
        ports: vec![model::Port::Range(1, 2), model::Port::Named("http".into())],
        ..EntityRule::default()
    };
    let policy = converted("", source);
    let expected = Entity {
        nets: ["10.0.0.0/8", "fd00::1/128"].map(|net| net.parse().unwrap()).into(),
        ports: [Port::Range(1, 2), Port::Named("http".into())].into(),
        ..Entity::default()
    };
    assert_eq!(policy.ingress[0].source.as_deref(), Some(&expected));
}

#[test]
fn a_staged_policy_that_would_delete_says_nothing() {
    for (action, evaluated) in [("Set", true), ("Delete", false), ("Ignore", false)] {
        let spec = serde_json::json!({"stagedAction": action, "selector": "all()"});
        let spec = serde_json::from_value(spec).unwrap();
        let mut resource = Resource::new("p", spec);
        resource.metadata.namespace = Some("shop".into());
        let key = resource.key();
        let value = Value::StagedNetworkPolicy(Box::new(resource));
        let Some(Update::Policy(_, policy)) = update(&key, Some(&value)) else {
            panic!("a policy's key gives a policy's update");
        };
        assert_eq!(policy.map(|policy| policy.staged), evaluated.then_some(true), "{action}");
    }
}
