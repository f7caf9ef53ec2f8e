//! A kube-apiserver on an etcd of its own, with the resources of `manifests/`; nothing else of
//! Kubernetes runs. `scripts/setup test` builds it.

pub(crate) mod beside;
pub(crate) mod credentials;
pub(crate) mod objects;

use crate::access::certificates::Certificates;
use crate::etcd::Etcd;
use crate::process::{Process, free_port};
use crate::server::{Server, Stop};
use model::Revision;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::Settings;

/// Set to use another one than the project's own.
const BINARY: &str = "KUBE_APISERVER";
/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-the-suites";
/// Of somebody who may do nothing but ask what there is.
const GUEST_TOKEN: &str = "a-token-of-a-guest";

/// An API server; `NATIVE` says in which of two API groups it has Calico's resources.
pub(crate) struct Kubernetes<const NATIVE: bool> {
    etcd: Etcd,
    server: Process,
    certificates: Certificates,
    port: u16,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn launch(etcd: &Etcd, certificates: &Certificates, port: u16) -> Process {
    let built = repository().join("target/kubernetes/kube-apiserver");
    let binary = std::env::var(BINARY).map_or(built, PathBuf::from);
    assert!(binary.exists(), "{} is not there: run scripts/setup test", binary.display());
    let file = |name: &str| certificates.path(name);
    let mut command = Command::new(binary);
    command
        .args(["--etcd-servers", &etcd.url(), "--endpoint-reconciler-type", "none"])
        .args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()])
        .args(["--tls-cert-file", &file("server.crt")])
        .args(["--tls-private-key-file", &file("server.key")])
        .args(["--service-account-issuer", "https://kubernetes.default.svc"])
        .args(["--service-account-key-file", &file("client.crt")])
        .args(["--service-account-signing-key-file", &file("client.key")])
        .args(["--token-auth-file", &file("tokens"), "--authorization-mode", "RBAC"])
        .args(["--disable-admission-plugins", "ServiceAccount"])
        .args(["--service-cluster-ip-range", "10.96.0.0/16", "--profiling=false"])
        // As long it waits for watches at its end.
        .args(["--request-timeout", "10s"])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(file("log")).expect("a file"));
    Process::start(command)
}

impl<const NATIVE: bool> Kubernetes<NATIVE> {
    fn kubeconfig(&self) -> String {
        self.certificates.path("kubeconfig")
    }

    /// Asks the server as somebody else would. Returns HTTP's code and the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let kind = if body.starts_with("---") { "application/yaml" } else { "application/json" };
        self.ask_as(method, path, kind, body)
    }

    fn ask_as(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let mut command = Command::new("/usr/bin/curl");
        command
            .args(["--silent", "--max-time", "10", "--write-out", "\n%{http_code}"])
            .args(["--cacert", &self.certificates.path("ca.crt"), "--request", method])
            .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
            .args(["--header", &format!("Content-Type: {kind}")])
            .arg(format!("{}{path}", self.endpoint()));
        if !body.is_empty() {
            command.args(["--data-binary", body]);
        }
        let output = command.output().expect("/usr/bin/curl (Debian's curl)");
        let text = String::from_utf8_lossy(&output.stdout);
        let (answer, code) = text.rsplit_once('\n').unwrap_or_default();
        (code.parse().unwrap_or(0), serde_json::from_str(answer).unwrap_or_default())
    }

    /// Makes an object of Kubernetes'.
    pub(crate) fn make(&self, collection: &str, object: &Value) -> Value {
        let (code, answer) = self.ask("POST", collection, &object.to_string());
        assert_eq!(code, 201, "{collection}: {answer}");
        answer
    }

    /// Changes part of an object.
    pub(crate) fn patch(&self, path: &str, patch: &Value) {
        let kind = "application/merge-patch+json";
        let (code, answer) = self.ask_as("PATCH", path, kind, &patch.to_string());
        assert_eq!(code, 200, "{path}: {answer}");
    }

    /// Takes away what a case has made, behind the server's back.
    pub(crate) async fn empty(&self) {
        let calicos = ["crd.projectcalico.org", "projectcalico.org"];
        let kubernetes =
            ["minions", "pods", "networkpolicies", "serviceaccounts", "endpointslices"];
        for collection in calicos.into_iter().chain(kubernetes) {
            self.etcd.etcdctl(&["del", "--prefix", &format!("/registry/{collection}/")]);
        }
    }

    /// Defines ClusterNetworkPolicies as the project that they are of does, of any content.
    pub(crate) async fn define_cluster_network_policies(&self) {
        let (group, plural) = ("policy.networking.k8s.io", "clusternetworkpolicies");
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{group}"),
                // Whoever defines one of this group must say so.
                "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
            },
            "spec": {
                "group": group, "scope": "Cluster",
                "names": {"kind": "ClusterNetworkPolicy", "plural": plural},
                "versions": [{
                    "name": "v1alpha2", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": any},
                }],
            },
        });
        self.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
        let begun = Instant::now();
        while self.ask("GET", &format!("/apis/{group}/v1alpha2/{plural}"), "").0 != 200 {
            assert!(begun.elapsed() < LIMIT, "ClusterNetworkPolicies are not served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            if self.server.has_ended() || begun.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.certificates.path("log"));
                panic!("not within {LIMIT:?}: {what}; the server's log: {}", log.expect("a log"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ready(&mut self) {
        let is_ready = |server: &Self| server.ask("GET", "/readyz", "").0 == 200;
        self.until("the API server is ready", is_ready).await;
    }

    /// Applies the manifest of Calico's resources, and waits until they are served.
    async fn define(&mut self) {
        let (file, version) = match NATIVE {
            false => ("crds.yaml", "/apis/crd.projectcalico.org/v1"),
            true => ("crds-v3.yaml", "/apis/projectcalico.org/v3"),
        };
        let manifest = repository().join("manifests").join(file);
        let manifest = std::fs::read_to_string(manifest).expect("a manifest");
        let mut plurals = Vec::new();
        for document in manifest.split("---\n").filter(|text| !text.trim().is_empty()) {
            let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let (code, made) = self.ask("POST", collection, &format!("---\n{document}"));
            assert_eq!(code, 201, "{made}");
            plurals.push(made["spec"]["names"]["plural"].clone());
        }
        self.until("Calico's resources are served", |server| {
            let (_, served) = server.ask("GET", version, "");
            let served = served["resources"].as_array().cloned().unwrap_or_default();
            plurals.iter().all(|plural| served.iter().any(|one| one["name"] == *plural))
        })
        .await;
    }
}

impl<const NATIVE: bool> Server for Kubernetes<NATIVE> {
    const MANY: usize = 2_000;

    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let (certificates, port) = (Certificates::new(), free_port());
        let write = |name: &str, text: String| {
            std::fs::write(certificates.path(name), text).expect("a file");
        };
        let users = format!("{TOKEN},admin,admin,\"system:masters\"\n{GUEST_TOKEN},guest,guest\n");
        write("tokens", users);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": certificates.path("ca.crt"),
            }}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        });
        write("kubeconfig", kubeconfig.to_string());
        let server = launch(&etcd, &certificates, port);
        let mut kubernetes = Kubernetes { etcd, server, certificates, port };
        kubernetes.ready().await;
        kubernetes.define().await;
        kubernetes.answers().await;
        kubernetes
    }

    fn settings(&self) -> Settings {
        let variables = [("DATASTORE_TYPE", "kubernetes"), ("KUBECONFIG", &self.kubeconfig())];
        Settings::from_env(variables).expect("settings")
    }

    fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn make_namespace(&self, name: &str) {
        let object = json!({"metadata": {"name": name}}).to_string();
        // Without its controller none goes: an earlier case may have made it.
        let (code, answer) = self.ask("POST", "/api/v1/namespaces", &object);
        assert!(matches!(code, 201 | 409), "{name}: {answer}");
    }

    async fn stop(&mut self, how: Stop) {
        self.server.stop(how).await;
    }

    async fn resume(&mut self) {
        self.server = launch(&self.etcd, &self.certificates, self.port);
        self.ready().await;
        self.answers().await;
        // Its cache of a collection is filled when that is first asked for.
        let pools = match NATIVE {
            false => "/apis/crd.projectcalico.org/v1/ippools",
            true => "/apis/projectcalico.org/v3/ippools",
        };
        let watch = format!("{pools}?watch=true&timeoutSeconds=1");
        let is_filled = |server: &Self| server.ask("GET", &watch, "").0 == 200;
        self.until("the pools can be watched", is_filled).await;
    }

    /// The API server keeps some history itself, until it is started again.
    async fn compact(&mut self, before: Revision) {
        crate::wire::compact(&self.etcd.settings(), before).await;
        self.stop(Stop::Kill).await;
        self.resume().await;
    }
}
