//! Two nodes' agents on this machine's loopback, with certificates made here.

use super::server::Limits;
use super::*;
use crate::socket::Asked;
use node::api::{DeleteWorkload, Reply, Request, WorkloadId};
use node::status::NodeStatus;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// One node's certificate files: of `issuer` for `name`, trusting `trusted`.
struct Certificates {
    directory: TempDir,
}

impl Certificates {
    fn new(name: &str, issuer: &Authority, trusted: &Authority) -> Certificates {
        let files = Certificates { directory: tempfile::tempdir().expect("a directory") };
        files.write(name, issuer, 2120);
        std::fs::write(files.path("ca.crt"), trusted.pem()).expect("written");
        files
    }

    fn write(&self, name: &str, issuer: &Authority, end: i32) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        std::fs::write(self.path("node.crt"), certificate.pem()).expect("written");
        std::fs::write(self.path("node.key"), key.serialize_pem()).expect("written");
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join(file)
    }

    fn settings(&self, listen: SocketAddr) -> Settings {
        let (certificate, key) = (self.path("node.crt"), self.path("node.key"));
        Settings { listen, files: Files { certificate, key, authority: self.path("ca.crt") } }
    }
}

/// An agent that answers every request with the status of node `there`; returns where it listens.
async fn agent(certificates: &Certificates) -> SocketAddr {
    agent_with(certificates, server::LIMITS).await
}

async fn agent_with(certificates: &Certificates, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (asked, mut requests) = mpsc::channel::<Asked>(1);
    tokio::spawn(server::accept(listener, certificates.settings(address), asked, limits));
    tokio::spawn(async move {
        while let Some(Asked { request, answer }) = requests.recv().await {
            assert_eq!(request, Request::Status, "only what is read-only comes here");
            let status = NodeStatus { node: "there".into(), ..NodeStatus::default() };
            answer.send(Reply::Status(Box::new(status))).expect("it waits");
        }
    });
    address
}

async fn asked(certificates: &Certificates, node: &str, at: SocketAddr) -> Result<Reply, String> {
    let settings = certificates.settings(at);
    let reply = ask(Some(&settings), node, at.ip(), &Request::Status).await;
    reply.map_err(|error| error.to_string())
}

fn is_status(reply: &Result<Reply, String>) -> bool {
    matches!(reply, Ok(Reply::Status(status)) if status.node == "there")
}

#[tokio::test]
async fn a_node_answers_another_of_the_same_authority() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let address = agent(&there).await;
    let reply = asked(&here, "there", address).await;
    assert!(is_status(&reply), "{reply:?}");
}

#[tokio::test]
async fn renewed_certificates_are_taken_up() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let address = agent(&there).await;
    there.write("there", &authority, 2001);
    let error = asked(&here, "there", address).await.expect_err("it has expired");
    assert!(error.contains("renew its certificate"), "{error}");
    there.write("there", &authority, 2120);
    assert!(is_status(&asked(&here, "there", address).await));
    here.write("here", &authority, 2001);
    let error = asked(&here, "there", address).await.expect_err("it has expired");
    assert!(error.contains("does not take this node's certificate"), "{error}");
}

#[tokio::test]
async fn others_are_not_trusted() {
    let (authority, other) = (authority(), authority());
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let address = agent(&there).await;
    let trusting = Certificates::new("here", &other, &authority);
    let distrusting = Certificates::new("here", &authority, &other);
    for (asking, node, said) in [
        (&here, "elsewhere", "another node has this address now"),
        (&trusting, "there", "does not take this node's certificate"),
        (&distrusting, "there", "its certificate is of another authority"),
    ] {
        let error = asked(asking, node, address).await.expect_err(said);
        assert!(error.contains(said) && error.contains(node), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_says_why() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let error = asked(&here, "there", address).await.expect_err("nobody there");
    assert!(error.contains("does calico-node run there"), "{error}");
    let error = ask(None, "there", address.ip(), &Request::Status).await.expect_err("no settings");
    assert!(error.to_string().contains("CALICO_API_CERT_FILE"), "{error}");
    for (file, which) in [("node.crt", "CERT"), ("node.key", "KEY"), ("ca.crt", "CA")] {
        let here = Certificates::new("here", &authority, &authority);
        std::fs::write(here.path(file), "no PEM").expect("written");
        let error = asked(&here, "there", address).await.expect_err(file);
        assert!(error.contains(&format!("CALICO_API_{which}_FILE")), "{error}");
    }
    let here = Certificates::new("here", &authority, &authority);
    let other_key = KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(here.path("node.key"), other_key).expect("written");
    let error = asked(&here, "there", address).await.expect_err("not a pair");
    assert!(error.contains("of one pair"), "{error}");
}

#[tokio::test]
async fn nothing_that_changes_something_is_done_for_others() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let address = agent(&there).await;
    let settings = here.settings(address);
    let id = WorkloadId {
        network: "k8s-pod-network".into(),
        container_id: "0a".into(),
        interface: "eth0".into(),
        orchestrator: "k8s".into(),
        namespace: "shop".into(),
        pod: "web".into(),
    };
    let delete = DeleteWorkload { id, host_interface: "cali1".into(), release_addresses: true };
    for request in [
        Request::DeleteWorkload(delete.clone()),
        Request::CheckWorkload(delete),
        Request::OnNode { node: "here".into(), request: Box::new(Request::Status) },
    ] {
        let reply = ask(Some(&settings), "there", address.ip(), &request).await.expect("a reply");
        let Reply::Failed { retry: false, message } = reply else { panic!("{reply:?}") };
        assert!(message.contains("only ask what changes nothing"), "{message}");
    }
}

/// The commands of the module's documentation.
#[tokio::test]
async fn openssls_certificates_are_taken() {
    let documentation = include_str!("../remote.rs")
        .lines()
        .map(|line| line.trim_start_matches("//!").trim_start());
    let commands = documentation.skip_while(|line| *line != "```sh").skip(1);
    let commands: Vec<_> = commands.take_while(|line| *line != "```").collect();
    let made = Certificates { directory: tempfile::tempdir().expect("a directory") };
    let output = std::process::Command::new("sh")
        .args(["-ec", &commands.join("\n")])
        .envs([("NODE", "there"), ("ADDRESS", "127.0.0.1")])
        .current_dir(made.directory.path())
        .output()
        .expect("openssl: scripts/setup test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let address = agent(&made).await;
    assert!(is_status(&asked(&made, "there", address).await));
    let error = asked(&made, "elsewhere", address).await.expect_err("another name");
    assert!(error.contains("another node has this address now"), "{error}");
}

/// What a client hears that sends these bytes after its greeting; `None`: nothing.
async fn said(files: &Files, at: SocketAddr, bytes: &[u8]) -> Option<String> {
    let config = std::sync::Arc::new(certificates::client(files).expect("certificates"));
    let stream = TcpStream::connect(at).await.expect("connected");
    let name = "there".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut stream = connector.connect(name, stream).await.expect("greeted");
    stream.write_all(bytes).await.expect("sent");
    let mut said = String::new();
    let heard = stream.read_to_string(&mut said).await;
    heard.ok().filter(|_| !said.is_empty()).map(|_| said)
}

#[tokio::test]
async fn requests_are_bounded() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let address = agent(&there).await;
    let files = here.settings(address).files;
    let long = said(&files, address, &[b' '; 64 * 1024]).await.expect("an answer");
    assert!(long.contains("at most 65536 bytes"), "{long}");
    let wrong = said(&files, address, b"\"Banana\"\n").await.expect("an answer");
    assert!(wrong.contains("cannot read this request"), "{wrong}");
    let right = said(&files, address, b"\"Status\"\n").await.expect("an answer");
    assert!(right.starts_with("{\"Status\""), "{right}");
}

#[tokio::test]
async fn who_sends_no_request_in_time_gets_nothing() {
    let authority = authority();
    let here = Certificates::new("here", &authority, &authority);
    let there = Certificates::new("there", &authority, &authority);
    let limits = Limits { request: Duration::from_millis(100), ..server::LIMITS };
    let address = agent_with(&there, limits).await;
    let files = here.settings(address).files;
    for bytes in [&b""[..], b"\"Sta"] {
        assert_eq!(said(&files, address, bytes).await, None);
    }
}

#[tokio::test]
async fn who_has_no_certificate_gets_nothing() {
    let authority = authority();
    let there = Certificates::new("there", &authority, &authority);
    let limits = Limits { greeting: Duration::from_millis(100), ..server::LIMITS };
    let address = agent_with(&there, limits).await;
    // No TLS, or nothing at all.
    for bytes in [&b"\"Status\"\n"[..], b""] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(bytes).await.expect("sent");
        let mut heard = Vec::new();
        let _may_be_reset = stream.read_to_end(&mut heard).await;
        assert!(!heard.windows(6).any(|window| window == b"Status"), "{heard:02x?}");
    }
    let address = agent(&there).await;
    assert_eq!(without_certificate(&there.path("ca.crt"), address).await, None);
}

/// What a client hears that trusts the authority but has no certificate.
async fn without_certificate(authority: &Path, at: SocketAddr) -> Option<String> {
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("the authority")).expect("a root");
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await.expect("connected");
    let name = "there".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(name, stream).await.ok()?;
    stream.write_all(b"\"Status\"\n").await.ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.ok()?;
    Some(said)
}

#[test]
fn settings_are_whole_or_not_there() {
    let read = |variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("CALICO_API_{name}"), (*value).to_owned()));
        settings(&crate::settings::resolve(&variables.collect::<Vec<_>>()))
    };
    let files = [("CERT_FILE", "a.crt"), ("KEY_FILE", "a.key"), ("CA_FILE", "ca.crt")];
    assert_eq!(read(&files), Ok(None));
    for (address, listen) in [
        ("0.0.0.0", "0.0.0.0:5475"),
        ("10.0.0.1:7000", "10.0.0.1:7000"),
        ("::", "[::]:5475"),
        ("[fd00::1]:7000", "[fd00::1]:7000"),
    ] {
        let read = read(&[&files[..], &[("ADDRESS", address)]].concat()).expect("settings");
        assert_eq!(read.expect("configured").listen.to_string(), listen);
    }
    let error = read(&[&files[..], &[("ADDRESS", "node-1")]].concat()).expect_err("a name");
    assert!(error.contains("write 0.0.0.0:5475"), "{error}");
    let error = read(&[&files[1..], &[("ADDRESS", "::")]].concat()).expect_err("a file is missing");
    assert!(error.contains("CALICO_API_CERT_FILE is not"), "{error}");
}
