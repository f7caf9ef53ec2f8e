//! What is refused names its object and the next step, and changes nothing.

use super::{Cluster, POOL, typed};
use crate::documents;
use model::{Entry, Key, Kind, Query, Revision};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{BoxFuture, BoxStream, Change, Datastore, Error, Listing};

/// A pool's document with another spec.
fn pool(name: &str, spec: &str) -> String {
    let kind = "apiVersion: projectcalico.org/v3\nkind: IPPool";
    format!("{kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

#[tokio::test]
async fn documents_that_cannot_be_used() {
    let cluster = Cluster::with_pool().await;
    let before = cluster.everything().await;
    let good = pool("good", "cidr: 10.0.0.0/16");
    for (bad, object, step) in [
        (pool("a", "cidr: 172.16.8.0/24"), "IPPool(a)", "overlaps IPPool(default-ipv4-ippool)"),
        (pool("a", "cidr: 10.0.8.0/24"), "IPPool(a)", "overlaps IPPool(good)"),
        (pool("a", "cidr: 10.1.0.0/33"), "IPPool(a)", "write a range such as"),
        (pool("a", "cidr: 10.1.0.1/16"), "IPPool(a)", "the range is 10.1.0.0/16"),
        (pool("a", "cidr: 10.1.0.0/16, blockSize: 19"), "IPPool(a)", "is from 20 to 32"),
        (pool("a", "cidr: 10.1.0.0/16, blockSize: 300"), "spec.blockSize", "number from 0 to 255"),
        (pool("a", "cidr: 10.1.0.0/16, blockSize: '26'"), "spec.blockSize", "number from 0 to 255"),
        (pool("a", "cidr: 10.1.0.0/28"), "IPPool(a)", "smaller than one of its blocks"),
        (
            pool("a", "cidr: 10.1.0.0/16, ipipMode: Always, vxlanMode: Always"),
            "IPPool(a)",
            "set one of the two to Never",
        ),
        (pool("a", "cidr: 10.1.0.0/16, ipipMode: Sometimes"), "spec.ipipMode", "CrossSubnet"),
        (pool("a", "cidr: 10.1.0.0/16, natOutgoing: 'yes'"), "spec.natOutgoing", "true or false"),
        (pool("a", "cidr: [10.1.0.0/16]"), "spec.cidr", "expected a text"),
        (pool("a", "cidr: 10.1.0.0/16, natOutgoingg: true"), "spec.natOutgoingg", "spelling"),
        (
            pool("a", "cidr: 10.1.0.0/16").replace("spec", "specs"),
            "unknown field specs",
            "remove it",
        ),
        (pool("A_b", "cidr: 10.1.0.0/16"), "IPPool(A_b)", "metadata.name"),
        (
            pool("default-ipv4-ippool", "cidr: 172.17.0.0/16, blockSize: 24"),
            "spec.cidr",
            "stays as it is",
        ),
        (
            pool("default-ipv4-ippool", "cidr: 172.16.0.0/16"),
            "spec.blockSize",
            "stays as it is (24)",
        ),
        (pool("a", "").replace("v3", "v1"), "IPPool(a)", "not projectcalico.org/v3"),
        ("kind: IPPool".into(), "IPPool((no name))", "write apiVersion: projectcalico.org/v3"),
        ("kind: Potato".into(), "unknown kind Potato", "known are BGPConfiguration"),
        ("kind: pools".into(), "unknown kind pools", "did you mean IPPool?"),
        ("spec: {}".into(), "standard input", "kind: IPPool"),
        ("a: [".into(), "standard input", "neither YAML nor JSON"),
        ("kind: IPAMBlock".into(), "IPAMBlock", "calicoctl ipam"),
        ("kind: ClusterInformation".into(), "ClusterInformation", "by calico-node alone"),
    ] {
        // The document before is as it should be, and still not written.
        let both = format!("{good}---\n{bad}");
        let error = cluster.fed("apply -f -", &both).await.expect_err(&bad);
        assert!(error.contains(object) && error.contains(step), "{bad}\n{error}");
        assert_eq!(cluster.everything().await, before, "{bad}");
    }
    cluster.fed("apply -f -", &good).await.expect("the other document is good");
}

#[tokio::test]
async fn commands_that_cannot_be_done() {
    let cluster = Cluster::with_pool().await;
    let before = cluster.everything().await;
    let patch = |change: &str| format!("patch ippool default-ipv4-ippool -p '{change}'");
    for (line, input, said) in [
        ("create -f -", POOL, "already exists: IPPool(default-ipv4-ippool); use `calicoctl apply`"),
        ("replace -f -", &pool("b", "cidr: 10.1.0.0/16"), "does not exist: IPPool(b)"),
        ("get ippool nope", "", "does not exist: IPPool(nope); `calicoctl get` lists"),
        ("get potatoes", "", "'potatoes' is not supported; known are BGPConfiguration"),
        ("get ippool -o xml", "", "custom-columns=NAME"),
        ("get ippool -o custom-columns=COLOR", "", "it has NAME, CIDR"),
        ("delete ippool nope", "", "does not exist: IPPool(nope)"),
        ("delete ipamblock 10-0-0-0-26", "", "IPAMBlock objects are IPAM's own"),
        ("apply -f /nonexistent.yaml", "", "cannot read /nonexistent.yaml: No such file"),
        ("label node nope a=b", "", "does not exist: Node(nope)"),
        ("label ippool default-ipv4-ippool a", "", "write KEY=VALUE, or KEY with --remove"),
        ("label ippool default-ipv4-ippool a --remove", "", "no label a to remove"),
        ("label ippool default-ipv4-ippool a=b/c", "", "IPPool(default-ipv4-ippool)"),
        (&patch("{"), "", "neither JSON nor YAML"),
        (&patch("5"), "", "write it like"),
        (&patch(r#"{"spec":{"blockSize":26}}"#), "", "stays as it is (24)"),
        (&patch(r#"{"spec":{"vxlanMode":"Always"}}"#), "", "set one of the two to Never"),
        (&patch(r#"{"metadata":{"name":"b"}}"#), "", "create another resource"),
        (&patch(r#"{"metadata":null,"spec":null}"#), "", "IPPool"),
        (&patch(r#"{"spec":{"cidr":{}}}"#), "", "expected a text"),
        ("patch ippool default-ipv4-ippool -t json -p '{}'", "", "RFC 6902"),
        ("ipam release --ip 172.16.0.1", "", "172.16.0.1 is not assigned"),
        ("ipam release --ip nonsense", "", "invalid IP address"),
        ("ipam configure --max-blocks-per-host 3", "", "set strictAffinity"),
    ] {
        let error = cluster.fed(line, input).await.expect_err(line);
        assert!(error.contains(said), "{line}\n{error}");
        assert_eq!(cluster.everything().await, before, "{line}");
    }
}

#[tokio::test]
async fn a_datastore_that_is_not_there() {
    let cluster = Cluster::start().await;
    let endpoint = cluster.endpoint();
    cluster.server.stop().await.expect("stopped");
    for (line, object) in [("apply -f -", "IPPool(default-ipv4-ippool)"), ("get nodes", &*endpoint)]
    {
        let error = typed(line, POOL, &endpoint).await.expect_err(line);
        assert!(error.contains(object) && error.contains("does not answer"), "{error}");
        assert!(error.contains("ETCD_ENDPOINTS, or etcdEndpoints in"), "{error}");
    }
    let error = typed("get nodes", "", "ftp://x").await.expect_err("no such scheme");
    assert!(error.contains("ETCD_ENDPOINTS"), "{error}");
}

/// A datastore that can be read and not written, as a full one.
struct Full(std::sync::Arc<dyn Datastore>);

fn refuse<T: Send>() -> BoxFuture<'static, Result<T, Error>> {
    let reason = "database space exceeded: compact and defragment it".to_owned();
    Box::pin(async { Err(Error::Refused { endpoint: "http://full:2379".to_owned(), reason }) })
}

impl Datastore for Full {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        self.0.get(key)
    }
    fn list<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Listing, Error>> {
        self.0.list(query)
    }
    fn create<'a>(&'a self, _: &'a Key, _: Vec<u8>) -> BoxFuture<'a, Result<Revision, Error>> {
        refuse()
    }
    fn update<'a>(
        &'a self,
        _: &'a Key,
        _: Vec<u8>,
        _: Revision,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        refuse()
    }
    fn delete<'a>(&'a self, _: &'a Key, _: Option<Revision>) -> BoxFuture<'a, Result<(), Error>> {
        refuse()
    }
    fn watch<'a>(
        &'a self,
        query: &'a Query,
        after: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<Result<Change, Error>>, Error>> {
        self.0.watch(query, after)
    }
}

#[tokio::test]
async fn a_datastore_that_refuses_writes() {
    let cluster = Cluster::with_pool().await;
    let full = Full(cluster.store().await);
    for line in [
        "apply -f -",
        r#"patch ippool default-ipv4-ippool -p '{"spec":{"disabled":true}}'"#,
        "label ippool default-ipv4-ippool a=b",
        "delete ippool default-ipv4-ippool",
    ] {
        let cli = super::parse(line).expect(line);
        let (mut input, mut printed) = (POOL.as_bytes(), Vec::new());
        let mut terminal = super::Terminal { input: &mut input, output: &mut printed };
        let refused = super::super::on_datastore(&cli.command, &full, &mut terminal).await;
        let error = refused.expect_err(line).to_string();
        for said in ["IPPool(default-ipv4-ippool)", "http://full:2379", "compact and defragment"] {
            assert!(error.contains(said), "{line}: {error}");
        }
        assert_eq!(printed, b"", "{line}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./:-]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let field = prop_oneof![
        "[a-zA-Z]{1,8}",
        prop::sample::select(vec![
            "name",
            "namespace",
            "labels",
            "cidr",
            "blockSize",
            "ipipMode",
            "nodeSelector",
            "allowedUses",
            "bgp",
            "asNumber",
            "ipv4Address",
            "ipNetworks",
            "peerIP",
            "node",
            "communities",
            "resourceVersion",
            "serviceClusterIPs",
            "labelsToApply",
            "vxlanMTU",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((field.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Any JSON is a document or an error, of every kind.
    #[test]
    fn no_document_panics(
        kind in prop::sample::select(Kind::ALL),
        metadata in any_value(),
        spec in any_value(),
        whole in any_value(),
    ) {
        let full = json!({
            "apiVersion": "projectcalico.org/v3", "kind": kind.name(),
            "metadata": metadata, "spec": spec,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for value in [full, whole] {
            if let Ok(documents) = documents::parse(&value.to_string(), "a file") {
                for document in documents {
                    document.key();
                    drop(runtime.block_on(crate::resources::check(&document)));
                }
            }
        }
    }
}
