//! The tables of representative situations, as `nft list` shows them. Only what a situation adds to
//! the empty layout is shown, which has its own text.

use crate::inputs::{apply, check, layout, outputs, text};
use crate::table::parse;
use expect_test::{ExpectFile, expect_file};
use kernel::nft::{Family, Table, Tables};
use model::config::{AllowAction, DenyAction};
use plan::policy::{Renderer, Settings};
use policy::Output;

fn rendered(settings: &Settings, outputs: Vec<Output>) -> Tables {
    let mut renderer = Renderer::new(settings.clone());
    let mut tables = Tables::new();
    tables.set_static(&layout(settings));
    apply(&mut tables, renderer.start());
    apply(&mut tables, renderer.apply(outputs));
    check(&tables);
    tables
}

fn shows(case: &str, host: &str, family: Family, expected: ExpectFile) {
    shows_with(&Settings::default(), case, host, family, expected);
}

fn shows_with(settings: &Settings, case: &str, host: &str, family: Family, expected: ExpectFile) {
    let empty = rendered(&Settings::default(), vec![]);
    let of_family = |table: &&Table| table.family == family;
    let layout = empty.desired().find(of_family).expect("a table");
    let tables = rendered(settings, outputs(&parse(case)[0], "cali1", host));
    let mut table = tables.desired().find(of_family).expect("a table").clone();
    table.sets.retain(|name, set| layout.sets.get(name) != Some(set));
    table.maps.retain(|name, map| layout.maps.get(name) != Some(map));
    table.chains.retain(|name, chain| layout.chains.get(name) != Some(chain));
    expected.assert_eq(&format!("{table}\n"));
}

#[test]
fn the_layout_leads_from_hooks_to_maps() {
    let empty = rendered(&Settings::default(), vec![]);
    expect_file!["golden/layout.nft"].assert_eq(&text(&empty));
}

#[test]
fn a_workload_has_a_network_policy() {
    let case = "case workload\n\
        set s:web: 10.65.0.10 10.65.0.11 fd00:65::10\n\
        policy allow-web\n  \
          allow protocol=tcp source.sets=s:web destination.ports=80 name=from-web\n  \
          deny source.nets=10.9.0.0/16\n\
        profile kns.shop\n  \
          allow\n\
        tier default deny: allow-web\n\
        profiles: kns.shop missing\n";
    shows(case, "*", Family::Ip, expect_file!["golden/workload.nft"]);
}

#[test]
fn tiers_pass_and_staged_policies_are_nowhere() {
    let case = "case tiers\n\
        policy security\n  \
          pass protocol=tcp\n  \
          log\n\
        policy staged-strict\n  \
          deny\n\
        policy app\n  \
          allow protocol=tcp\n\
        tier security deny: security staged-strict\n\
        tier staging deny: staged-strict\n\
        tier baseline pass: app\n";
    shows(case, "*", Family::Ip, expect_file!["golden/tiers.nft"]);
}

#[test]
fn alternatives_become_rules_and_sets() {
    let case = "case alternatives\n\
        set s:mixed: 10.65.0.10 10.66.0.0/16\n\
        set s:bad: 10.65.0.66 10.67.0.0/16\n\
        ports n:http: 10.65.0.2,tcp,8080\n\
        policy web\n  \
          allow protocol=tcp source.sets=s:mixed source.not_sets=s:bad \
          destination.ports=80 destination.port_sets=n:http\n  \
          allow destination.ports=53,5353:5400 \
          source.nets=10.1.0.0/16,10.2.0.1/32 source.not_nets=10.1.1.0/24\n  \
          deny protocol=icmp not_icmp=8/0\n\
        tier default deny: web\n";
    shows(case, "*", Family::Ip, expect_file!["golden/alternatives.nft"]);
}

#[test]
fn a_host_endpoint_of_all_interfaces_has_policies_of_all_kinds() {
    let case = "case host\n\
        through host\n\
        policy normal\n  \
          allow protocol=tcp destination.ports=443\n\
        policy forward\n  \
          deny destination.nets=10.9.0.0/16\n\
        policy untracked\n  \
          allow protocol=udp destination.ports=53\n\
        policy pre-dnat\n  \
          deny source.nets=10.8.0.0/16\n\
        profile open\n  \
          allow\n\
        tier default deny: normal\n\
        forward default pass: forward\n\
        untracked default deny: untracked\n\
        pre-dnat default deny: pre-dnat\n\
        profiles: open\n";
    shows(case, "*", Family::Ip, expect_file!["golden/host.nft"]);
}

#[test]
fn ipv6_has_its_own_table() {
    let case = "case ipv6\n\
        set s:web: 10.65.0.10 fd00:65::10 fd00:66::/64\n\
        policy web\n  \
          allow protocol=icmpv6 icmp=128\n  \
          allow ip_version=4\n  \
          allow protocol=tcp source.sets=s:web source.nets=fd00::/16,10.0.0.0/8\n\
        tier default deny: web\n";
    shows(case, "*", Family::Ip6, expect_file!["golden/ipv6.nft"]);
}

#[test]
fn denied_packets_are_rejected_allowed_ones_return_and_services_without_pods_are_blocked() {
    let settings = Settings {
        deny: DenyAction::Reject,
        filter_allow: AllowAction::Return,
        mangle_allow: AllowAction::Return,
        service_loops: Some(DenyAction::Reject),
        service_ranges: ["10.96.0.0/12".parse().expect("a range")].into(),
        ..Settings::default()
    };
    let case = "case host\n\
        through host\n\
        policy web\n  \
          deny source.nets=10.8.0.0/16\n  \
          allow protocol=tcp\n\
        policy untracked\n  \
          deny protocol=udp destination.ports=53\n\
        profile open\n  \
          allow\n\
        tier default deny: web\n\
        untracked default deny: untracked\n\
        profiles: open\n";
    shows_with(&settings, case, "eth0", Family::Ip, expect_file!["golden/settings.nft"]);
}
