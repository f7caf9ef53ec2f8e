//! Getting in: users, certificates, sockets, dead servers, a full database. Each refusal says what
//! to do.

pub(crate) mod certificates;

use crate::embedded::Embedded;
use crate::etcd::Etcd;
use crate::process::free_port;
use crate::run;
use crate::server::{Server, Stop};
use certificates::Certificates;
use model::{Key, Kind, Query, Revision};
use std::net::TcpListener;
use store::settings::Tls;
use store::{Error, Settings};

fn key() -> Key {
    Key::cluster(Kind::IpPool, "one")
}

fn settings(endpoints: &str) -> Settings {
    Settings::new(endpoints).expect("endpoints")
}

async fn get(settings: &Settings) -> Result<Option<model::Entry>, Error> {
    store::connect(settings).await?.get(&key()).await
}

/// The message of a refusal, which must name what is given.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) {
    let error = result.expect_err("a refusal");
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    names(&error, parts);
}

fn unreachable<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) {
    let error = result.expect_err("no answer");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    names(&error, parts);
}

fn names(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
}

/// An etcd with authentication: root, and a guest without any rights.
async fn guarded() -> Etcd {
    let etcd = Etcd::start().await;
    etcd.etcdctl(&["user", "add", "root:right"]);
    etcd.etcdctl(&["user", "add", "guest:right"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    etcd.etcdctl(&["auth", "enable"]);
    etcd
}

#[test]
fn users_get_in_with_their_password_only() {
    run(async {
        let etcd = guarded().await;
        let as_user = |name: &str, password: &str| etcd.settings().with_user(name, password);
        let root = store::connect(&as_user("root", "right")).await.unwrap();
        let revision = root.create(&key(), b"1".to_vec()).await.expect("root may write");
        root.watch(&Query::kind(Kind::IpPool), revision).await.map(|_| ()).expect("and watch");

        let url = etcd.url();
        refusal(get(&as_user("root", "wrong")).await, &[&url, "ETCD_PASSWORD"]);
        refusal(get(&as_user("nobody", "right")).await, &[&url, "ETCD_USERNAME"]);
        refusal(get(&etcd.settings()).await, &[&url, "set ETCD_USERNAME"]);

        let guest = store::connect(&as_user("guest", "right")).await.unwrap();
        refusal(guest.get(&key()).await, &["permission denied", "/calico/"]);
        refusal(guest.update(&key(), b"2".to_vec(), revision).await, &["permission denied"]);
        let watch = guest.watch(&Query::kind(Kind::IpPool), revision).await.map(|_| ());
        refusal(watch, &["permission denied"]);
    });
}

/// etcd forgets its tokens when it restarts.
#[test]
fn a_forgotten_token_is_renewed() {
    run(async {
        let mut etcd = guarded().await;
        let user = etcd.settings().with_user("root", "right");
        let connect = || async { store::connect(&user).await.unwrap() };
        let (reader, writer, watcher) = (connect().await, connect().await, connect().await);
        let revision = writer.create(&key(), b"1".to_vec()).await.expect("root may write");
        for datastore in [&reader, &watcher] {
            assert!(datastore.get(&key()).await.expect("root may read").is_some());
        }
        etcd.stop(Stop::Kill).await;
        // Without a user, an answer is the refusal.
        etcd.resume_guarded().await;
        assert!(reader.get(&key()).await.expect("root may read").is_some());
        let pools = Query::kind(Kind::IpPool);
        watcher.watch(&pools, revision).await.map(|_| ()).expect("root may watch");
        // The first write finds the connection broken or the token forgotten; neither may lose it.
        writer.update(&key(), b"2".to_vec(), revision).await.expect("root may write");
    });
}

#[test]
fn a_user_is_no_hindrance_where_none_is_needed() {
    run(async {
        let etcd = Etcd::start().await;
        let embedded = Embedded::start().await;
        for server in [etcd.settings(), embedded.settings()] {
            assert_eq!(get(&server.with_user("root", "any")).await, Ok(None));
        }
    });
}

/// What the certificates of `files` open, and what others don't, at a server that asks for them.
async fn check_certificates(url: &str, files: &Certificates) {
    let tls = files.tls();
    let with = |tls: &Tls| settings(url).with_tls(tls.clone());
    let begun = std::time::Instant::now();
    while let Err(error) = get(&with(&tls)).await {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let named = settings(&url.replace("127.0.0.1", "localhost"));
    assert_eq!(get(&named.with_tls(tls.clone())).await, Ok(None));
    assert_eq!(get(&with(&files.inline())).await, Ok(None));

    let strange = Tls { authority: Some(files.pem("stranger.crt")), ..tls.clone() };
    unreachable(get(&with(&strange)).await, &[url, "ETCD_CA_CERT_FILE"]);
    let anonymous = Tls { identity: None, ..tls };
    unreachable(get(&with(&anonymous)).await, &[url]);
    unreachable(get(&settings(&url.replace("https", "http"))).await, &["http://127.0.0.1"]);
}

#[test]
fn certificates_are_checked_on_both_sides() {
    run(async {
        let files = Certificates::new();
        let options = ["--client-cert-auth", "--trusted-ca-file", &files.path("ca.crt")];
        let server = ["--cert-file", &files.path("server.crt")];
        let key = ["--key-file", &files.path("server.key")];
        let etcd = Etcd::with("https", &[&options[..], &server, &key].concat()).await;
        check_certificates(&etcd.url(), &files).await;

        let url = format!("https://127.0.0.1:{}", free_port());
        let _embedded = Embedded::launch(&url, files.path("").as_ref());
        check_certificates(&url, &files).await;
    });
}

#[test]
fn https_to_a_server_without_tls_says_so() {
    run(async {
        let files = Certificates::new();
        let (etcd, embedded) = (Etcd::start().await, Embedded::start().await);
        for server in [etcd.settings(), embedded.settings()] {
            let url = server.endpoints[0].to_string().replace("http", "https");
            let wrong = settings(&url).with_tls(files.tls());
            unreachable(get(&wrong).await, &[&url, "use http://"]);
        }
    });
}

#[test]
fn unusable_certificates_are_named() {
    run(async {
        let files = Certificates::new();
        let tls = files.tls();
        let (certificate, key) = tls.identity.clone().expect("an identity");
        for (tls, says) in [
            (Tls { authority: Some(files.pem("no.crt")), ..tls.clone() }, "no.crt"),
            (Tls { authority: Some(files.pem("client.key")), ..tls.clone() }, "ETCD_CA_CERT_FILE"),
            (
                Tls { identity: Some((certificate.clone(), certificate)), ..tls.clone() },
                "ETCD_KEY_FILE",
            ),
            (Tls { identity: Some((key.clone(), key)), ..tls }, "ETCD_CERT_FILE"),
        ] {
            let settings = settings("https://127.0.0.1:1").with_tls(tls);
            let error = store::connect(&settings).await.map(|_| ()).expect_err("unusable");
            assert!(matches!(error, Error::Settings(_)), "{error:?}");
            names(&error, &[says]);
        }
    });
}

#[test]
fn a_full_database_refuses_writes_and_says_so() {
    run(async {
        let etcd = Etcd::with("http", &["--quota-backend-bytes", "8388608"]).await;
        etcd.answers().await;
        let datastore = etcd.datastore().await;
        let large = datastore.create(&key(), vec![b'x'; 2_000_000]).await;
        refusal(large, &[&etcd.url(), "too large"]);
        let mut last = Ok(Revision(0));
        for number in 0..64 {
            let key = Key::cluster(Kind::IpPool, number.to_string());
            last = datastore.create(&key, vec![b'x'; 500_000]).await;
            if last.is_err() {
                break;
            }
        }
        refusal(last, &[&etcd.url(), "full", "etcdctl alarm disarm"]);
        assert_eq!(datastore.get(&key()).await, Ok(None));
        let first = Key::cluster(Kind::IpPool, "0");
        assert!(datastore.get(&first).await.expect("reads go on").is_some());
    });
}

#[test]
fn another_member_takes_over() {
    run(async {
        let (mut first, second) = (Etcd::start().await, Etcd::start().await);
        let dead = format!("http://127.0.0.1:{}", free_port());
        let all = format!("{dead},{},{}", first.url(), second.url());
        let datastore = store::connect(&settings(&all)).await.unwrap();
        datastore.create(&key(), b"1".to_vec()).await.expect("the first live one");
        assert!(get(&first.settings()).await.expect("an answer").is_some());
        first.stop(Stop::Kill).await;
        assert_eq!(datastore.get(&key()).await, Ok(None));
        datastore.create(&key(), b"2".to_vec()).await.expect("the second live one");
        assert!(get(&second.settings()).await.expect("an answer").is_some());
        drop(second);
        unreachable(datastore.get(&key()).await, &[&all, &dead, "is the server running"]);
    });
}

#[test]
fn a_server_that_never_answers_is_no_hang() {
    run(async {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let datastore = store::connect(&settings(&url)).await.unwrap();
        let key = key();
        // Many at once wait together, not one after the other.
        let many = (0..50).map(|_| datastore.get(&key));
        let begun = std::time::Instant::now();
        for answer in futures_util::future::join_all(many).await {
            unreachable(answer, &[&url, "no answer within"]);
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
    });
}

#[test]
fn names_and_sockets_are_reached() {
    run(async {
        let etcd = Etcd::start().await;
        let named = settings(&etcd.url().replace("127.0.0.1", "localhost"));
        assert_eq!(get(&named).await, Ok(None));
        let unknown = get(&settings("http://no-such-host.invalid.:2379")).await;
        unreachable(unknown, &["cannot resolve no-such-host.invalid.", "ETCD_ENDPOINTS"]);

        let directory = tempfile::tempdir().unwrap();
        let url = format!("unix://{}/datastore.sock", directory.path().display());
        let server = Embedded::launch(&url, directory.path());
        server.answers().await;
        let datastore = server.datastore().await;
        let revision = datastore.create(&key(), b"1".to_vec()).await.expect("a new object");
        assert_eq!(get(&settings(&url)).await.unwrap().unwrap().revision, revision);
        unreachable(get(&settings("unix:///no/such/socket")).await, &["unix:///no/such/socket"]);
    });
}
