//! Credentials that cannot be used, and permissions that are missing: what is said of each.

use super::Kubernetes;
use crate::server::Server;
use model::{Key, Kind, Query};
use store::{Error, Settings};

/// Settings of a kubeconfig with a text replaced.
fn with(server: &Kubernetes<false>, name: &str, from: &str, to: &str) -> Settings {
    let text = std::fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
    assert!(text.contains(from), "{from} is not in the kubeconfig");
    let path = server.certificates.path(name);
    std::fs::write(&path, text.replace(from, to)).expect("a file");
    named(&path)
}

fn named(path: &str) -> Settings {
    let variables = [("DATASTORE_TYPE", "kubernetes"), ("KUBECONFIG", path)];
    Settings::from_env(variables).expect("settings")
}

async fn failure(settings: &Settings) -> Error {
    let pool = Key::cluster(Kind::IpPool, "one");
    match store::connect(settings).await {
        Ok(datastore) => datastore.get(&pool).await.expect_err("a refusal"),
        Err(error) => error,
    }
}

fn says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
}

pub(crate) async fn refusals_say_what_to_do(server: &mut Kubernetes<false>) {
    let server = &*server;
    let path = server.kubeconfig();
    // What is no kubeconfig.
    let missing = failure(&named("/no/such/kubeconfig")).await;
    assert!(matches!(missing, Error::Settings(_)), "{missing:?}");
    says(&missing, &["/no/such/kubeconfig", "No such file", "correct it"]);
    let garbled = failure(&with(server, "garbled", "\"clusters\"", "\"clusters\" [")).await;
    assert!(matches!(garbled, Error::Settings(_)), "{garbled:?}");
    says(&garbled, &["garbled", "cannot be used"]);
    let nowhere =
        failure(&with(server, "nowhere", "\"current-context\":\"x\"", "\"current-context\":\"y\""))
            .await;
    assert!(matches!(nowhere, Error::Settings(_)), "{nowhere:?}");
    says(&nowhere, &["nowhere", "y"]);
    let unsigned = failure(&with(server, "unsigned", "ca.crt", "no.crt")).await;
    assert!(matches!(unsigned, Error::Settings(_)), "{unsigned:?}");
    says(&unsigned, &["no.crt"]);

    // A server that is another's, or nobody's.
    let stranger = failure(&with(server, "stranger", "ca.crt", "stranger.crt")).await;
    assert!(matches!(stranger, Error::Unreachable { .. }), "{stranger:?}");
    says(&stranger, &[&server.endpoint(), "certificate"]);
    let port = format!(":{}", server.port);
    let gone = failure(&with(server, "gone", &port, ":1")).await;
    assert!(matches!(gone, Error::Unreachable { .. }), "{gone:?}");
    says(&gone, &["127.0.0.1:1", "refused", "is the server running"]);

    // A token that the server doesn't know (any more), and one that may do nothing.
    let expired = failure(&with(server, "expired", super::TOKEN, "an-expired-one")).await;
    assert!(matches!(expired, Error::Refused { .. }), "{expired:?}");
    says(&expired, &[&server.endpoint(), "Unauthorized", "token", "expired"]);
    let guest = with(server, "guest", super::TOKEN, super::GUEST_TOKEN);
    let denied = failure(&guest).await;
    assert!(matches!(denied, Error::Refused { .. }), "{denied:?}");
    says(&denied, &["guest", "cannot get resource \"ippools\"", "role", "manifests/"]);
    let guest = store::connect(&guest).await.expect("settings");
    let query = Query::kind(Kind::IpPool);
    let denied = guest.list(&query).await.expect_err("a refusal");
    says(&denied, &["cannot list resource \"ippools\"", "role"]);
    let denied = guest.watch(&query, model::Revision(1)).await.map(|_| ()).expect_err("a refusal");
    says(&denied, &["cannot watch resource \"ippools\"", "role"]);
    assert!(store::connect(&named(&path)).await.is_ok());
}
