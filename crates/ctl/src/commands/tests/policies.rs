//! Policies, tiers, sets and host endpoints: every command, the tables, and what guards the tiers.

use super::{Cluster, steady};
use expect_test::expect;
use model::resources::tier::{BUILT_IN_TIERS, built_in_tier};
use model::{Key, Kind, Profile, ProfileSpec};
use store::typed;

/// What calico-node makes at its start.
async fn with_built_ins() -> Cluster {
    let cluster = Cluster::start().await;
    let store = cluster.store().await;
    for (name, ..) in BUILT_IN_TIERS {
        let tier = built_in_tier(name).expect("a built-in tier");
        typed::create(&*store, tier).await.expect("created");
    }
    let profile = Profile::new("projectcalico-default-allow", ProfileSpec::allow_all());
    typed::create(&*store, profile).await.expect("created");
    cluster
}

const POLICIES: &str = "
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 12.5, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: no-ssh}
spec:
  tier: platform
  order: 1000000
  selector: has(role)
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [22, '8000:8080']}}, {action: Pass}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {order: 100, selector: app == 'web', egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: rest}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: later}
spec: {tier: platform, selector: all()}
---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}, matchExpressions: [{key: old, operator: DoesNotExist}]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: partners, namespace: shop}
spec: {nets: [198.51.100.0/24, 203.0.113.0/24, 192.0.2.0/24, 2001:db8:1::/48, 2001:db8:2::/48]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: world}
spec: {nets: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: worker-1-all}
spec: {node: worker-1, interfaceName: '*', expectedIPs: [10.0.0.1, 'fd00::1'], profiles: [a, b]}
";

async fn with_policies() -> Cluster {
    let cluster = with_built_ins().await;
    let file = cluster.file("policies.yaml", POLICIES);
    let printed = cluster.prints(&format!("create -f {file}")).await;
    assert_eq!(printed, "Successfully created 10 resource(s)\n");
    cluster
}

#[tokio::test]
async fn each_kind_has_its_table() {
    let cluster = with_policies().await;
    let mut shown = String::new();
    for line in [
        "get tiers",
        "get gnp -o wide",
        "get networkpolicies -n shop",
        "get np -a -o wide",
        "get policy",
        "get snp -A",
        "get sgnp -o wide",
        "get sknp -n shop",
        "get sknp -n shop -o wide",
        "get netsets -n shop",
        "get netset -n shop -o wide",
        "get gns -o wide",
        "get hep",
        "get hostendpoint -o wide",
    ] {
        shown += &cluster.prints(line).await;
    }
    expect![[r#"
        NAME            ORDER
        platform        12.5
        kube-admin      1000
        default         1e+06
        kube-baseline   1e+07

        NAME     TIER       ORDER   SELECTOR
        no-ssh   platform   1e+06   has(role)

        NAMESPACE   NAME   TIER
        shop        web    default

        NAMESPACE   NAME   TIER      ORDER   SELECTOR
        default     rest   default   <nil>
        shop        web    default   100     app == 'web'

        NAME   TIER
        rest   default

        NAMESPACE   NAME   TIER
        shop        web    default

        NAME    TIER       ORDER   SELECTOR
        later   platform   <nil>   all()

        NAMESPACE   NAME
        shop        web

        NAMESPACE   NAME   PODSELECTOR
        shop        web    app == 'web' && ! has(old)

        NAMESPACE   NAME
        shop        partners

        NAMESPACE   NAME       NETS
        shop        partners   198.51.100.0/24,203.0.113.0/24,192.0.2.0/24,2001:db8:1::/48,2001:db8:2::/48

        NAME    NETS
        world   192.0.2.1

        NAME           NODE
        worker-1-all   worker-1

        NAME           NODE       INTERFACE   IPS                PROFILES
        worker-1-all   worker-1   *           10.0.0.1,fd00::1   a,b

    "#]].assert_eq(&shown);
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let cluster = with_policies().await;
    let mut shown = String::new();
    for line in ["get np web -n shop -o yaml --export", "get gnp no-ssh -o yaml --export"] {
        shown += &cluster.prints(line).await;
    }
    expect![[r#"
        apiVersion: projectcalico.org/v3
        kind: NetworkPolicy
        metadata:
          labels:
            projectcalico.org/tier: default
          name: web
          namespace: shop
        spec:
          egress:
          - action: Allow
            destination: {}
            source: {}
          order: 100
          selector: app == 'web'
          tier: default
          types:
          - Egress
        apiVersion: projectcalico.org/v3
        kind: GlobalNetworkPolicy
        metadata:
          labels:
            projectcalico.org/tier: platform
          name: no-ssh
        spec:
          ingress:
          - action: Deny
            destination:
              ports:
              - 22
              - "8000:8080"
            protocol: TCP
            source: {}
          - action: Pass
            destination: {}
            source: {}
          order: 1000000
          selector: has(role)
          tier: platform
          types:
          - Ingress
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn every_command_takes_policies() {
    let cluster = with_policies().await;
    let file = cluster.file("policies.yaml", POLICIES);
    for (line, printed) in [
        (format!("validate -f {file}"), "Successfully validated 10 resource(s)\n"),
        (format!("apply -f {file}"), "Successfully applied 10 resource(s)\n"),
        (format!("replace -f {file}"), "Successfully replaced 10 resource(s)\n"),
        (
            "patch np web -n shop -p '{\"spec\":{\"order\":7}}'".to_owned(),
            "Successfully patched 1 'NetworkPolicy' resource\n",
        ),
        ("label tier platform team=a".to_owned(), "Successfully set label team on Tier platform\n"),
        (
            "delete gnp no-ssh".to_owned(),
            "Successfully deleted 1 'GlobalNetworkPolicy' resource(s)\n",
        ),
        (
            "delete sgnp later".to_owned(),
            "Successfully deleted 1 'StagedGlobalNetworkPolicy' resource(s)\n",
        ),
        ("delete tier platform".to_owned(), "Successfully deleted 1 'Tier' resource(s)\n"),
    ] {
        assert_eq!(cluster.prints(&line).await, printed, "{line}");
    }
    let shown = cluster.prints("get np web -n shop -o custom-columns=NAME,ORDER").await;
    assert_eq!(shown, "NAMESPACE   NAME   ORDER\nshop        web    7\n\n");
}

/// A policy's document with another name and spec.
fn policy(kind: &str, name: &str, spec: &str) -> String {
    let head = format!("apiVersion: projectcalico.org/v3\nkind: {kind}");
    format!("{head}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

#[tokio::test]
async fn what_is_refused_names_its_object_and_changes_nothing() {
    let cluster = with_policies().await;
    let before = cluster.everything().await;
    for (line, input, said) in [
        (
            "apply -f -",
            policy("NetworkPolicy", "p", "tier: nope"),
            "(there is no such tier: create it first",
        ),
        (
            "apply -f -",
            policy("StagedGlobalNetworkPolicy", "p", "tier: nope"),
            "StagedGlobalNetworkPolicy(p)",
        ),
        (
            "apply -f -",
            policy("NetworkPolicy", "p", "egress: [{}]"),
            "spec.egress[0]: missing field `action`",
        ),
        (
            "apply -f -",
            policy("NetworkPolicy", "p", "egress: [{action: allow}]"),
            "expected one of `Allow`, `Deny`",
        ),
        (
            "apply -f -",
            policy("NetworkPolicy", "p", "egress: [{action: Deny, destination: {ports: ['9:1']}}]"),
            "spec.egress[0].destination.ports[0]",
        ),
        ("apply -f -", policy("StagedNetworkPolicy", "p", "steps: 1"), "unknown field spec.steps"),
        (
            "apply -f -",
            policy("StagedNetworkPolicy", "p", "egress: [{action: Deny, to: 1}]"),
            "unknown field spec.egress.0.to",
        ),
        (
            "apply -f -",
            policy("Tier", "default", "defaultAction: Pass"),
            "the built-in tier default keeps Deny",
        ),
        (
            "apply -f -",
            policy("Tier", "kube-admin", "order: 1"),
            "the built-in tier kube-admin keeps 1000",
        ),
        ("patch tier default -p '{\"spec\":{\"order\":1}}'", String::new(), "keeps 1000000"),
        (
            "patch np rest -p '{\"spec\":{\"tier\":\"nope\"}}'",
            String::new(),
            "there is no such tier",
        ),
        ("delete tier default", String::new(), "Tier(default) is built in"),
        ("delete tier kube-admin", String::new(), "Tier(kube-admin) is built in"),
        ("delete tier kube-baseline", String::new(), "Tier(kube-baseline) is built in"),
        (
            "delete tier platform",
            String::new(),
            "is the tier of 2 policies, GlobalNetworkPolicy(no-ssh), StagedGlobalNetworkPolicy(later); delete",
        ),
        (
            "delete profile projectcalico-default-allow",
            String::new(),
            "is built in and stays as it is",
        ),
        (
            "label profile projectcalico-default-allow a=b",
            String::new(),
            "is built in and stays as it is",
        ),
        (
            "apply -f -",
            policy("Profile", "projectcalico-default-allow", ""),
            "create another profile",
        ),
        ("apply -f -", policy("NetworkPolicy", "knp.default.web", ""), "with kubectl"),
        ("delete np knp.default.web", String::new(), "with kubectl"),
        (
            "validate -f -",
            policy("NetworkPolicy", "p", "selector: a b"),
            "Failed to validate 'NetworkPolicy' resource: [NetworkPolicy(default/p)",
        ),
    ] {
        let error = cluster.fed(line, &input).await.expect_err(&format!("{line}\n{input}"));
        assert!(error.contains(said), "{line}\n{input}\n{error}");
        assert_eq!(cluster.everything().await, before, "{line}\n{input}");
    }
}

#[tokio::test]
async fn without_calico_node_there_is_no_tier() {
    let cluster = Cluster::start().await;
    let input = policy("NetworkPolicy", "p", "");
    let error = cluster.fed("create -f -", &input).await.expect_err("no tier");
    assert!(
        error.contains("spec.tier = 'default'") && error.contains("start calico-node"),
        "{error}"
    );
    // By itself the document is right.
    cluster.fed("validate -f -", &input).await.expect("valid");
}

#[tokio::test]
async fn many_policies_of_a_tier_are_not_all_named() {
    let cluster = with_policies().await;
    let policies: Vec<_> = (0..30)
        .map(|i| policy("GlobalNetworkPolicy", &format!("p{i}"), "tier: platform"))
        .collect();
    cluster.fed("apply -f -", &policies.join("---\n")).await.expect("applied");
    let error = cluster.run("delete tier platform").await.expect_err("not empty");
    assert!(error.contains("of 32 policies") && error.contains(" and 22 more;"), "{error}");
}

// Calico before 3.32 stored policies of the default tier with `default.` before their names.
#[tokio::test]
async fn policies_that_an_earlier_calico_stored_keep_their_key() {
    let cluster = with_built_ins().await;
    cluster
        .fed("create -f -", &policy("NetworkPolicy", "default.web", "order: 1"))
        .await
        .expect("created");
    let shown = "NAME   TIER\nweb    default\n\n";
    assert_eq!(cluster.prints("get np").await, shown);
    assert_eq!(cluster.prints("get np web").await, shown);
    assert_eq!(cluster.prints("get np default.web").await, shown);
    let error =
        cluster.fed("create -f -", &policy("NetworkPolicy", "web", "")).await.expect_err("there");
    assert!(error.contains("already exists: NetworkPolicy(default/default.web)"), "{error}");
    let yaml = cluster.run("get np web -o yaml").await.expect("the policy");
    let edited = yaml.replace("order: 1", "order: 2");
    cluster.fed("replace -f -", &edited).await.expect("replaced");
    cluster.prints("patch np web -p '{\"spec\":{\"selector\":\"has(a)\"}}'").await;
    let key = Key::namespaced(Kind::NetworkPolicy, "default", "default.web");
    let stored = cluster.store().await.get(&key).await.expect("an answer").expect("the policy");
    let stored = String::from_utf8(stored.value).expect("text");
    assert!(stored.contains(r#""order":2"#) && stored.contains("has(a)"), "{stored}");
    cluster.prints("delete np web").await;
    assert_eq!(steady(&cluster.prints("get np -a").await), "NAMESPACE   NAME   TIER\n\n");
}
