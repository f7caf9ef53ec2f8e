use super::*;
use model::{CalicoNodeStatus, Entry, Revision};
use node::Node;
use node::status::NodeStatus;
use serde_json::json;

/// A datastore of its own, and this node's questions in it.
struct Cluster {
    _server: datastore::Server,
    _directory: tempfile::TempDir,
    store: Arc<dyn Datastore>,
}

impl Cluster {
    async fn start() -> Cluster {
        let directory = tempfile::tempdir().expect("a directory");
        let options = datastore::Options::local(directory.path().join("datastore"));
        let server = datastore::Server::start(options).await.expect("a server");
        let variables = [("ETCD_ENDPOINTS".to_owned(), server.endpoints().join(","))];
        let settings = store::Settings::from_env(variables).expect("settings");
        let store = store::connect(&settings).await.expect("connected");
        Cluster { _server: server, _directory: directory, store }
    }

    /// Asks, and says what the watcher would.
    async fn ask(&self, name: &str, node: &str, period: u32) -> DatastoreEvent {
        let spec = CalicoNodeStatusSpec {
            node: node.to_owned(),
            classes: vec!["BGP".to_owned()],
            update_period_seconds: Some(period),
        };
        let resource = CalicoNodeStatus::new(name, spec);
        typed::create(&*self.store, resource.clone()).await.expect("created");
        changed(&resource)
    }

    async fn stored(&self, name: &str) -> Option<serde_json::Value> {
        let stored = typed::get::<CalicoNodeStatusSpec>(&*self.store, None, name).await;
        stored.expect("read").expect("there").status
    }

    async fn answered(&self, name: &str) -> serde_json::Value {
        loop {
            if let Some(status) = self.stored(name).await {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn changed(resource: &CalicoNodeStatus) -> DatastoreEvent {
    let (key, value) = (resource.key(), resource.to_stored());
    DatastoreEvent::Changed(Entry::new(key, value, Revision(1)))
}

fn answer(questions: &mut Questions) {
    let node = Node::new("master", vec![]);
    let now = jiff::Timestamp::now();
    questions.answer(&Answer {
        node: &node,
        status: &NodeStatus::default(),
        started: now,
        reconfigured: None,
        now,
    });
}

#[tokio::test]
async fn this_node_answers_in_the_status_alone() {
    let cluster = Cluster::start().await;
    let mut questions = Questions::new(cluster.store.clone(), "master");
    let once = cluster.ask("once", "master", 0).await;
    let often = cluster.ask("often", "master", 3600).await;
    let other = cluster.ask("other", "worker-1", 1).await;
    assert_eq!(questions.due(), None);
    for event in [&once, &often, &other] {
        questions.hear(event);
    }
    answer(&mut questions);
    let status = cluster.answered("once").await;
    assert_eq!(status["bgp"]["numberEstablishedV4"], json!(0));
    cluster.answered("often").await;
    assert_eq!(cluster.stored("other").await, None);
    // What it has written itself asks nothing new, and once is once.
    questions.hear(&once);
    questions.hear(&often);
    let due = questions.due().expect("the one that asks often");
    assert!(due > Instant::now() + Duration::from_secs(3000));
    let key = Key::cluster(Kind::CalicoNodeStatus, "often");
    questions.hear(&DatastoreEvent::Deleted { key, revision: Revision(2) });
    assert_eq!(questions.due(), None);
}

#[tokio::test]
async fn a_question_that_is_gone_is_not_made_anew() {
    let cluster = Cluster::start().await;
    cluster.ask("brief", "master", 0).await;
    typed::delete::<CalicoNodeStatusSpec>(&*cluster.store, None, "brief").await.expect("deleted");
    write(&*cluster.store, "brief", &json!({})).await.expect("nothing to do");
    let stored = typed::get::<CalicoNodeStatusSpec>(&*cluster.store, None, "brief").await;
    assert_eq!(stored.expect("read"), None);
}
