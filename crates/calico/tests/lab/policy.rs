//! What policies allow and deny between real pods: each feature of the language once, with what is
//! allowed and what is denied both seen.

use crate::connections::SHOP;
use crate::support::Lab;
use std::time::Duration;

/// What is open as long as no policy says anything: everything.
const OPEN: &str = "
    client  web     tcp/80    allowed
    client  api     tcp/8080  allowed
    client  db      tcp/5432  allowed
    client  db      udp/123   allowed
    web     api     tcp/8080  allowed
    web     api     tcp/9090  allowed
    web     db      tcp/5432  allowed
    api     db      tcp/5432  allowed
    api     web     tcp/80    allowed
    teller  web     tcp/80    allowed
    teller  db      ping      allowed
    db      client  ping      allowed
";

/// A policy of namespace `shop`.
fn network_policy(name: &str, spec: &str) -> String {
    document("NetworkPolicy", &format!("{{name: {name}, namespace: shop}}"), spec)
}

/// A policy of the whole cluster.
fn global_policy(name: &str, spec: &str) -> String {
    document("GlobalNetworkPolicy", &format!("{{name: {name}}}"), spec)
}

fn document(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"
    )
}

/// Nothing to and from the shop, after everything else.
fn default_deny() -> String {
    let spec = "{order: 2000, namespaceSelector: team == 'shop', types: [Ingress, Egress]}";
    global_policy("default-deny", spec)
}

#[test]
fn the_shop_of_the_examples_is_locked_down_and_opened_again() {
    let lab = Lab::of("shop", SHOP, &[]);
    lab.connections(OPEN);
    let example = |name: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/shop");
        std::fs::read_to_string(format!("{root}/{name}.yaml")).expect("an example")
    };
    lab.resources("apply", &example("default-deny"));
    lab.connections(
        "
        client  web     tcp/80    denied
        web     api     tcp/8080  denied
        api     db      tcp/5432  denied
        teller  db      ping      denied
        db      client  ping      denied
        teller  client  tcp/80    allowed
        ",
    );
    // The database's clients are known by service account here: the API's.
    lab.resources("apply", &example("tiers"));
    lab.connections(
        "
        client  web     tcp/80    allowed
        teller  web     tcp/80    allowed
        web     api     tcp/8080  allowed
        api     db      tcp/5432  allowed
        client  api     tcp/8080  denied
        client  db      tcp/5432  denied
        web     db      tcp/5432  denied
        web     api     tcp/9090  denied
        api     web     tcp/80    denied
        api     db      udp/123   denied
        db      client  ping      denied
        client  web     ping      denied
        ",
    );
    lab.resources("delete", &example("tiers"));
    lab.resources("delete", &example("default-deny"));
    lab.connections(OPEN);
}

#[test]
fn namespaces_and_service_accounts_select() {
    let lab = Lab::of("select", SHOP, &[]);
    let ingress = |name: &str, selector: &str, source: &str| {
        let rule = format!("[{{action: Allow, source: {{{source}}}}}]");
        network_policy(name, &format!("{{selector: app == '{selector}', ingress: {rule}}}"))
    };
    let policies = [
        ingress("of-the-bank", "web", "namespaceSelector: team == 'bank'"),
        ingress("of-an-account", "api", "serviceAccounts: {names: [cart]}"),
        ingress("of-labelled-accounts", "db", "serviceAccounts: {selector: role == 'clerk'}"),
    ];
    lab.resources("apply", &policies.concat());
    let table = "
        teller  web  tcp/80    allowed
        client  web  tcp/80    denied
        api     web  tcp/80    denied
        db      api  tcp/8080  allowed
        web     api  tcp/8080  denied
        api     db   tcp/5432  denied
        client  db   tcp/5432  denied
        ";
    lab.connections(table);
    // A pod of the account, a namespace that gets the label, a selector over everything.
    let add = ["pod", "add", "cashier", "--namespace", "shop", "--service-account", "cart"];
    lab.succeeds(&[&add[..], &["--node", "worker-2"]].concat());
    lab.succeeds(&["namespace", "label", "default", "team=bank"]);
    lab.resources("apply", &ingress("of-an-account", "api", "namespaceSelector: all()"));
    lab.connections(
        "
        client   web  tcp/80    allowed
        teller   web  tcp/80    allowed
        cashier  db   tcp/5432  allowed
        api      db   tcp/5432  denied
        web      api  tcp/8080  allowed
        client   api  tcp/8080  allowed
        ",
    );
    lab.succeeds(&["namespace", "label", "default", "team-"]);
    lab.connections("client web tcp/80 denied\nteller web tcp/80 allowed");
}

#[test]
fn ports_are_known_by_number_range_and_name() {
    let lab = Lab::of("ports", SHOP, &[]);
    let allow = |name: &str, selector: &str, protocol: &str, ports: &str| {
        let rule =
            format!("[{{action: Allow, protocol: {protocol}, destination: {{ports: {ports}}}}}]");
        network_policy(name, &format!("{{selector: {selector}, ingress: {rule}}}"))
    };
    // One name, and each pod's own number.
    lab.resources("apply", &allow("named", "has(app)", "TCP", "[http]"));
    lab.connections(
        "
        client  web  tcp/80    allowed
        client  api  tcp/8080  allowed
        client  api  tcp/9090  denied
        client  db   tcp/5432  denied
        client  db   udp/123   denied
        client  web  ping      denied
        ",
    );
    lab.resources("apply", &allow("named", "has(app)", "UDP", "[clock, http]"));
    lab.connections(
        "
        client  db   udp/123   allowed
        client  db   tcp/5432  denied
        client  web  tcp/80    denied
        ",
    );
    lab.resources("apply", &allow("named", "has(app)", "TCP", "['8000:9000', 5432]"));
    lab.connections(
        "
        client  api  tcp/8080  allowed
        client  db   tcp/5432  allowed
        client  api  tcp/9090  denied
        client  db   udp/123   denied
        client  web  tcp/80    denied
        ",
    );
    let ping = "{selector: app == 'web', ingress: [{action: Allow, protocol: ICMP, \
                icmp: {type: 8, code: 0}}]}";
    lab.resources("apply", &network_policy("ping", ping));
    lab.connections(
        "
        client  web  ping    allowed
        client  web  tcp/80  denied
        client  api  ping    denied
        ",
    );
}

#[test]
fn what_pods_send_is_policed_too() {
    let lab = Lab::of("egress", SHOP, &[]);
    let outside = "timeout 3 curl -s --connect-timeout 1 http://outside/ | grep '^outside here'";
    assert!(lab.try_run("client", outside).0, "the world is reached");
    let spec = "{selector: projectcalico.org/namespace == 'default', types: [Egress], egress: [\
                {action: Allow, protocol: TCP, destination: {selector: app == 'web'}},\
                {action: Deny, destination: {nets: [0.0.0.0/0], \
                 notNets: [198.51.100.0/24, 192.168.0.0/16]}},\
                {action: Allow, protocol: TCP, \
                 destination: {notSelector: has(app), notPorts: [9]}}]}";
    lab.resources("apply", &global_policy("client", spec));
    lab.connections(
        "
        client  web     tcp/80    allowed
        client  web     ping      denied
        client  api     tcp/8080  denied
        client  db      udp/123   denied
        api     client  tcp/80    allowed
        web     db      tcp/5432  allowed
        ",
    );
    assert!(lab.try_run("client", outside).0, "the world is still reached");
    lab.resources("apply", &default_deny());
    lab.connections("client web tcp/80 denied\nteller client tcp/80 allowed");
    assert!(lab.try_run("client", outside).0, "that is not the shop's");
}

#[test]
fn tiers_decide_one_after_the_other() {
    let lab = Lab::of("tiers", SHOP, &[]);
    let tier = |name: &str, order: u32, action: &str| {
        let spec = format!("{{order: {order}, defaultAction: {action}}}");
        document("Tier", &format!("{{name: {name}}}"), &spec)
    };
    let of_tier = |tier: &str, rules: &str| {
        let spec = format!(
            "{{tier: {tier}, namespaceSelector: team == 'shop', types: [Ingress], \
             ingress: {rules}}}"
        );
        global_policy(&format!("{tier}.rules"), &spec)
    };
    let security = "[{action: Deny, source: {namespaceSelector: team == 'bank'}},\
                    {action: Allow, protocol: ICMP},\
                    {action: Pass, source: {selector: projectcalico.org/namespace == 'shop'}}]";
    let resources = [tier("security", 100, "Deny"), of_tier("security", security)];
    lab.resources("apply", &resources.concat());
    // Whom the tier neither allows nor passes on, it denies; whom it passes on, profiles allow.
    lab.connections(
        "
        teller  web  tcp/80    denied
        teller  db   ping      denied
        client  web  tcp/80    denied
        client  web  ping      allowed
        web     api  tcp/8080  allowed
        ",
    );
    // Behind it, the default tier sees only what was passed on.
    let web = "{selector: app == 'api', ingress: [\
               {action: Allow, source: {selector: app == 'web'}},\
               {action: Allow, source: {namespaceSelector: team == 'bank'}}]}";
    lab.resources("apply", &network_policy("web-only", web));
    lab.connections(
        "
        web     api  tcp/8080  allowed
        db      api  tcp/8080  denied
        teller  api  tcp/8080  denied
        client  api  ping      allowed
        ",
    );
    // A tier that passes on whom it says nothing about.
    lab.resources("apply", &tier("security", 100, "Pass"));
    lab.connections(
        "
        client  web  tcp/80    allowed
        teller  web  tcp/80    denied
        client  api  tcp/8080  denied
        ",
    );
    // The order of tiers counts, not that of their making.
    let first = [tier("first", 10, "Deny"), of_tier("first", "[{action: Allow}]")];
    lab.resources("apply", &first.concat());
    lab.connections("teller web tcp/80 allowed\nclient api tcp/8080 allowed");
    lab.resources("apply", &tier("first", 1000, "Deny"));
    lab.connections("teller web tcp/80 denied\nclient web tcp/80 allowed");
}

#[test]
fn rules_and_policies_are_looked_at_in_order() {
    let lab = Lab::of("order", SHOP, &[]);
    let policy = |name: &str, order: u32, action: &str| {
        let rules = format!("[{{action: Log}}, {{action: {action}}}]");
        network_policy(name, &format!("{{order: {order}, selector: all(), ingress: {rules}}}"))
    };
    lab.resources("apply", &[policy("a", 20, "Deny"), policy("b", 10, "Allow")].concat());
    lab.connections("client web tcp/80 allowed\nclient db tcp/5432 allowed");
    lab.resources("apply", &policy("a", 5, "Deny"));
    lab.connections("client web tcp/80 denied\nclient db tcp/5432 denied");
    let rules = "[{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Allow}]";
    lab.resources(
        "apply",
        &network_policy("a", &format!("{{order: 5, selector: all(), ingress: {rules}}}")),
    );
    lab.connections(
        "client web tcp/80 denied\nclient web ping allowed\nclient db tcp/5432 allowed",
    );
}

#[test]
fn staged_policies_enforce_nothing() {
    let lab = Lab::of("staged", SHOP, &[]);
    let nothing = "{selector: all(), types: [Ingress, Egress]}";
    let staged = [
        document("StagedNetworkPolicy", "{name: deny, namespace: shop}", nothing),
        document("StagedGlobalNetworkPolicy", "{name: deny}", nothing),
    ];
    lab.resources("apply", &staged.concat());
    // One that is enforced tells when the others have arrived, too.
    let rules = "[{action: Allow, protocol: TCP}]";
    let spec = format!("{{selector: app == 'db', ingress: {rules}}}");
    lab.resources("apply", &network_policy("enforced", &spec));
    lab.connections(
        "
        client  db   udp/123   denied
        client  db   tcp/5432  allowed
        client  web  tcp/80    allowed
        client  web  ping      allowed
        db      web  tcp/80    allowed
        ",
    );
    lab.resources("apply", &document("NetworkPolicy", "{name: deny, namespace: shop}", nothing));
    // What the enforced policy allows to db stays allowed.
    lab.connections(
        "client web tcp/80 denied\nclient db tcp/5432 allowed\nclient db udp/123 denied",
    );
}

#[test]
fn what_is_denied_is_logged_with_its_policy() {
    let lab = Lab::of("log", SHOP, &[]);
    lab.resources("apply", &default_deny());
    lab.connections("client db tcp/5432 denied\nclient teller tcp/80 allowed");
    let log = "grep 'end of Tier(default)' /var/log/calico/calico-node.log";
    let addresses = ["client", "db"].map(|pod| lab.address(pod));
    lab.within(Duration::from_secs(5), "a line says who was denied what by which policy", |lab| {
        let lines = lab.try_run("worker-3", log).1;
        lines.lines().any(|line| {
            let said = "as no rule of its policies matches (the last is \
                        GlobalNetworkPolicy(default-deny))";
            line.contains(said) && addresses.iter().all(|address| line.contains(address.as_str()))
        })
    });
    let allowed = lab.address("teller");
    assert!(!lab.run("worker-3", log).contains(&allowed), "only what was denied");
}

#[test]
fn network_sets_and_pods_without_profile() {
    let lab = Lab::of("sets", SHOP, &[]);
    let address = lab.address("client");
    let set = format!("{{nets: [{address}/32, 203.0.113.0/24]}}");
    let set = document("GlobalNetworkSet", "{name: friends, labels: {friend: 'yes'}}", &set);
    let rule =
        "[{action: Allow, source: {selector: friend == 'yes', namespaceSelector: global()}}]";
    let spec = format!("{{selector: app == 'web', ingress: {rule}}}");
    lab.resources("apply", &[set.clone(), network_policy("friends", &spec)].concat());
    lab.connections("client web tcp/80 allowed\nteller web tcp/80 denied");
    lab.resources("delete", &set);
    lab.connections("client web tcp/80 denied");

    // Of a pod that no policy selects its profiles decide, and without any nothing may pass.
    lab.connections("client teller tcp/80 allowed\nteller client tcp/80 allowed");
    lab.run("master", "calicoctl delete profile kns.bank ksa.bank.default");
    lab.connections(
        "
        client  teller  tcp/80  denied
        teller  client  tcp/80  denied
        client  api     ping    allowed
        ",
    );
    lab.succeeds(&["namespace", "label", "bank", "team=bank", "open=again"]);
    lab.connections("client teller tcp/80 allowed\nteller client tcp/80 allowed");
}
