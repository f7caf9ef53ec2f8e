//! Host endpoints on real nodes: what policies say of a node's own traffic and of what it forwards,
//! and what no policy can close.

use crate::connections::SHOP;
use crate::support::{Lab, WORKER_1, WORKER_2};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(8);
const OUTSIDE: &str = "198.51.100.10/32";

/// A service of a node: on a TCP port it says its name by HTTP, as pods do.
fn serve(lab: &Lab, node: &str, port: u16) {
    let script = format!(
        "cat > /var/log/calico/answer <<'END'\n\
         while read -r line; do [ ${{#line}} -le 1 ] && break; done\n\
         printf 'HTTP/1.0 200 OK\\r\\n\\r\\n{node} here\\n'\n\
         END\n\
         setsid socat TCP-LISTEN:{port},fork,reuseaddr SYSTEM:'sh /var/log/calico/answer' \
         >/dev/null 2>&1 </dev/null &"
    );
    lab.run(node, &script);
    let listens = format!("ss -ltn | grep -q ':{port} '");
    lab.within(SETTLE, "the node's service listens", |lab| lab.try_run(node, &listens).0);
}

/// Every line of a table comes out as it says, soon: `FROM ADDRESS PORT WHO`, where WHO is the name
/// of who answers there by HTTP, or `nobody`.
fn answers(lab: &Lab, what: &str, table: &str) {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [from, address, port, who] = words[..] else { panic!("{line}") };
        let curl = format!(
            "curl -4 -s --connect-timeout 1 --max-time 3 http://{address}:{port}/ | head -1"
        );
        let expected = if who == "nobody" { String::new() } else { format!("{who} ") };
        lab.within(SETTLE, &format!("{what}: {line}"), |lab| {
            let said = lab.try_run(from, &curl).1;
            if expected.is_empty() { said.is_empty() } else { said.starts_with(&expected) }
        });
    }
}

/// What `calicoctl explain` says where worker-1 has a host endpoint of `ens5` with the policy `own`.
fn is_explained(lab: &Lab) {
    let rule = "egress rule 0 of GlobalNetworkPolicy(own), tier default";
    let end = "DENIED on worker-1 by no rule of tier default matches";
    let of_rule = format!("egress of the host endpoint of ens5, the node's own: allow: {rule}");
    for (from, to, port, said) in [
        ("worker-2", "worker-1", "tcp/8080", end),
        ("client", WORKER_1, "tcp/8080", end),
        ("198.51.100.10", "worker-1", "tcp/8080", "ALLOWED by policy"),
        ("198.51.100.10", WORKER_1, "tcp/22", "allow: failsafe port"),
        ("worker-1", "worker-2", "tcp/8080", &of_rule),
        ("worker-1", "worker-2", "tcp/8081", end),
        ("shop/web", "worker-1", "tcp/8080", "to this node: allow: defaultEndpointToHostAction"),
        ("worker-1", "shop/web", "tcp/80", "ALLOWED by policy"),
    ] {
        let line = format!("calicoctl explain --from {from} --to {to} --port {port}");
        lab.within(SETTLE, &format!("{line}: {said}"), |lab| {
            let text = lab.run("worker-1", &line);
            assert!(!text.contains("NOT AS WANTED") && !text.contains("not read"), "{text}");
            text.contains(said)
        });
    }
}

/// A host endpoint of worker-1.
fn endpoint(spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
         metadata: {{name: worker-1, labels: {{host: worker-1}}}}\n\
         spec: {{node: worker-1, {spec}}}\n"
    )
}

/// A policy of it.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n\
         metadata: {{name: {name}}}\nspec: {{selector: host == 'worker-1', {spec}}}\n"
    )
}

/// As in Calico's tutorial on the protection of nodes: `*` is of the loopback interface, too.
const LOCALHOST: &str = "---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: localhost}
spec:
  selector: has(host)
  types: [Ingress, Egress]
  ingress: [{action: Allow, destination: {nets: [127.0.0.0/8]}}]
  egress: [{action: Allow, destination: {nets: [127.0.0.0/8]}}]
";

/// What of worker-1 is open without a host endpoint: everything.
fn all_is_open(lab: &Lab, what: &str) {
    let table = format!(
        "
        worker-2  {WORKER_1}  8080  worker-1
        outside   {WORKER_1}  8080  worker-1
        outside   {WORKER_1}  22    worker-1
        worker-1  {WORKER_2}  8080  worker-2
        web       {WORKER_2}  8080  worker-2
        client    {WORKER_1}  8080  worker-1
        web       {WORKER_1}  8080  worker-1
        "
    );
    answers(lab, what, &table);
    forwards(lab);
}

/// What worker-1 forwards.
fn forwards(lab: &Lab) {
    lab.connections(
        "
        client  web     tcp/80    allowed
        teller  api     tcp/8080  allowed
        teller  web     tcp/80    allowed
        db      teller  ping      allowed
        ",
    );
}

/// A host endpoint without policy closes the node, but for failsafe ports and what it forwards.
fn the_node_is_closed(lab: &Lab, what: &str) {
    let table = format!(
        "
        worker-2  {WORKER_1}  8080  nobody
        outside   {WORKER_1}  8080  nobody
        client    {WORKER_1}  8080  nobody
        outside   {WORKER_1}  22    worker-1
        worker-1  {WORKER_2}  8080  nobody
        worker-1  {WORKER_2}  6667  worker-2
        "
    );
    answers(lab, what, &table);
    forwards(lab);
}

fn lab_of_servers(test: &str) -> Lab {
    let lab = Lab::of(test, SHOP, &[]);
    for (node, port) in
        [("worker-1", 8080), ("worker-1", 22), ("worker-2", 8080), ("worker-2", 6667)]
    {
        serve(&lab, node, port);
    }
    lab
}

#[test]
fn a_host_endpoint_closes_its_node_but_for_failsafe_ports_however_it_is_named() {
    let lab = lab_of_servers("host-names");
    all_is_open(&lab, "before");
    for spec in ["interfaceName: ens5", "expectedIPs: [10.30.0.206]", "interfaceName: '*'"] {
        let endpoint = endpoint(spec);
        lab.resources("apply", &endpoint);
        lab.resources("apply", LOCALHOST);
        the_node_is_closed(&lab, spec);
        // What the node sends to its own pods is theirs to judge.
        lab.connections("worker-1 web tcp/80 allowed\nworker-1 teller ping allowed");
        // The datastore is heard still, and what else the node needs goes on.
        lab.run("worker-1", "calico-node -felix-ready");
        lab.succeeds(&["pod", "add", "late", "--node", "worker-1"]);
        lab.connections("client late tcp/80 allowed\nlate db ping allowed");
        lab.succeeds(&["pod", "rm", "late"]);
        lab.resources("delete", &endpoint);
        all_is_open(&lab, &format!("without {spec}"));
    }
}

#[test]
fn policies_of_host_endpoints_say_what_of_the_node_is_open() {
    let lab = lab_of_servers("host-policy");
    let web = lab.address("web");
    // Somebody's own port forwarding.
    let dnat = format!(
        "nft add table ip forwarding && \
         nft 'add chain ip forwarding ports {{ type nat hook prerouting priority -100; }}' && \
         nft add rule ip forwarding ports iifname ens5 tcp dport 30080 dnat to {web}:80"
    );
    lab.run("worker-1", &dnat);
    let forwarded = format!("outside {WORKER_1} 30080 web");
    let not_forwarded = format!("outside {WORKER_1} 30080 nobody");
    answers(&lab, "no endpoint", &forwarded);
    lab.resources("apply", &endpoint("interfaceName: ens5"));
    the_node_is_closed(&lab, "no policy");
    answers(&lab, "no policy", &forwarded);

    let rules = format!(
        "types: [Ingress, Egress], ingress: [{{action: Allow, protocol: TCP, \
         source: {{nets: [{OUTSIDE}]}}, destination: {{ports: [8080]}}}}, \
         {{action: Allow, protocol: TCP, destination: {{ports: [5475]}}}}], \
         egress: [{{action: Allow, protocol: TCP, destination: {{ports: [8080, 5475]}}}}]"
    );
    lab.resources("apply", &policy("own", &rules));
    let table = format!(
        "
        outside   {WORKER_1}  8080  worker-1
        worker-2  {WORKER_1}  8080  nobody
        worker-1  {WORKER_2}  8080  worker-2
        outside   {WORKER_1}  22    worker-1
        "
    );
    is_explained(&lab);
    answers(&lab, "a normal policy", &table);
    answers(&lab, "a normal policy is not about what is forwarded", &forwarded);
    forwards(&lab);

    // What is forwarded: seen after DNAT.
    let rules = format!(
        "order: 10, applyOnForward: true, types: [Ingress], ingress: [{{action: Deny, \
         protocol: TCP, source: {{nets: [{OUTSIDE}]}}, destination: {{ports: [80]}}}}, \
         {{action: Allow}}]"
    );
    lab.resources("apply", &policy("forward", &rules));
    answers(&lab, "applyOnForward", &not_forwarded);
    forwards(&lab);
    lab.resources("delete", &policy("forward", &rules));
    answers(&lab, "no applyOnForward policy", &forwarded);

    // … and before it.
    let rules = "order: 10, preDNAT: true, applyOnForward: true, types: [Ingress], \
                 ingress: [{action: Deny, protocol: TCP, destination: {ports: [30080]}}]";
    lab.resources("apply", &policy("pre-dnat", rules));
    answers(&lab, "preDNAT", &not_forwarded);
    answers(&lab, "preDNAT, others", &table);
    lab.resources("delete", &policy("pre-dnat", rules));
    answers(&lab, "no preDNAT policy", &forwarded);

    // Without connection tracking both ways must be allowed.
    serve(&lab, "worker-1", 7777);
    let untracked = |egress: &str| {
        let rules = format!(
            "order: 10, doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], \
             ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [7777]}}}}, \
             {{action: Deny, protocol: TCP, destination: {{ports: [8080]}}}}], \
             egress: [{egress}]"
        );
        policy("untracked", &rules)
    };
    let both = untracked("{action: Allow, protocol: TCP, source: {ports: [7777]}}");
    lab.resources("apply", &both);
    let table = format!(
        "
        worker-2  {WORKER_1}  7777  worker-1
        outside   {WORKER_1}  8080  nobody
        outside   {WORKER_1}  22    worker-1
        "
    );
    answers(&lab, "doNotTrack", &table);
    let tracked = lab.run("worker-1", "conntrack -L -p tcp --dport 7777 2>/dev/null | wc -l");
    assert_eq!(tracked.trim(), "0", "connections of a doNotTrack policy");
    lab.resources("apply", &untracked(""));
    answers(&lab, "doNotTrack, one way", &format!("worker-2 {WORKER_1} 7777 nobody"));
    lab.resources("delete", &both);
    answers(&lab, "no doNotTrack policy", &format!("outside {WORKER_1} 8080 worker-1"));

    // From a pod to its own node the setting decides, after the pod's own policy.
    let to_own_node = |who: &str| format!("web {WORKER_1} 8080 {who}");
    for (action, who) in [("Return", "worker-1"), ("Drop", "nobody"), ("Accept", "worker-1")] {
        let patch = format!("{{\"spec\":{{\"defaultEndpointToHostAction\":\"{action}\"}}}}");
        let line = format!("calicoctl patch felixconfiguration node.worker-1 -p '{patch}'");
        lab.run("master", &line);
        answers(&lab, action, &to_own_node(who));
    }
    let deny = "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
                metadata: {name: web, namespace: shop}\nspec: {selector: app == 'web', \
                types: [Egress], egress: [{action: Deny, destination: {ports: [8080]}, \
                protocol: TCP}, {action: Allow}]}\n";
    lab.resources("apply", deny);
    answers(&lab, "the pod's own policy", &to_own_node("nobody"));
}

#[test]
fn a_host_endpoint_of_all_interfaces_sees_what_tunnels_bring() {
    let lab = lab_of_servers("host-all");
    lab.resources("apply", &endpoint("interfaceName: ens5"));
    let to_itself = |who: &str| format!("worker-1 127.0.0.1 8080 {who}");
    answers(&lab, "the loopback interface is another", &to_itself("worker-1"));
    lab.resources("apply", &endpoint("interfaceName: '*'"));
    the_node_is_closed(&lab, "no policy");
    // As in Calico, the loopback interface is one of all.
    answers(&lab, "no policy", &to_itself("nobody"));
    let line = "calicoctl explain --from 127.0.0.1 --to worker-1 --port tcp/8080";
    let text = lab.run("worker-1", line);
    assert!(text.contains("egress of the host endpoint of lo, the node's own: deny"), "{text}");
    lab.resources("apply", LOCALHOST);
    answers(&lab, "localhost is allowed", &to_itself("worker-1"));
    lab.resources("delete", LOCALHOST);
    answers(&lab, "no policy again", &to_itself("nobody"));
    let rules = "applyOnForward: true, types: [Ingress], ingress: [{action: Deny, \
                 protocol: TCP, destination: {ports: [80]}}, {action: Allow}]";
    lab.resources("apply", &policy("forward", rules));
    lab.connections(
        "
        client    web  tcp/80    denied
        teller    web  tcp/80    denied
        client    web  ping      allowed
        teller    api  tcp/8080  allowed
        worker-1  web  tcp/80    allowed
        ",
    );
    // What is for the node itself, it allows now.
    answers(&lab, "own", &format!("worker-2 {WORKER_1} 8080 worker-1"));
    lab.resources("delete", &policy("forward", rules));
    the_node_is_closed(&lab, "no policy any more");
}

#[test]
fn bgp_and_the_datastore_are_failsafe() {
    let lab = Lab::up("host-bgp", &[]);
    lab.all_pods_reach_each_other();
    let nodes = ["master", "worker-1", "worker-2", "worker-3"];
    let endpoints = nodes.map(|node| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
             metadata: {{name: {node}, labels: {{host: {node}}}}}\n\
             spec: {{node: {node}, interfaceName: '*'}}\n"
        )
    });
    lab.resources("apply", LOCALHOST);
    lab.resources("apply", &endpoints.concat());
    let closed = |lab: &Lab| !lab.pings("worker-2", WORKER_1) && !lab.pings("worker-1", WORKER_2);
    lab.within(SETTLE, "the nodes are closed", closed);
    // Sessions that begin now, and routes that come by them.
    lab.agent("stop", "worker-1");
    lab.agent("start", "worker-1");
    lab.within(Duration::from_secs(20), "sessions of worker-1", |lab| {
        let status = lab.try_run("worker-1", "calicoctl node status").1;
        status.matches("Established").count() == nodes.len() - 1
    });
    lab.all_pods_reach_each_other();
    let add = ["pod", "add", "late", "--node", "worker-1"];
    lab.succeeds(&add);
    lab.within(SETTLE, "late is reached", |lab| lab.pings("pod-1", "late"));
    assert!(!lab.pings("worker-2", WORKER_1), "the node is still closed");
    lab.resources("delete", &endpoints.concat());
    lab.within(SETTLE, "the nodes are open", |lab| lab.pings("worker-2", WORKER_1));
}

#[test]
fn connections_of_a_node_end_when_a_host_endpoint_forbids_them_but_failsafe_ones_go_on() {
    let lab = lab_of_servers("host-ended");
    // What comes on a connection as long as it lasts; the other end waits.
    for port in [9000, 6666] {
        let line = format!(
            "setsid socat TCP-LISTEN:{port},reuseaddr SYSTEM:'while echo tick; do sleep 0.1; done' \
             >/dev/null 2>&1 </dev/null & \
             timeout 5 sh -c 'until ss -ltn | grep -q \":{port} \"; do sleep 0.1; done'"
        );
        lab.run("worker-1", &line);
        let line = format!(
            "setsid socat -u TCP:{WORKER_1}:{port} CREATE:/var/log/calico/ticks-{port} \
             >/dev/null 2>&1 </dev/null &"
        );
        lab.run("worker-2", &line);
    }
    let ticks = |lab: &Lab, port: u16| {
        let line = format!("wc -c < /var/log/calico/ticks-{port}");
        lab.try_run("worker-2", &line).1.trim().parse::<u64>().unwrap_or_default()
    };
    let go_on = |lab: &Lab, port| {
        let before = ticks(lab, port);
        lab.within(SETTLE, "ticks come", |lab| ticks(lab, port) > before);
    };
    go_on(&lab, 9000);
    go_on(&lab, 6666);
    lab.resources("apply", &endpoint("interfaceName: ens5"));
    lab.within(SETTLE, "the connection to port 9000 ends", |lab| {
        let before = ticks(lab, 9000);
        std::thread::sleep(Duration::from_secs(1));
        ticks(lab, 9000) == before
    });
    go_on(&lab, 6666);
}

#[test]
fn connections_that_a_node_forwards_for_others_end_when_a_host_endpoint_forbids_them() {
    let lab = lab_of_servers("host-forward");
    // A network behind worker-1, which neither Calico nor the nodes' cloud knows.
    let lines = [
        "ip netns add lan",
        "ip link add lan0 type veth peer name eth0 netns lan",
        "ip addr add 10.77.0.1/24 dev lan0 && ip link set lan0 up",
        "ip -n lan addr add 10.77.0.2/24 dev eth0 && ip -n lan link set eth0 up",
        "ip -n lan route add default via 10.77.0.1",
    ];
    lab.run("worker-1", &lines.join(" && "));
    lab.run("router", &format!("ip route add 10.77.0.0/24 via {WORKER_1}"));
    for port in [9000, 9001] {
        let line = format!(
            "setsid ip netns exec lan socat TCP-LISTEN:{port},reuseaddr \
             SYSTEM:'while echo tick; do sleep 0.1; done' >/dev/null 2>&1 </dev/null & \
             timeout 5 sh -c 'until ip netns exec lan ss -ltn | grep -q \":{port} \"; \
             do sleep 0.1; done'"
        );
        lab.run("worker-1", &line);
        let line = format!(
            "setsid socat -u TCP:10.77.0.2:{port} CREATE:/var/log/calico/ticks-{port} \
             >/dev/null 2>&1 </dev/null &"
        );
        lab.run("worker-2", &line);
    }
    let ticks = |lab: &Lab, port: u16| {
        let line = format!("wc -c < /var/log/calico/ticks-{port}");
        lab.try_run("worker-2", &line).1.trim().parse::<u64>().unwrap_or_default()
    };
    let go_on = |lab: &Lab, port| {
        let before = ticks(lab, port);
        lab.within(SETTLE, "ticks come", |lab| ticks(lab, port) > before);
    };
    lab.resources("apply", &endpoint("interfaceName: ens5"));
    the_node_is_closed(&lab, "no policy");
    go_on(&lab, 9000);
    go_on(&lab, 9001);
    let rules = "applyOnForward: true, types: [Ingress], ingress: [{action: Deny, \
                 protocol: TCP, destination: {ports: [9000]}}, {action: Allow}]";
    lab.resources("apply", &policy("forward", rules));
    lab.within(SETTLE, "the connection to port 9000 ends", |lab| {
        let before = ticks(lab, 9000);
        std::thread::sleep(Duration::from_secs(1));
        ticks(lab, 9000) == before
    });
    go_on(&lab, 9001);
}
