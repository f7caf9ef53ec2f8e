//! Listening, stopping, many keys, TLS.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use datastore::{Error, Options, Server};
use rig::{get, kv, list, put};
use std::process::Command;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

#[tokio::test]
async fn ten_thousand_keys() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Options::local(directory.path())).await.unwrap();
    let channel = rig::connect(&server.endpoints()[0]).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..50 {
        let mut kv = kv(&channel);
        writers.spawn(async move {
            for number in 0..200 {
                kv.put(put(format!("/{writer:02}/{number:03}"), [b'v'; 300])).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let mut kv = kv(&channel);
    let all = kv.range(list("/")).await.unwrap().into_inner();
    assert_eq!((all.count, all.kvs.len()), (10_000, 10_000));
    assert!(all.kvs.is_sorted_by(|a, b| a.key < b.key));
    // In pages, at one revision, while others write.
    let revision = all.header.unwrap().revision;
    let (mut paged, mut key) = (Vec::new(), b"/".to_vec());
    loop {
        let request = etcd::RangeRequest { key, limit: 700, revision, ..list("/") };
        let page = kv.range(request).await.unwrap().into_inner();
        kv.put(put("/00/000", "changed")).await.unwrap();
        kv.delete_range(rig::delete(&all.kvs[9_000 + paged.len() / 700].key)).await.unwrap();
        paged.extend(page.kvs);
        if !page.more {
            break;
        }
        key = [paged.last().unwrap().key.as_slice(), b"\0"].concat();
    }
    assert!(paged == all.kvs);
    drop((kv, channel));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn requests_have_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Options::local(directory.path())).await.unwrap();
    let mut kv = kv(&rig::connect(&server.endpoints()[0]).await);
    let large = kv.put(put("/a", vec![0; 1536 * 1024])).await.unwrap_err();
    assert_eq!(
        (large.code(), large.message()),
        (Code::InvalidArgument, "etcdserver: request is too large")
    );
    kv.put(put("/a", vec![0; 1536 * 1024 - 100])).await.unwrap();
    let op = |number: usize| etcd::RequestOp {
        request: Some(etcd::request_op::Request::RequestPut(put(number.to_string(), ""))),
    };
    let txn = |ops| etcd::TxnRequest { success: (0..ops).map(op).collect(), ..Default::default() };
    kv.txn(txn(128)).await.unwrap();
    let many = kv.txn(txn(129)).await.unwrap_err();
    assert_eq!(many.message(), "etcdserver: too many operations in txn request");
    drop(kv);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_taken_over_from_the_dead_only() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/socket", directory.path().display());
    let options = |name: &str| Options {
        listen: vec![url.clone()],
        ..Options::local(directory.path().join(name))
    };
    // Bound and abandoned, as by a kill.
    let path = directory.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // A program that another test starts at this moment holds a copy until its exec.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::os::unix::net::UnixStream::connect(&path).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the abandoned socket answers");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let server = Server::start(options("a")).await.unwrap();
    let channel = rig::connect(&url).await;
    kv(&channel).put(put("/a", "1")).await.unwrap();
    match Server::start(options("b")).await {
        Err(Error::Listen { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two servers on one socket"),
    }
    assert_eq!(kv(&channel).range(get("/a")).await.unwrap().into_inner().count, 1);
    drop(channel);
    server.stop().await.unwrap();
    assert!(!path.exists());
}

fn openssl(directory: &std::path::Path, words: &str) {
    let output = Command::new("openssl")
        .args(words.split(' '))
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn https_serves_clients_that_its_authority_signed() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(directory, &format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=ca -days 2"));
    std::fs::write(directory.join("ext"), "subjectAltName=IP:127.0.0.1").unwrap();
    for name in ["server", "client"] {
        openssl(
            directory,
            &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        );
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 2 -extfile ext"
            ),
        );
    }
    let file = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let options = Options {
        listen: vec!["https://127.0.0.1:0".into()],
        cert_file: Some(directory.join("server.crt")),
        key_file: Some(directory.join("server.key")),
        trusted_ca_file: Some(directory.join("ca.crt")),
        ..Options::local(directory.join("data"))
    };
    let server = Server::start(options).await.unwrap();
    let url = server.endpoints()[0].clone();
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(file("ca.crt")));
    let signed =
        trusting.clone().identity(Identity::from_pem(file("client.crt"), file("client.key")));
    let channel = Channel::from_shared(url.clone()).unwrap().tls_config(signed).unwrap();
    kv(&channel.connect().await.unwrap()).put(put("/a", "1")).await.unwrap();
    let nobody = Channel::from_shared(url).unwrap().tls_config(trusting).unwrap().connect().await;
    // With TLS 1.3 the refusal may arrive with the first request only.
    let refused = match nobody {
        Ok(channel) => kv(&channel).range(get("/a")).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a client without certificate is served");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (url, expected) in [
        ("ftp://127.0.0.1:1", "begin with http://"),
        ("https://127.0.0.1:0", "--cert-file"),
        ("http://192.0.2.1:1", "192.0.2.1:1"),
    ] {
        let options = Options { listen: vec![url.into()], ..Options::local(directory.path()) };
        let error = Server::start(options).await.err().expect("it started").to_string();
        assert!(error.contains(expected), "{error}");
    }
    Server::start(Options::local(directory.path())).await.unwrap().stop().await.unwrap();
}
