//! With an API server of two sentences.

use super::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// A pod's files, and whom it asks.
struct Pod {
    root: TempDir,
    refresher: Refresher,
    listener: TcpListener,
}

impl Pod {
    fn new() -> Pod {
        let root = tempfile::tempdir().expect("a directory");
        let account = root.path().join("var/run/secrets/kubernetes.io/serviceaccount");
        std::fs::create_dir_all(&account).expect("a directory");
        let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]);
        let authority = authority.expect("a certificate").cert.pem();
        for (name, content) in
            [("token", "mounted\n"), ("namespace", "kube-system"), ("ca.crt", &authority)]
        {
            std::fs::write(account.join(name), content).expect("a file");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let variables = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", &port),
            ("KUBERNETES_SERVICE_PROTOCOL", "http"),
        ];
        let variables: BTreeMap<String, String> =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let credentials = Credentials::of_pod(&variables, root.path()).expect("credentials");
        let credentials = credentials.expect("a pod");
        let path = root.path().join(KUBECONFIG);
        Pod { root, refresher: Refresher { credentials, path, interval: None }, listener }
    }

    /// Renews once; the server answers with a status and a body. Returns the request, too.
    fn renew(&self, status: &str, body: &str) -> (Outcome, String) {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = self.listener.accept().expect("a client");
                let (mut request, mut bytes) = (String::new(), [0; 4096]);
                while !request.contains("expirationSeconds") {
                    let count = stream.read(&mut bytes).expect("a request");
                    request.push_str(&String::from_utf8_lossy(&bytes[..count]));
                    assert!(count > 0, "{request}");
                }
                stream.write_all(answer.as_bytes()).expect("the client waits");
                request
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = runtime.expect("a runtime").block_on(self.refresher.renew());
            (outcome, server.join().expect("a server"))
        })
    }

    fn kubeconfig(&self) -> String {
        let path = self.root.path().join(KUBECONFIG);
        let mode = std::fs::metadata(&path).expect("a kubeconfig").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::read_to_string(path).expect("a text")
    }
}

#[test]
fn the_plugin_has_a_token_of_its_account() {
    let pod = Pod::new();
    let body = r#"{"spec": {"expirationSeconds": 3600}, "status": {"token": "the-plugins"}}"#;
    let (outcome, request) = pod.renew("201 Created", body);
    assert!(matches!(outcome, Outcome::Renewed(HOUR)), "{outcome:?}");
    let path = "POST /api/v1/namespaces/kube-system/serviceaccounts/calico-cni-plugin/token ";
    assert!(request.starts_with(path), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer mounted"), "{request}");
    assert!(pod.kubeconfig().contains("\n    token: the-plugins\n"));
    // Refused: the pod's own; no answer: what is there.
    let body = r#"{"code": 403, "reason": "Forbidden", "message": "it may not"}"#;
    let (outcome, _) = pod.renew("403 Forbidden", body);
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("it may not")), "{outcome:?}");
    assert!(pod.kubeconfig().contains("\n    token: mounted\n"));
    std::fs::write(&pod.refresher.path, "what is there").expect("a file");
    let (outcome, _) = pod.renew("503 Service Unavailable", "");
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("keeps")), "{outcome:?}");
    assert_eq!(pod.kubeconfig(), "what is there");
}

#[test]
fn tokens_are_renewed_early_and_not_by_all_nodes_at_once() {
    let renewed = Outcome::Renewed(24 * HOUR);
    let minutes = |count| Duration::from_secs(60_u64 * count);
    assert_eq!(pause(&renewed, None, 0, 0.0), 6 * HOUR);
    assert_eq!(pause(&renewed, None, 0, 1.0), 12 * HOUR);
    assert_eq!(pause(&renewed, Some(minutes(1)), 0, 1.0), minutes(1));
    assert_eq!(pause(&Outcome::Renewed(Duration::ZERO), None, 0, 0.0), RETRY_MIN);
    let failed = Outcome::Failed(String::new());
    let pauses = [1, 2, 3, 60].map(|failures| pause(&failed, None, failures, 1.0).as_secs());
    assert_eq!(pauses, [5, 10, 20, 300]);
    assert!((0.0..=1.0).contains(&random()) && random().to_bits() != random().to_bits());
}
