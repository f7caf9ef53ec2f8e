//! What is asked of a cluster whose Calico has another datastore: Kubernetes' own objects, and leases.

use super::Kubernetes;
use crate::server::Server;
use model::{Key, Kind, NetworkPolicySpec, NodeSpec, ProfileSpec, Query};
use serde_json::json;
use store::kubernetes::{Lease, Leases};
use store::{Settings, typed};

fn connection(server: &Kubernetes<false>) -> store::settings::Kubernetes {
    let variables = [("DATASTORE_TYPE", "etcdv3"), ("KUBECONFIG", &server.kubeconfig())];
    Settings::kubernetes_from_env(variables).expect("settings")
}

pub(crate) async fn own_objects_are_told_without_calicos(server: &mut Kubernetes<false>) {
    let own = store::kubernetes::own_objects(&connection(server)).await.expect("a connection");
    let policy = json!({"metadata": {"name": "web"}, "spec": {"podSelector": {}}});
    server.make_namespace("shop");
    server.make("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", &policy);
    let node = json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}});
    server.make("/api/v1/nodes", &node);
    // One that is Calico's, of the same kind.
    let calico = store::connect(&server.settings()).await.expect("a connection");
    let mine = model::Resource::new("mine", NetworkPolicySpec::default());
    let mine = model::Resource {
        metadata: model::Metadata { namespace: Some("shop".to_owned()), ..mine.metadata },
        ..mine
    };
    typed::create(&*calico, mine).await.expect("written");

    let policies = typed::list::<NetworkPolicySpec>(&*own, None).await.expect("a list");
    let names: Vec<&str> = policies.iter().map(|one| one.metadata.name.as_str()).collect();
    assert_eq!(names, ["knp.default.web"]);
    let nodes = typed::list::<NodeSpec>(&*own, None).await.expect("a list");
    assert_eq!(nodes[0].metadata.labels["zone"], "a");
    let profile = typed::get::<ProfileSpec>(&*own, None, "kns.shop").await.expect("an answer");
    assert!(profile.is_some());
    let pools = own.list(&Query::kind(Kind::IpPool)).await.expect("a list");
    assert_eq!(pools.entries, []);
    // What is told from the list on is told of Kubernetes' objects alone, too.
    let mut events = store::watcher::watch(own, vec![Query::kind(Kind::NetworkPolicy)]);
    let key = Key::namespaced(Kind::NetworkPolicy, "shop", "knp.default.web");
    let first = events.recv().await.expect("an event");
    assert!(
        matches!(&first, model::DatastoreEvent::Changed(entry) if entry.key == key),
        "{first:?}"
    );
    assert_eq!(events.recv().await, Some(model::DatastoreEvent::InSync));
}

pub(crate) async fn a_lease_has_one_holder(server: &mut Kubernetes<false>) {
    let settings = connection(server);
    server.make_namespace("kube-system");
    let leases = Leases::new(&settings, "kube-system", "one").await.expect("settings");
    assert_eq!(leases.read().await.expect("an answer"), None);
    let of = |holder: &str| Lease {
        holder_identity: holder.to_owned(),
        lease_duration_seconds: 30,
        acquire_time: Some("2026-01-01T00:00:00.000000Z".to_owned()),
        renew_time: Some("2026-01-01T00:00:00.500000Z".to_owned()),
        lease_transitions: 1,
    };
    let first = leases.write(&of("a"), None).await.expect("an answer").expect("it was free");
    assert_eq!(leases.write(&of("b"), None).await.expect("an answer"), None);
    assert_eq!(leases.read().await.expect("an answer"), Some((of("a"), first.clone())));
    let renewed = leases.write(&of("c"), Some(&first)).await.expect("an answer");
    assert_ne!(renewed.as_ref().expect("still as read"), &first);
    assert_eq!(leases.write(&of("b"), Some(&first)).await.expect("an answer"), None);
    // Given back: nobody's.
    let free = Lease { holder_identity: String::new(), ..of("c") };
    leases.write(&free, renewed.as_deref()).await.expect("an answer").expect("still as read");
    let (read, _) = leases.read().await.expect("an answer").expect("a lease");
    assert_eq!(read.holder_identity, "");
}
