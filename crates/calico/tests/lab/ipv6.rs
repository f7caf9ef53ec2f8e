//! Policy between pods that have IPv6 addresses too, of one node; several are
//! `tests/kubernetes/dual_stack.rs`'s.

use crate::support::Lab;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(8);

/// Pods of both versions of IP.
const DUAL_STACK: &str = r#"
backend: vxlan
subnets:
- {name: blue, cidrs: [10.1.0.0/24]}
nodes:
- {name: master, uplinks: [{interface: ens5, subnet: blue, addresses: [10.1.0.5]}]}
pools:
- {name: four, cidr: 192.168.0.0/16, vxlanMode: Always}
- {name: six, cidr: "fd00:10:244::/64", blockSize: 122, natOutgoing: false}
namespaces:
- {name: shop, labels: {team: shop}}
pods:
- name: web
  namespace: shop
  node: master
  labels: {app: web}
  ports: [{name: http, containerPort: 80}, {containerPort: 8080}]
- {name: api, namespace: shop, node: master, labels: {app: api}}
- {name: client, node: master}
cniConfig: |
  {
    "name": "k8s-pod-network",
    "cniVersion": "0.3.1",
    "plugins": [{
      "type": "calico",
      "log_file_path": "/var/log/calico/cni/cni.log",
      "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
      "policy": {"type": "none"}
    }]
  }
"#;

/// A pod's IPv6 address.
fn address(lab: &Lab, pod: &str) -> String {
    let line = "ip -6 -o addr show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1";
    lab.run(pod, line).trim().to_owned()
}

/// Every line comes out as it says, soon, over IPv6: `FROM TO PORT allowed|denied`, where PORT is a
/// number or `ping`.
fn comes_out(lab: &Lab, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [from, to, port, verdict @ ("allowed" | "denied")] = words[..] else {
            panic!("{line}")
        };
        let address = address(lab, to);
        let attempt = match port {
            "ping" => format!("ping -6 -c1 -W1 {address}"),
            port => format!(
                "curl -6 -s --connect-timeout 1 --max-time 3 'http://[{address}]:{port}/' | \
                 grep '^{to} '"
            ),
        };
        lab.within(SETTLE, line, |lab| lab.try_run(from, &attempt).0 == (verdict == "allowed"));
    }
}

#[test]
fn policy_is_about_ipv6_too() {
    let lab = Lab::of("ipv6", DUAL_STACK, &[]);
    comes_out(
        &lab,
        "client web 80 allowed
         client web ping allowed
         api web 8080 allowed
         web client ping allowed",
    );
    let policy = |spec: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
             metadata: {{name: web, namespace: shop}}\nspec: {spec}\n"
        )
    };
    // By labels: the members of sets are of both versions.
    let by_label = "{selector: app == 'web', ingress: [{action: Allow, protocol: TCP, \
                    source: {selector: app == 'api'}, destination: {ports: [http]}}]}";
    lab.resources("apply", &policy(by_label));
    comes_out(
        &lab,
        "api web 80 allowed
         api web 8080 denied
         api web ping denied
         client web 80 denied
         web client ping allowed",
    );
    lab.connections("api web tcp/80 allowed\nclient web tcp/80 denied");
    // By addresses, ICMPv6's types and version.
    let client = address(&lab, "client");
    let by_address = format!(
        "{{selector: app == 'web', ingress: [\
         {{action: Allow, protocol: TCP, source: {{nets: ['{client}/128']}}}}, \
         {{action: Allow, ipVersion: 6, protocol: ICMPv6, icmp: {{type: 128}}}}]}}"
    );
    lab.resources("apply", &policy(&by_address));
    comes_out(
        &lab,
        "client web 8080 allowed
         client web ping allowed
         api web ping allowed
         api web 80 denied",
    );
    lab.connections("client web tcp/80 denied\nclient web ping denied");
    // The log and `explain` know such packets.
    let web = address(&lab, "web");
    let log = format!("grep '{web}' /var/log/calico/calico-node.log | grep 'end of Tier(default)'");
    lab.within(SETTLE, "a line of the log", |lab| lab.try_run("master", &log).0);
    let explain = format!("calicoctl explain --from {client} --to {web} --port tcp/8080");
    let text = lab.run("master", &explain);
    assert!(text.contains("ALLOWED by policy") && !text.contains("NOT AS WANTED"), "{text}");
}
