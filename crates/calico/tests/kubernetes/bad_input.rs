//! What others write wrongly: it is told by whom it concerns, with object, cause and next step, and
//! nothing else suffers.

mod block;
mod credentials;
mod permissions;

use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_controllers, installed};
use crate::workloads::{SHOP, await_ready, calicoctl, guard, idle, start};
use serde_json::{Value, json};

const CRDS: &str = include_str!("../../../../manifests/crds-v3.yaml");

/// The node's address is found as Kubernetes says it.
const FIRST_FOUND: &str = r#"            - name: IP
              value: "autodetect"
"#;
const INTERNAL: &str = r#"            - name: IP
              value: "autodetect"
            - name: IP_AUTODETECTION_METHOD
              value: "kubernetes-internal-ip"
"#;

/// Whom api's policy lets in, whatever happens.
const GUARDED: &str = "
    web     api  tcp/8080  allowed
    web     api  ping      denied
    teller  api  tcp/8080  denied
    teller  web  tcp/80    allowed
";

#[test]
fn bad_input_is_told_and_harms_nothing_else() {
    assert!(MANIFEST.contains(FIRST_FOUND));
    let cluster = installed("bad-input", &MANIFEST.replace(FIRST_FOUND, INTERNAL));
    await_controllers(&cluster);
    cluster.apply(SHOP);
    cluster.kubectl("wait -n shop --for=condition=Ready pod/web pod/api --timeout=60s");
    cluster.kubectl("wait -n bank --for=condition=Ready pod/teller --timeout=60s");
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    guard(&cluster, "shop", "api", &web, &json!(8080));
    let pods = Pods::of(&cluster);
    pods.come_out(&cluster, GUARDED);
    let begin = std::time::Instant::now();
    let step = |what: &str| println!("{:.1} s: {what}", begin.elapsed().as_secs_f32());
    what_passes_the_schema_is_told(&cluster, &pods);
    step("resources");
    block::is_told_and_left_alone(&cluster);
    step("a damaged block");
    annotations_that_nobody_knows_are_told(&cluster);
    step("annotations");
    credentials::are_told_and_mended(&cluster);
    step("credentials");
    clocks_may_differ(&cluster);
    step("clocks");
    a_node_without_an_address_is_told(&cluster);
    step("a node without an address");
    another_clusters_resources_are_told(&cluster);
    step("two clusters");
    pods.come_out(&cluster, GUARDED);
    permissions::go_and_come_back(&cluster, &pods);
    step("permissions");
}

/// Waits until `calicoctl node status` on a node has a line with all of these.
fn status_says(cluster: &Cluster, node: &str, parts: &[&str]) {
    cluster.within(LIMIT, &format!("the status of {node} says {parts:?}"), |cluster| {
        cluster.run(node, "calicoctl node status").lines().any(|line| has(line, parts))
    });
}

/// Waits until no line has.
fn status_says_no_more(cluster: &Cluster, node: &str, part: &str) {
    cluster.within(LIMIT, &format!("the status of {node} says nothing of {part}"), |cluster| {
        !cluster.run(node, "calicoctl node status").contains(part)
    });
}

fn has(text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| text.contains(part))
}

/// Waits until a pod's events say all of these.
fn events_say(cluster: &Cluster, pod: &str, namespace: &str, parts: &[&str]) {
    cluster.within(LIMIT, &format!("{pod}'s events say {parts:?}"), |cluster| {
        let events = cluster.kubectl(&format!(
            "get events -n {namespace} --field-selector involvedObject.name={pod} \
             -o jsonpath={{.items[*].message}}"
        ));
        has(&events, parts)
    });
}

/// What the agent of a node has logged.
fn log_of(cluster: &Cluster, node: &str) -> String {
    let selected = format!("-l k8s-app=calico-node --field-selector spec.nodeName={node}");
    let pod = cluster.kubectl(&format!("get pod -n kube-system {selected} -o name"));
    cluster.kubectl(&format!("logs -n kube-system {} -c calico-node", pod.trim()))
}

fn delete_pod(cluster: &Cluster, name: &str, namespace: &str) {
    cluster.kubectl(&format!("delete pod -n {namespace} {name}"));
}

fn is_released(cluster: &Cluster, address: &str) {
    cluster.within(LIMIT, &format!("{address} is released"), |cluster| {
        !calicoctl(cluster, &format!("ipam show --ip={address}")).contains("in use")
    });
}

/// Kind, spec, and what every node's status and log say.
type Wrong = (&'static str, &'static str, &'static [&'static str]);

const WRONG: [Wrong; 3] = [
    (
        "IPPool",
        r#"{"cidr": "10.9.0.0/24", "nodeSelector": "rack = 'a'"}"#,
        &["IPPool(slip)", "spec.nodeSelector", "rack = 'a'", "correct it"],
    ),
    (
        "IPReservation",
        r#"{"reservedCIDRs": ["10.300.0.0/16"]}"#,
        &["IPReservation(slip)", "10.300.0.0/16", "correct it"],
    ),
    (
        "BGPPeer",
        r#"{"nodeSelector": "rack = 'a'", "peerSelector": "all()"}"#,
        &["BGPPeer(slip)", "nodeSelector", "correct it"],
    ),
];

/// kubectl writes it past calicoctl's checks.
fn slip(kind: &str, spec: &str) -> Value {
    let spec: Value = serde_json::from_str(spec).expect("JSON");
    let metadata = json!({"name": "slip"});
    json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn what_passes_the_schema_is_told(cluster: &Cluster, pods: &Pods) {
    let odd = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "odd", "labels": {"team": "odd"}},
    });
    cluster.apply(&odd.to_string());
    let pool = "patch ippools.crd.projectcalico.org";
    let others = json!({"spec": {"namespaceSelector": "team!='odd'"}});
    cluster.kubectl(&format!("{pool} default-ipv4-ippool --type=merge -p {others}"));
    for (kind, spec, _) in WRONG {
        cluster.apply(&slip(kind, spec).to_string());
    }
    for node in ["n1", "n2"] {
        for (.., parts) in &WRONG {
            status_says(cluster, node, parts);
        }
    }
    let log = log_of(cluster, "n1");
    for (.., parts) in &WRONG {
        assert!(log.lines().any(|line| has(line, parts)), "{parts:?}: {log}");
    }
    // Who depends on it is told why, and others don't.
    cluster.apply(&idle("slip", "odd", "n1", &[]).to_string());
    let parts = ["slip 10.9.0.0/24: its nodeSelector cannot be read", "found `= 'a'`", "IPv4 pool"];
    events_say(cluster, "slip", "odd", &parts);
    start(cluster, "well", "bank", "n1");
    pods.come_out(cluster, GUARDED);
    Pods::of(cluster).come_out(cluster, "well web tcp/80 allowed");
    // Corrected, it is as if nothing had been.
    let right = json!({"spec": {"nodeSelector": "all()"}});
    cluster.kubectl(&format!("{pool} slip --type=merge -p {right}"));
    await_ready(cluster, "slip", "odd");
    let now = Pods::of(cluster);
    assert!(now.address("slip").starts_with("10.9.0."));
    // A policy that cannot be read denies where it may be meant, which is told where such pods are.
    now.come_out(cluster, "well slip ping allowed");
    let mut policy = slip("NetworkPolicy", r#"{"selector": "app = 'slip'", "types": ["Ingress"]}"#);
    policy["metadata"] = json!({"name": "default.slip", "namespace": "odd"});
    cluster.apply(&policy.to_string());
    let parts =
        ["NetworkPolicy(odd/", "slip) cannot be enforced", "found `= 'slip'`", "correct it"];
    status_says(cluster, "n1", &parts);
    now.come_out(cluster, "well slip ping denied\nwell web tcp/80 allowed");
    cluster.with_input(&["kubectl", "delete", "-f", "-"], &policy.to_string());
    now.come_out(cluster, "well slip ping allowed");
    delete_pod(cluster, "slip", "odd");
    delete_pod(cluster, "well", "bank");
    for (kind, spec, _) in WRONG {
        cluster.with_input(&["kubectl", "delete", "-f", "-"], &slip(kind, spec).to_string());
    }
    cluster.kubectl(&format!(
        "{pool} default-ipv4-ippool --type=json -p {}",
        json!([{"op": "remove", "path": "/spec/namespaceSelector"}])
    ));
    status_says_no_more(cluster, "n1", "slip");
}

fn annotations_that_nobody_knows_are_told(cluster: &Cluster) {
    let name = "cni.projectcalico.org/ipv4Pools";
    cluster.apply(&idle("unknown", "bank", "n2", &[(name, r#"["slip"]"#)]).to_string());
    await_ready(cluster, "unknown", "bank");
    status_says(
        cluster,
        "n2",
        &["Pod bank/unknown of Kubernetes", name, "ignores it", "correct it"],
    );
    delete_pod(cluster, "unknown", "bank");
    status_says_no_more(cluster, "n2", name);
}

/// Times of others' writing, far ahead and long ago.
fn clocks_may_differ(cluster: &Cluster) {
    let lease = "leases.coordination.k8s.io -n kube-system calico-kube-controllers";
    let field = |name: &str| cluster.kubectl(&format!("get {lease} -o jsonpath={{.spec.{name}}}"));
    let holder = field("holderIdentity");
    let ahead = "2099-01-01T00:00:00.000000Z";
    let patch = json!({"spec": {"renewTime": ahead, "acquireTime": "2001-01-01T00:00:00.000000Z"}});
    cluster.kubectl(&format!("patch {lease} --type=merge -p {patch}"));
    let blocks = cluster.kubectl("get ipamblocks.crd.projectcalico.org -o name");
    let claimed = json!({"spec": {"affinityClaimTime": ahead}});
    for block in blocks.lines() {
        cluster.kubectl(&format!("patch {block} --type=merge -p {claimed}"));
    }
    for node in ["n1", "n2"] {
        start(cluster, &format!("on-{node}"), "bank", node);
    }
    let pods = Pods::of(cluster);
    for pod in ["on-n1", "on-n2"] {
        delete_pod(cluster, pod, "bank");
        is_released(cluster, pods.address(pod));
    }
    cluster.within(LIMIT, "the lease is renewed", |_| field("renewTime") != ahead);
    assert_eq!(field("holderIdentity"), holder);
    await_controllers(cluster);
}

fn a_node_without_an_address_is_told(cluster: &Cluster) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "bare"}, "spec": {"unschedulable": true},
    });
    cluster.apply(&node.to_string());
    let line = "DATASTORE_TYPE=kubernetes KUBECONFIG=/etc/kubernetes/admin.conf NODENAME=bare \
                CALICO_NODENAME_FILE=/tmp/nodename CALICO_DISABLE_FILE_LOGGING=true \
                IP=autodetect IP_AUTODETECTION_METHOD=kubernetes-internal-ip \
                timeout 30 calico component node -startup";
    let (succeeded, said) = cluster.try_run("control-plane", line);
    let parts = ["Node bare of Kubernetes has no InternalIP of IPv4", "--node-ip", "or set IP,"];
    assert!(!succeeded && has(&said, &parts), "{said}");
    // It has not been registered, and concerns nobody.
    let annotations = cluster.kubectl("get node bare -o jsonpath={.metadata.annotations}");
    assert!(!annotations.contains("projectcalico.org/"), "{annotations}");
    let status = cluster.run("n1", "calicoctl node status");
    assert!(!status.contains("bare") && status.contains("Established"), "{status}");
    cluster.kubectl("delete node bare");
}

/// Those of both API groups, and another identity of the cluster's.
fn another_clusters_resources_are_told(cluster: &Cluster) {
    let information = "clusterinformations.crd.projectcalico.org default";
    let own = cluster.kubectl(&format!("get {information} -o jsonpath={{.spec.clusterGUID}}"));
    let is_now = |guid: &str| {
        let patch = json!({"spec": {"clusterGUID": guid}});
        cluster.kubectl(&format!("patch {information} --type=merge -p {patch}"));
    };
    is_now("0123456789abcdef0123456789abcdef");
    for node in ["n1", "n2"] {
        let parts = ["ClusterInformation(default)", "0123456789abcdef", &own, "IPPools"];
        status_says(cluster, node, &parts);
    }
    is_now(&own);
    status_says_no_more(cluster, "n1", "0123456789abcdef");

    cluster.with_input(&["kubectl", "create", "-f", "-"], CRDS);
    let theirs = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPPool",
        "metadata": {"name": "theirs"}, "spec": {"cidr": "192.168.0.0/16", "ipipMode": "Never"},
    });
    cluster.within(LIMIT, "the other group is served", |cluster| {
        let apply = ["kubectl", "apply", "-f", "-"];
        cluster.try_with_input(&apply, &theirs.to_string()).0
    });
    // An agent that starts now says whose resources count, and goes on with them.
    let selected = "-n kube-system -l k8s-app=calico-node --field-selector spec.nodeName=n2";
    cluster.kubectl(&format!("delete pod {selected}"));
    crate::installation::await_calico(cluster);
    let log = log_of(cluster, "n2");
    let parts = ["crd.projectcalico.org/v1", "projectcalico.org/v3", "CALICO_API_GROUP"];
    assert!(log.lines().any(|line| has(line, &parts)), "{log}");
    let pools = calicoctl(cluster, "get ippools");
    assert!(pools.contains("default-ipv4-ippool") && !pools.contains("theirs"), "{pools}");
    start(cluster, "well", "bank", "n2");
    delete_pod(cluster, "well", "bank");
}
