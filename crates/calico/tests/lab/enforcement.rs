//! Policy stays in force whatever happens: pods come, agents die, somebody else changes the rules,
//! connections are under way.

use crate::connections::SHOP;
use crate::support::{Lab, text};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

pub(crate) const SOON: Duration = Duration::from_secs(8);
/// What an agent may take to start again.
pub(crate) const BOOT: Duration = Duration::from_secs(20);

/// Nothing comes to pods of an `app`, but from `app: web`.
pub(crate) const ONLY_WEB: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: only-web}
spec:
  selector: has(app)
  types: [Ingress]
  ingress: [{action: Allow, source: {selector: app == 'web'}}]
";

/// A command at a place that goes on while the test does.
pub(crate) fn start(lab: &Lab, place: &str, line: &str) -> Child {
    let mut command = lab.at(place, line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("calico lab exec")
}

pub(crate) fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

/// Echo requests that have arrived at a place since it was made.
pub(crate) fn echoes(lab: &Lab, place: &str) -> u64 {
    let line = "nstat -asz IcmpInEchos | awk '/^IcmpInEchos/ {print $2}'";
    lab.run(place, line).trim().parse().expect("a number")
}

/// The next address that a node gives a pod, if nobody else asks.
fn next_address(lab: &Lab, pod: &str) -> String {
    let last: std::net::Ipv4Addr = lab.address(pod).parse().expect("an IPv4 address");
    std::net::Ipv4Addr::from(u32::from(last) + 1).to_string()
}

#[test]
fn add_returns_when_policy_is_in_force() {
    let lab = Lab::of("add", SHOP, &[]);
    lab.resources("apply", ONLY_WEB);
    lab.connections("client db tcp/5432 denied\nweb db tcp/5432 allowed");
    lab.succeeds(&["pod", "add", "before", "--node", "worker-2"]);
    let mut last = "before".to_owned();
    for round in 0..5 {
        // First one that the policy is not about, to see that pings do arrive so early.
        for (pod, denied) in [(format!("open-{round}"), false), (format!("closed-{round}"), true)] {
            let expected = next_address(&lab, &last);
            let pings = start(&lab, "client", &format!("ping -i 0.002 -w 20 -q {expected}"));
            let running = |lab: &Lab| lab.try_run("client", "pgrep -x ping").0;
            lab.within(SOON, "client pings", running);
            let mut add = vec!["pod", "add", &pod, "--node", "worker-2"];
            if denied {
                add.extend(["--label", "app=closed"]);
            }
            lab.succeeds(&add);
            assert_eq!(lab.address(&pod), expected, "the address that is being pinged");
            if denied {
                assert!(lab.pings("web", &pod), "who may reach it does, at once");
            } else {
                lab.within(SOON, "pings arrive", |lab| echoes(lab, &pod) > 100);
            }
            lab.run("client", "pkill -INT -x ping");
            ended(pings);
            if denied {
                assert_eq!(echoes(&lab, &pod), 1, "none but that of web");
            }
            last = pod;
        }
    }
}

#[test]
fn a_killed_agent_leaves_policy_in_force_and_changes_no_rule() {
    let lab = Lab::of("killed", SHOP, &[]);
    lab.resources("apply", ONLY_WEB);
    lab.connections("client db tcp/5432 denied\nweb db tcp/5432 allowed");
    let ruleset = |lab: &Lab| lab.run("worker-3", "nft -a -s list ruleset");
    let before = ruleset(&lab);
    let echoes_before = echoes(&lab, "db");
    let denied = start(&lab, "client", "ping -i 0.005 -w 12 -q db");
    let allowed = start(&lab, "web", "ping -i 0.005 -w 12 -q db");
    for round in 1..=2 {
        lab.run("worker-3", "pkill -KILL -x calico-node");
        lab.within(BOOT, "the agent is back", |lab| {
            let restarted = format!("test $(pgrep -c -x calico-node) = 1 # {round}");
            lab.try_run("worker-3", &restarted).0
                && lab.try_run("worker-3", "calico-node -felix-ready").0
        });
    }
    assert_eq!(ruleset(&lab), before, "the same rules, under the same handles");
    let denied = text(&ended(denied));
    assert!(denied.contains(" 0 received"), "{denied}");
    let allowed = text(&ended(allowed));
    assert!(allowed.contains(" 0% packet loss"), "{allowed}");
    let sent = allowed.split(" packets transmitted").next().and_then(|head| head.lines().last());
    let sent: u64 = sent.and_then(|count| count.parse().ok()).expect("a count");
    assert_eq!(echoes(&lab, "db") - echoes_before, sent, "none but those of web");
    // What changes while no agent runs is in force once there is one again.
    lab.agent("stop", "worker-3");
    lab.resources("delete", ONLY_WEB);
    lab.connections("client db tcp/5432 denied\nweb db tcp/5432 allowed");
    lab.agent("start", "worker-3");
    lab.connections("client db tcp/5432 allowed");
}

#[test]
fn a_connection_that_is_not_allowed_any_more_ends() {
    let lab = Lab::of("established", SHOP, &[]);
    // A line every 100 ms; three seconds without one, and curl gives up.
    let transfer = |from: &str, ticks: u32| {
        let line =
            format!("curl -4 -sSN --speed-limit 1 --speed-time 3 http://db:5432/ticks/{ticks}");
        start(&lab, from, &line)
    };
    let (client, web) = (transfer("client", 600), transfer("web", 100));
    for from in ["client", "web"] {
        lab.within(SOON, "it reads", |lab| {
            let line = "ss -Htn state established 'dport = :5432' | grep -q .";
            lab.try_run(from, line).0
        });
    }
    let address = lab.address("client");
    let entries = format!("conntrack -L -p tcp -s {address} --dport 5432 2>/dev/null | wc -l");
    assert_eq!(lab.run("worker-3", &entries).trim(), "1");
    lab.resources("apply", ONLY_WEB);
    lab.connections("client db tcp/5432 denied\nweb db tcp/5432 allowed");
    let client = ended(client);
    assert_eq!(client.status.code(), Some(28), "{}", text(&client));
    assert!(text(&client).contains("too slow"), "{}", text(&client));
    let ticks = |output: &Output| text(output).matches("tick\n").count();
    assert!((1..600).contains(&ticks(&client)), "{}", text(&client));
    let web = ended(web);
    assert!(web.status.success() && ticks(&web) == 100, "{}", text(&web));
    lab.within(SOON, "nothing of it is tracked as established", |lab| {
        let line = format!(
            "conntrack -L -p tcp -s {address} --dport 5432 2>/dev/null | grep -c ESTABLISHED"
        );
        lab.try_run("worker-3", &line).1.trim() == "0"
    });
}

#[test]
fn what_others_do_to_our_rules_is_undone_and_theirs_stay() {
    let lab = Lab::of("drift", SHOP, &[]);
    let theirs = "add table inet theirs\n\
                  add chain inet theirs in { type filter hook input priority 7; }\n\
                  add set inet theirs some { type ipv4_addr; elements = { 192.0.2.1 } }\n\
                  add rule inet theirs in ip saddr @some counter drop\n";
    lab.run("worker-3", &format!("printf '%s' '{theirs}' | nft -f -"));
    let others = |lab: &Lab| lab.run("worker-3", "nft -a -s list table inet theirs");
    let theirs_before = others(&lab);
    lab.resources("apply", ONLY_WEB);
    let table = "client db tcp/5432 denied\nweb db tcp/5432 allowed";
    lab.connections(table);
    // Sorted, as nft prints objects in the order that they were made in.
    let ours = |lab: &Lab| lab.run("worker-3", "nft -s list table ip calico | sort");
    let before = ours(&lab);
    let chains = lab.run("worker-3", "nft list table ip calico | awk '/^\\tchain/ {print $2}'");
    assert!(chains.lines().count() > 3, "{chains}");
    let chains = chains.lines().map(|chain| format!("nft flush chain ip calico {chain}"));
    let whole = ["nft flush table ip calico", "nft delete table ip calico"].map(str::to_owned);
    for damage in chains.chain(whole) {
        lab.run("worker-3", &damage);
        lab.within(SOON, &format!("repaired: {damage}"), |lab| {
            // A table that is gone cannot be listed.
            lab.try_run("worker-3", "nft -s list table ip calico | sort").1 == before
        });
    }
    lab.connections(table);
    assert_eq!(others(&lab), theirs_before, "another owner's table");
    // A stranger's rule in a chain of ours goes, too.
    let chain = "nft list table ip calico | awk '/^\\tchain/ {print $2; exit}'";
    let chain = lab.run("worker-3", chain);
    lab.run("worker-3", &format!("nft insert rule ip calico {} accept", chain.trim()));
    lab.within(SOON, "the rule has gone", |lab| ours(lab) == before);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let lab = Lab::of("leaks", SHOP, &[]);
    lab.connections("client db tcp/5432 allowed");
    let size = |lab: &Lab| lab.run("worker-3", "nft -s list ruleset | wc -l").trim().to_owned();
    let before = size(&lab);
    for _ in 0..3 {
        lab.resources("apply", ONLY_WEB);
        let add = ["pod", "add", "more", "--node", "worker-3", "--label", "app=more"];
        lab.succeeds(&[&add[..], &["--namespace", "shop", "--port", "http=81"]].concat());
        lab.connections("client more tcp/81 denied\nweb more tcp/81 allowed");
        lab.resources("delete", ONLY_WEB);
        lab.connections("client more tcp/81 allowed");
        lab.succeeds(&["pod", "rm", "more"]);
        lab.within(SOON, "as it was", |lab| size(lab) == before);
    }
}

/// How long pods and policies come and go.
const CHURN: Duration = Duration::from_secs(60);

fn is_ready(lab: &Lab, node: &str) -> bool {
    lab.try_run(node, "calico-node -felix-ready").0
}

/// What two nodes' kernels hold, in no order: nft prints objects in the order they were made in.
fn rulesets(lab: &Lab) -> [String; 2] {
    ["worker-2", "worker-3"].map(|node| lab.run(node, "nft -s list ruleset | sort"))
}

#[test]
fn after_a_minute_of_churn_nothing_is_left_and_nothing_differs() {
    let lab = Lab::of("churn", SHOP, &[]);
    lab.connections("client db tcp/5432 allowed");
    let before = rulesets(&lab);
    let mut addresses = Vec::new();
    let end = std::time::Instant::now() + CHURN;
    for round in 0.. {
        if std::time::Instant::now() > end {
            assert!(round >= 5, "{round} rounds");
            break;
        }
        let node = ["worker-2", "worker-3"][round % 2];
        lab.resources("apply", ONLY_WEB);
        for pod in ["one", "two"] {
            let add = ["pod", "add", pod, "--node", node, "--namespace", "shop"];
            lab.succeeds(&[&add[..], &["--label", &format!("app={pod}")]].concat());
            lab.run("web", &format!("ping -c1 -W2 {pod}"));
            addresses.push((node, lab.address(pod)));
        }
        if round % 3 == 2 {
            // At any point, also in the middle of what follows.
            lab.run(node, "pkill -KILL -x calico-node");
        }
        lab.resources("delete", ONLY_WEB);
        lab.succeeds(&["pod", "rm", "one"]);
        lab.succeeds(&["pod", "rm", "two"]);
        // Without an agent nothing can be added.
        lab.within(BOOT, "the agent is ready", |lab| is_ready(lab, node));
    }
    lab.within(BOOT, "both nodes' rules are as before", |lab| rulesets(lab) == before);
    lab.connections("client db tcp/5432 allowed");
    lab.within(SOON, "no connection of a pod that is gone is tracked", |lab| {
        addresses.iter().all(|(node, address)| {
            let tracked = format!("conntrack -L 2>/dev/null | grep -c -w {address}");
            lab.try_run(node, &tracked).1.trim() == "0"
        })
    });
    // A new agent finds nothing to change: the handles of all rules stay.
    for node in ["worker-2", "worker-3"] {
        let handles = |lab: &Lab| lab.run(node, "nft -a -s list ruleset");
        let before = handles(&lab);
        lab.agent("stop", node);
        lab.agent("start", node);
        lab.within(BOOT, "the agent is ready", |lab| is_ready(lab, node));
        assert_eq!(handles(&lab), before, "{node}");
    }
}
