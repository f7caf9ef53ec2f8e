//! Commands as typed, against the embedded server.

mod bad_input;
mod conflicts;
mod ipam;
mod policies;
mod resources;
mod walkthrough;
mod what_if;

use crate::Cli;
use crate::terminal::Terminal;
use clap::Parser;
use store::Datastore;

/// A datastore of its own for one test.
struct Cluster {
    server: datastore::Server,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let directory = tempfile::tempdir().expect("a directory");
        let options = datastore::Options::local(directory.path().join("datastore"));
        let server = datastore::Server::start(options).await.expect("a server");
        Cluster { server, directory }
    }

    /// With the walkthroughs' pool.
    async fn with_pool() -> Cluster {
        let cluster = Cluster::start().await;
        let created = cluster.fed("create -f -", POOL).await;
        assert_eq!(created.as_deref(), Ok("Successfully created 1 'IPPool' resource(s)\n"));
        cluster
    }

    fn endpoint(&self) -> String {
        self.server.endpoints().join(",")
    }

    /// What a command prints, or its error.
    async fn run(&self, line: &str) -> Result<String, String> {
        self.fed(line, "").await
    }

    /// The same with something on standard input.
    async fn fed(&self, line: &str, input: &str) -> Result<String, String> {
        typed(line, input, &self.endpoint()).await
    }

    /// What a command prints that must succeed, with what differs from run to run left out.
    async fn prints(&self, line: &str) -> String {
        steady(&self.run(line).await.unwrap_or_else(|error| panic!("{line}: {error}")))
    }

    async fn store(&self) -> std::sync::Arc<dyn Datastore> {
        let settings = store::Settings::new(&self.endpoint()).expect("settings");
        store::connect(&settings).await.expect("a datastore")
    }

    /// Everything there is, with revisions: differs after any write.
    async fn everything(&self) -> String {
        let mut text = String::new();
        for kind in model::Kind::ALL {
            let line = format!("get {} -a -o json", kind.name());
            text += &self.run(&line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        text
    }

    /// Writes a file into the test's directory; its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join("files").join(name);
        std::fs::create_dir_all(path.parent().expect("a directory above")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

/// What a command prints with the datastore at an endpoint. Words may stand in single quotes.
async fn typed(line: &str, input: &str, endpoint: &str) -> Result<String, String> {
    let cli = parse(line).map_err(|error| error.to_string())?;
    let mut printed = Vec::new();
    let mut input = input.as_bytes();
    let mut terminal = Terminal { input: &mut input, output: &mut printed };
    let variables = vec![("ETCD_ENDPOINTS".to_owned(), endpoint.to_owned())];
    super::run(cli, variables, &mut terminal).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(printed).expect("text"))
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(place, part)| match place % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    Cli::try_parse_from(std::iter::once("calicoctl").chain(words))
}

/// Times, revisions and identities replaced by dots.
fn steady(text: &str) -> String {
    let fields = ["creationTimestamp: \"", "resourceVersion: \"", "uid: "];
    let line = |line: &str| {
        let varies = fields.iter().find(|field| line.trim_start().starts_with(**field));
        let shown = varies.map_or(line.len(), |field| line.find(field).unwrap_or(0) + field.len());
        format!("{}{}\n", &line[..shown], if varies.is_some() { "…" } else { "" })
    };
    text.lines().map(line).collect()
}

const POOL: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  blockSize: 24
  cidr: 172.16.0.0/16
  ipipMode: Always
  natOutgoing: true
  nodeSelector: all()
";
