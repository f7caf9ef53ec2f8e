use super::*;
use expect_test::expect;

fn set(text: &str) -> BTreeSet<Fault> {
    let settings = text.split(',').map(|word| word.parse().expect(word)).collect();
    with(&BTreeSet::new(), settings)
}

fn shown(faults: &BTreeSet<Fault>) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn what_is_written_is_shown() {
    let all =
        "src-dst-check=on,block=ipip,block=vxlan,block=bgp,partition=worker-1,mtu=1400,loss=5%";
    assert_eq!(shown(&set(all)), all);
    for (text, wanted) in [
        ("loss=5%,loss=0.25%", "loss=0.25%"),
        ("mtu=1400,mtu=1300", "mtu=1300"),
        ("partition=b,partition=a,partition=a", "partition=a,partition=b"),
        ("src-dst-check=on,src-dst-check=off", ""),
        ("loss=10.5%", "loss=10.5%"),
        ("loss=10%", "loss=10%"),
    ] {
        assert_eq!(shown(&set(text)), wanted, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, wanted) in [
        ("loss=5", "above 0% and below 100%"),
        ("loss=0%", "above 0%"),
        ("loss=100%", "below 100%"),
        ("loss=0.001%", "such as"),
        ("loss=-1%", "such as"),
        ("loss=.5%", "such as"),
        ("mtu=67", "68–65535 bytes"),
        ("mtu=big", "not \"big\""),
        ("block=tcp", "ipip, vxlan or bgp"),
        ("partition", "a node's name"),
        ("src-dst-check=yes", "on or off"),
        ("jitter=5ms", "no fault \"jitter\""),
    ] {
        let error = text.parse::<Setting>().expect_err(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn cleared_by_kind_or_wholly() {
    let faults = set("block=ipip,block=bgp,mtu=1400");
    let clear = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        without(&faults, &names).map(|left| shown(&left)).map_err(str::to_owned)
    };
    assert_eq!(clear(&[]), Ok(String::new()));
    assert_eq!(clear(&["block"]), Ok("mtu=1400".into()));
    assert_eq!(clear(&["block=bgp", "mtu"]), Ok("block=ipip".into()));
    assert_eq!(clear(&["mtu", "loss"]), Err("loss".into()));
}

#[test]
fn rules_at_a_port() {
    let port = |name: &str, machine: &str| Port {
        name: name.into(),
        machine: machine.into(),
        interface: "ens5".into(),
        addresses: vec!["10.30.0.206/24".parse().expect("a prefix")],
        mac: Some(Mac([0x02, 0x42, 10, 30, 0, 206])),
    };
    let ports = [port("p1-a", "a"), port("p2-b", "b")];
    let all = set("src-dst-check=on,block=vxlan,partition=b,mtu=1400,loss=5%");
    let tables = tables(&all, &ports, &[4789].into());
    tables[0].check().expect("valid");
    expect![[r#"
        table netdev lab-faults {
        	chain p1-a.in.block-vxlan {
        		type filter hook ingress device "p1-a" priority filter; policy accept;
        		udp dport 4789 counter drop comment "block=vxlan"
        	}

        	chain p1-a.in.mtu {
        		type filter hook ingress device "p1-a" priority filter; policy accept;
        		ip length > 1400 counter drop comment "mtu=1400"
        		ip6 length > 1360 counter drop comment "mtu=1400"
        	}

        	chain p1-a.in.src-dst-check {
        		type filter hook ingress device "p1-a" priority filter; policy accept;
        		meta pkttype broadcast counter accept
        		meta pkttype multicast counter accept
        		ip saddr != 10.30.0.206 counter drop comment "src-dst-check=on"
        		ip6 saddr != fe80::42:aff:fe1e:ce counter drop comment "src-dst-check=on"
        	}

        	chain p1-a.out.block-vxlan {
        		type filter hook egress device "p1-a" priority filter; policy accept;
        		udp dport 4789 counter drop comment "block=vxlan"
        	}

        	chain p1-a.out.loss {
        		type filter hook egress device "p1-a" priority filter; policy accept;
        		numgen random mod 10000 < 500 counter drop comment "loss=5%"
        	}

        	chain p1-a.out.mtu {
        		type filter hook egress device "p1-a" priority filter; policy accept;
        		ip length > 1400 counter drop comment "mtu=1400"
        		ip6 length > 1360 counter drop comment "mtu=1400"
        	}

        	chain p1-a.out.src-dst-check {
        		type filter hook egress device "p1-a" priority filter; policy accept;
        		meta pkttype broadcast counter accept
        		meta pkttype multicast counter accept
        		ip daddr != 10.30.0.206 counter drop comment "src-dst-check=on"
        		ip6 daddr != fe80::42:aff:fe1e:ce counter drop comment "src-dst-check=on"
        	}
        }"#]]
    .assert_eq(&super::tables(&all, &ports[..1], &[4789].into())[0].to_string());
    let partitioned = |name: &&String| name.ends_with("partition");
    let chains: Vec<_> = tables[0].chains.keys().filter(partitioned).collect();
    assert_eq!(chains, ["p2-b.in.partition", "p2-b.out.partition"]);
    assert_eq!(super::tables(&BTreeSet::new(), &ports, &[4789].into()), []);
}
