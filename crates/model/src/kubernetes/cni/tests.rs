//! Annotations as people write them, and what is made of each.

use super::*;
use expect_test::expect;
use std::fmt::Write;

/// What a pod's annotations and its namespace's come to, a line for each wish.
fn read(of_pod: &[(&str, &str)], of_namespace: &[(&str, &str)]) -> String {
    let annotations = |list: &[(&str, &str)]| {
        let full = |name: &str| format!("cni.projectcalico.org/{name}");
        list.iter().map(|(name, value)| (full(name), (*value).to_owned())).collect::<Annotations>()
    };
    let wishes = Wishes::read("shop", "web", &annotations(of_pod), &annotations(of_namespace));
    let wishes = match wishes {
        Ok(wishes) => wishes,
        Err(wrong) => return format!("wrong: {wrong}\n"),
    };
    let mut text = String::new();
    let mut line = |name: &str, wish: Option<String>| {
        if let Some(wish) = wish {
            writeln!(text, "{name}: {wish}").expect("a text takes lines");
        }
    };
    fn shown<T: fmt::Debug>(wish: &Option<Wish<T>>) -> Option<String> {
        wish.as_ref().map(|wish| format!("{:?}", wish.wish))
    }
    line("IPv4 pools", shown(&wishes.ipv4_pools));
    line("IPv6 pools", shown(&wishes.ipv6_pools));
    line("families", shown(&wishes.families));
    line("addresses", shown(&wishes.addresses));
    line("addresses without IPAM", shown(&wishes.addresses_no_ipam));
    line("MAC", shown(&wishes.mac));
    line("floating addresses", shown(&wishes.floating_addresses));
    line("source prefixes", shown(&wishes.source_prefixes));
    if text.is_empty() { "nothing\n".to_owned() } else { text }
}

/// A case: the pod's annotations, its namespace's.
type Case = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

fn all(cases: &[Case]) -> String {
    let mut text = String::new();
    for (of_pod, of_namespace) in cases {
        let listed = |whose: &str, list: &[(&str, &str)]| {
            let lines = list.iter().map(|(name, value)| format!("{whose} {name}={value}\n"));
            lines.collect::<String>()
        };
        text += &listed("pod", of_pod);
        text += &listed("namespace", of_namespace);
        for line in read(of_pod, of_namespace).lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

#[test]
fn what_is_said_is_understood() {
    let cases: &[Case] = &[
        (&[], &[]),
        (&[("podIP", "10.0.0.1/32"), ("ipv4pools", "")], &[("ipv4pools", "")]),
        (&[("ipv4pools", r#"["pool-1", "10.0.0.0/16"]"#)], &[]),
        (&[("ipv4pools", "[]")], &[("ipv4pools", r#"["others"]"#)]),
        (&[("ipv4pools", r#"["own"]"#)], &[("ipv4pools", "no JSON")]),
        (
            &[("ipv4pools", "")],
            &[
                ("ipv4pools", r#"["four"]"#),
                ("ipv6pools", r#"["six"]"#),
                ("ipFamilies", r#"["IPv6"]"#),
            ],
        ),
        (&[("ipFamilies", r#"["IPv4", "IPv6"]"#)], &[("ipFamilies", r#"["IPv6"]"#)]),
        (&[("ipAddrs", r#"["192.168.0.5"]"#), ("ipAddrsNoIpam", "")], &[]),
        (&[("ipAddrs", r#"["192.168.0.5", "fd00::5"]"#)], &[]),
        (&[("ipAddrs", "[]"), ("ipv6pools", r#"["six"]"#)], &[]),
        (&[("ipAddrsNoIpam", r#"["10.9.9.9"]"#), ("hwAddr", "02:00:0a:00:00:05")], &[]),
        (&[("hwAddr", "02-00-0A-00-00-05")], &[("hwAddr", "04:00:0a:00:00:05")]),
        (&[("hwAddr", "0200.0a00.0005")], &[]),
        (&[], &[("hwAddr", "02:00:0a:00:00:05"), ("ipAddrs", "no JSON")]),
        (
            &[
                ("floatingIPs", r#"["198.51.100.7"]"#),
                ("allowedSourcePrefixes", r#"["10.0.0.0/8", "fd00::/8"]"#),
            ],
            &[],
        ),
    ];
    expect![[r#"
            nothing
        pod podIP=10.0.0.1/32
        pod ipv4pools=
        namespace ipv4pools=
            nothing
        pod ipv4pools=["pool-1", "10.0.0.0/16"]
            IPv4 pools: ["pool-1", "10.0.0.0/16"]
        pod ipv4pools=[]
        namespace ipv4pools=["others"]
            IPv4 pools: []
        pod ipv4pools=["own"]
        namespace ipv4pools=no JSON
            IPv4 pools: ["own"]
        pod ipv4pools=
        namespace ipv4pools=["four"]
        namespace ipv6pools=["six"]
        namespace ipFamilies=["IPv6"]
            IPv4 pools: ["four"]
            IPv6 pools: ["six"]
            families: Families { ipv4: false, ipv6: true }
        pod ipFamilies=["IPv4", "IPv6"]
        namespace ipFamilies=["IPv6"]
            families: Families { ipv4: true, ipv6: true }
        pod ipAddrs=["192.168.0.5"]
        pod ipAddrsNoIpam=
            addresses: [192.168.0.5]
        pod ipAddrs=["192.168.0.5", "fd00::5"]
            addresses: [192.168.0.5, fd00::5]
        pod ipAddrs=[]
        pod ipv6pools=["six"]
            IPv6 pools: ["six"]
        pod ipAddrsNoIpam=["10.9.9.9"]
        pod hwAddr=02:00:0a:00:00:05
            addresses without IPAM: [10.9.9.9]
            MAC: [2, 0, 10, 0, 0, 5]
        pod hwAddr=02-00-0A-00-00-05
        namespace hwAddr=04:00:0a:00:00:05
            MAC: [2, 0, 10, 0, 0, 5]
        pod hwAddr=0200.0a00.0005
            MAC: [2, 0, 10, 0, 0, 5]
        namespace hwAddr=02:00:0a:00:00:05
        namespace ipAddrs=no JSON
            nothing
        pod floatingIPs=["198.51.100.7"]
        pod allowedSourcePrefixes=["10.0.0.0/8", "fd00::/8"]
            floating addresses: [198.51.100.7]
            source prefixes: [10.0.0.0/8, fd00::/8]
    "#]]
    .assert_eq(&all(cases));
}

#[test]
fn what_is_wrong_is_named() {
    let cases: &[Case] = &[
        (&[("ipv4pools", "pool-1")], &[]),
        (&[("ipv4pools", r#"{"pool": 1}"#)], &[]),
        (&[("ipv6pools", "[6]")], &[]),
        (&[("ipv6pools", r#"[""]"#)], &[]),
        (&[], &[("ipv4pools", "pool-1")]),
        (&[("ipFamilies", r#"["ipv4"]"#)], &[]),
        (&[("ipFamilies", "[]")], &[]),
        (&[("ipAddrs", "192.168.0.5")], &[]),
        (&[("ipAddrs", r#"["192.168.0.256"]"#)], &[]),
        (&[("ipAddrs", r#"["192.168.0.5/32"]"#)], &[]),
        (&[("ipAddrs", r#"["192.168.0.5", "192.168.0.6"]"#)], &[]),
        (&[("ipAddrsNoIpam", r#"["fd00::1", "fd00::2"]"#)], &[]),
        (&[("ipAddrs", r#"["192.168.0.5"]"#), ("ipAddrsNoIpam", r#"["fd00::1"]"#)], &[]),
        (&[("hwAddr", "02:00:0a:00:05")], &[]),
        (&[("hwAddr", "02:00:0a:00:00:0g")], &[]),
        (&[("hwAddr", "02000a000005")], &[]),
        (&[("hwAddr", "+2:00:0a:00:00:05")], &[]),
        (&[("hwAddr", "größe")], &[]),
        (&[("hwAddr", "01:00:5e:00:00:01")], &[]),
        (&[("hwAddr", "00:00:00:00:00:00")], &[]),
        (&[("floatingIPs", "[")], &[]),
        (&[("allowedSourcePrefixes", r#"["10.0.0.0"]"#)], &[]),
    ];
    expect![[r#"
        pod ipv4pools=pool-1
            wrong: pod shop/web: annotation cni.projectcalico.org/ipv4pools is "pool-1": it cannot be read (expected value at line 1 column 1): write a JSON list of pools such as ["pool-1", "10.0.0.0/16"]; correct it with kubectl annotate --overwrite
        pod ipv4pools={"pool": 1}
            wrong: pod shop/web: annotation cni.projectcalico.org/ipv4pools is "{\"pool\": 1}": it cannot be read (invalid type: map, expected a sequence at line 1 column 0): write a JSON list of pools such as ["pool-1", "10.0.0.0/16"]; correct it with kubectl annotate --overwrite
        pod ipv6pools=[6]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipv6pools is "[6]": it cannot be read (invalid type: integer `6`, expected a string at line 1 column 2): write a JSON list of pools such as ["pool-1", "10.0.0.0/16"]; correct it with kubectl annotate --overwrite
        pod ipv6pools=[""]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipv6pools is "[\"\"]": "" is none: write a JSON list of pools such as ["pool-1", "10.0.0.0/16"]; correct it with kubectl annotate --overwrite
        namespace ipv4pools=pool-1
            wrong: pod shop/web: annotation cni.projectcalico.org/ipv4pools of its namespace shop is "pool-1": it cannot be read (expected value at line 1 column 1): write a JSON list of pools such as ["pool-1", "10.0.0.0/16"]; correct it with kubectl annotate --overwrite
        pod ipFamilies=["ipv4"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipFamilies is "[\"ipv4\"]": "ipv4" is none: write a JSON list of families such as ["IPv4", "IPv6"]; correct it with kubectl annotate --overwrite
        pod ipFamilies=[]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipFamilies is "[]": a pod needs an address of one family at least; correct it with kubectl annotate --overwrite
        pod ipAddrs=192.168.0.5
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrs is "192.168.0.5": it cannot be read (invalid type: floating point `192.168`, expected a sequence at line 1 column 7): write a JSON list of addresses such as ["192.168.0.5"]; correct it with kubectl annotate --overwrite
        pod ipAddrs=["192.168.0.256"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrs is "[\"192.168.0.256\"]": "192.168.0.256" is none: write a JSON list of addresses such as ["192.168.0.5"]; correct it with kubectl annotate --overwrite
        pod ipAddrs=["192.168.0.5/32"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrs is "[\"192.168.0.5/32\"]": "192.168.0.5/32" is none: write a JSON list of addresses such as ["192.168.0.5"]; correct it with kubectl annotate --overwrite
        pod ipAddrs=["192.168.0.5", "192.168.0.6"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrs is "[\"192.168.0.5\", \"192.168.0.6\"]": a pod has one IPv4 address at most; correct it with kubectl annotate --overwrite
        pod ipAddrsNoIpam=["fd00::1", "fd00::2"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrsNoIpam is "[\"fd00::1\", \"fd00::2\"]": a pod has one IPv6 address at most; correct it with kubectl annotate --overwrite
        pod ipAddrs=["192.168.0.5"]
        pod ipAddrsNoIpam=["fd00::1"]
            wrong: pod shop/web: annotation cni.projectcalico.org/ipAddrsNoIpam is "[\"fd00::1\"]": can't have both annotations: 'ipAddrs' and 'ipAddrsNoIpam' in use at the same time; correct it with kubectl annotate --overwrite
        pod hwAddr=02:00:0a:00:05
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "02:00:0a:00:05": write six bytes such as 02:00:0a:00:00:05; correct it with kubectl annotate --overwrite
        pod hwAddr=02:00:0a:00:00:0g
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "02:00:0a:00:00:0g": write six bytes such as 02:00:0a:00:00:05; correct it with kubectl annotate --overwrite
        pod hwAddr=02000a000005
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "02000a000005": write six bytes such as 02:00:0a:00:00:05; correct it with kubectl annotate --overwrite
        pod hwAddr=+2:00:0a:00:00:05
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "+2:00:0a:00:00:05": write six bytes such as 02:00:0a:00:00:05; correct it with kubectl annotate --overwrite
        pod hwAddr=größe
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "größe": write six bytes such as 02:00:0a:00:00:05; correct it with kubectl annotate --overwrite
        pod hwAddr=01:00:5e:00:00:01
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "01:00:5e:00:00:01": no interface can have it: it is a group's, or nothing but 0; correct it with kubectl annotate --overwrite
        pod hwAddr=00:00:00:00:00:00
            wrong: pod shop/web: annotation cni.projectcalico.org/hwAddr is "00:00:00:00:00:00": no interface can have it: it is a group's, or nothing but 0; correct it with kubectl annotate --overwrite
        pod floatingIPs=[
            wrong: pod shop/web: annotation cni.projectcalico.org/floatingIPs is "[": it cannot be read (EOF while parsing a list at line 1 column 1): write a JSON list of addresses such as ["198.51.100.7"]; correct it with kubectl annotate --overwrite
        pod allowedSourcePrefixes=["10.0.0.0"]
            wrong: pod shop/web: annotation cni.projectcalico.org/allowedSourcePrefixes is "[\"10.0.0.0\"]": "10.0.0.0" is none: write a JSON list of ranges such as ["10.0.0.0/8"]; correct it with kubectl annotate --overwrite
    "#]].assert_eq(&all(cases));
}

proptest::proptest! {
    // Whatever a user writes is read, or refused with its name.
    #[test]
    fn any_text_is_read_or_named(index in 0..ADD_ANNOTATIONS.len(), value in "[\\PC\\[\\]\",:.0-9a-f]{0,40}") {
        let name = ADD_ANNOTATIONS[index];
        let annotations = Annotations::from([(name.to_owned(), value)]);
        if let Err(wrong) = Wishes::read("shop", "web", &annotations, &Annotations::new()) {
            let said = wrong.to_string();
            let begin = format!("pod shop/web: annotation {name} is ");
            proptest::prop_assert!(said.starts_with(&begin));
        }
    }
}
