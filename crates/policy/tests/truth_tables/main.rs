//! The evaluator against hand-written truth tables; `plan` holds the kernel against the same ones.

mod table;

use expect_test::expect;
use policy::Told;
use policy::evaluate::Packet;
use policy::input::WorkloadId;
use policy::output::{Member, Output, SetId, SetKind};
use table::{parse, policy_id, short};

const TABLES: [&str; 3] =
    [include_str!("rules.txt"), include_str!("tiers.txt"), include_str!("hosts.txt")];

#[test]
fn every_row_of_every_case_is_decided_as_written() {
    let mut rows = 0;
    for case in TABLES.iter().flat_map(|text| parse(text)) {
        let mut told = Told::default();
        for output in &case.outputs {
            told.apply(output.clone()).unwrap();
        }
        told.check_references().unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
        for row in &case.rows {
            let decision = case.decide(&told, &row.packet);
            assert_eq!(short(&decision), row.expected, "case {}\n{}", case.name, row.text);
            rows += 1;
        }
    }
    assert!(rows > 200, "only {rows} rows were read");
}

#[test]
fn a_decision_tells_what_was_looked_at_before_it() {
    let case = &parse(
        "case reasons\n\
         policy first\n  \
           deny protocol=udp name=no-udp\n  \
           log\n\
         policy staged-strict\n  \
           deny\n\
         policy last\n  \
           pass protocol=tcp\n\
         profile open\n  \
           allow destination.ports=443 protocol=tcp\n  \
           allow\n\
         tier admin pass: first\n\
         tier default deny: staged-strict last\n\
         profiles: open\n",
    )[0];
    let mut told = Told::default();
    case.outputs.iter().for_each(|output| told.apply(output.clone()).unwrap());
    let packet = |protocol| Packet {
        source: "10.1.0.1".parse().unwrap(),
        destination: "10.65.0.2".parse().unwrap(),
        protocol,
        ports: Some((2000, 80)),
        icmp: None,
    };
    let text = |protocol| {
        let decision = case.decide(&told, &packet(protocol));
        let steps = decision.looked_at.iter().map(|step| format!("{step}\n"));
        steps.chain([format!("{decision}\n")]).collect::<String>()
    };
    expect![[r#"
        no match: ingress rule 0 'no-udp' of NetworkPolicy(shop/first), tier admin
        logged by ingress rule 1 of NetworkPolicy(shop/first), tier admin
        no rule of tier admin matches, which passes it on
        would deny: ingress rule 0 of StagedNetworkPolicy(shop/staged-strict), tier default
        passed on by ingress rule 0 of NetworkPolicy(shop/last), tier default
        no match: ingress rule 0 of Profile(open)
        allow: ingress rule 1 of Profile(open)
    "#]]
    .assert_eq(&text(6));
    expect![[r#"
        deny: ingress rule 0 'no-udp' of NetworkPolicy(shop/first), tier admin
    "#]]
    .assert_eq(&text(17));
    expect![[r#"
        no match: ingress rule 0 'no-udp' of NetworkPolicy(shop/first), tier admin
        logged by ingress rule 1 of NetworkPolicy(shop/first), tier admin
        no rule of tier admin matches, which passes it on
        would deny: ingress rule 0 of StagedNetworkPolicy(shop/staged-strict), tier default
        no match: ingress rule 0 of NetworkPolicy(shop/last), tier default
        deny: no rule of tier default matches
    "#]]
    .assert_eq(&text(132));
}

#[test]
fn what_does_not_follow_from_what_was_told_is_a_contradiction() {
    let id = SetId("s:a".into());
    let net = |text: &str| Member::Net(text.parse().unwrap());
    let set =
        Output::Set { id: id.clone(), kind: SetKind::Nets, members: [net("10.0.0.1/32")].into() };
    let members = |added: &[&str], removed: &[&str]| {
        let nets = |texts: &[&str]| texts.iter().map(|text| net(text)).collect();
        Output::Members { id: id.clone(), added: nets(added), removed: nets(removed) }
    };
    let policy = parse("case a\npolicy a\n  allow source.sets=s:a\n")[0].outputs[0].clone();
    let tier = parse("case a\ntier default deny: a\n")[0].workload.clone();
    let workload = WorkloadId { namespace: "shop".into(), name: "web".into() };
    let workload = Output::Workload(workload, tier.into());
    for (outputs, fits) in [
        (vec![set.clone(), members(&["10.0.0.2/32"], &["10.0.0.1/32"])], true),
        (vec![members(&["10.0.0.2/32"], &[])], false),
        (vec![set.clone(), members(&["10.0.0.1/32"], &[])], false),
        (vec![set.clone(), members(&[], &["10.0.0.9/32"])], false),
        (vec![Output::SetGone(id.clone())], false),
        (vec![Output::PolicyGone(policy_id("a"))], false),
        (vec![Output::ProfileGone("a".into())], false),
        (vec![policy.clone()], false),
        (vec![set.clone(), policy.clone(), workload.clone()], true),
        (vec![set.clone(), workload], false),
        (vec![set, policy, Output::SetGone(id.clone())], false),
    ] {
        let mut told = Told::default();
        let applied = outputs.iter().try_for_each(|output| told.apply(output.clone()));
        let referred = applied.and_then(|()| told.check_references());
        assert_eq!(referred.is_ok(), fits, "{outputs:?}: {referred:?}");
    }
}
