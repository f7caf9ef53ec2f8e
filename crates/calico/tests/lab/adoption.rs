//! A node whose rules are Felix's becomes ours, and nothing that policy denies gets through meanwhile.

use crate::connections::SHOP;
use crate::enforcement::{BOOT, ONLY_WEB, SOON, echoes, ended, start};
use crate::support::{Lab, text};

/// What Felix's nftables mode leaves behind.
const FELIX: &str = include_str!("../../../../tests/felix/ruleset.nft");

/// Other owners' tables; one chain drops what it has no rule for.
const OTHERS: &str = "
table inet firewall {
    chain forward {
        type filter hook forward priority filter + 10; policy drop;
        accept
    }
}
table arp calico-arp {
    chain filter-OUTPUT {
        type filter hook output priority filter;
    }
}
";

/// `nft -f -` on a node.
fn load(lab: &Lab, node: &str, ruleset: &str) {
    lab.run(node, &format!("nft -f - <<'END'\n{ruleset}\nEND"));
}

#[test]
fn felixs_rules_are_replaced_without_a_gap() {
    let lab = Lab::of("felix", SHOP, &[]);
    lab.resources("apply", ONLY_WEB);
    let table = "client db tcp/5432 denied\nweb db tcp/5432 allowed\ndb client tcp/80 allowed";
    lab.connections(table);
    lab.agent("stop", "worker-3");
    // Not vxlan.calico.
    let interface = lab.run("worker-3", r"ip -o link | grep -o 'cali[0-9a-f]\{11\}'");
    let interface = interface.trim();
    let felix = FELIX.replace("INTERFACE", interface).replace("WEB", &lab.address("web"));
    load(&lab, "worker-3", &felix);
    load(&lab, "worker-3", OTHERS);
    // Felix's rules are in force, not what our agent has left.
    lab.connections(table);
    let packets = format!(
        "nft list chain ip calico filter-cali-tw-{interface} | \
         grep -q 'counter packets [1-9].* Drop if no policies'"
    );
    assert!(lab.try_run("worker-3", &packets).0, "Felix's rule has dropped packets");
    let others = |lab: &Lab| {
        let tables = ["inet firewall", "arp calico-arp"];
        tables.map(|table| lab.run("worker-3", &format!("nft -a list table {table}")))
    };
    let others_before = others(&lab);

    let arrived = echoes(&lab, "db");
    let denied = start(&lab, "client", "ping -i 0.002 -w 60 -q db");
    let allowed = start(&lab, "web", "ping -i 0.005 -w 60 -q db");
    for place in ["client", "web"] {
        lab.within(SOON, "it pings", |lab| lab.try_run(place, "pgrep -x ping").0);
    }
    lab.agent("start", "worker-3");
    lab.within(BOOT, "the rules are ours", |lab| {
        lab.try_run("worker-3", "calico-node -felix-ready").0
            && !lab.run("worker-3", "nft list table ip calico").contains("cali:a;")
    });
    lab.connections(table);
    for place in ["client", "web"] {
        lab.run(place, "pkill -INT -x ping");
    }
    let denied = text(&ended(denied));
    assert!(denied.contains(" 0 received"), "{denied}");
    let allowed = text(&ended(allowed));
    assert!(allowed.contains(" 0% packet loss"), "{allowed}");
    let sent = allowed.split(" packets transmitted").next().and_then(|head| head.lines().last());
    let sent: u64 = sent.and_then(|count| count.parse().ok()).expect("a count");
    assert_eq!(echoes(&lab, "db") - arrived, sent, "none but those of web");

    assert_eq!(others(&lab), others_before, "other owners' tables");
    let status = lab.try_run("worker-3", "calicoctl node status").1;
    assert!(status.contains("chain inet firewall forward of another program drops"), "{status}");
    let left = lab.run("worker-3", "nft list table ip6 calico");
    assert!(!left.contains("cali:a;"), "{left}");
}
