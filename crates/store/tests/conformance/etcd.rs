//! Debian's etcd.

use crate::process::{Process, free_port};
use crate::server::{Foreign, Server, Stop};
use model::{Key, Kind, Revision};
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{Error, Settings};
use tempfile::TempDir;

/// An etcd of one member.
pub(crate) struct Etcd {
    process: Process,
    directory: TempDir,
    scheme: &'static str,
    port: u16,
    peer_port: u16,
    more: Vec<String>,
}

impl Etcd {
    /// One with further options; certificates make it speak TLS.
    pub(crate) async fn with(scheme: &'static str, more: &[&str]) -> Etcd {
        let directory = tempfile::tempdir().expect("a directory");
        let (port, peer_port) = (free_port(), free_port());
        let more: Vec<String> = more.iter().map(|&option| option.to_owned()).collect();
        let process = launch(&directory, scheme, port, peer_port, &more);
        Etcd { process, directory, scheme, port, peer_port, more }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Starts it again where an answer is a refusal, as nobody is logged in.
    pub(crate) async fn resume_guarded(&mut self) {
        self.launch();
        let datastore = self.datastore().await;
        let probe = Key::cluster(Kind::ClusterInformation, "default");
        while !matches!(datastore.get(&probe).await, Err(Error::Refused { .. })) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn launch(&mut self) {
        let Etcd { directory, scheme, port, peer_port, more, .. } = self;
        self.process = launch(directory, scheme, *port, *peer_port, more);
    }

    /// Runs etcdctl on it.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) {
        let mut command = Command::new("/usr/bin/etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]).args(arguments);
        let output = command.output().expect("/usr/bin/etcdctl (Debian's etcd-client)");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

fn launch(
    directory: &TempDir,
    scheme: &str,
    port: u16,
    peer_port: u16,
    more: &[String],
) -> Process {
    let client = format!("{scheme}://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new("/usr/bin/etcd");
    command
        .args(["--name", "one", "--log-level", "fatal"])
        .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(command)
}

impl Server for Etcd {
    async fn start() -> Etcd {
        let etcd = Etcd::with("http", &[]).await;
        etcd.answers().await;
        etcd
    }

    fn settings(&self) -> Settings {
        Settings::new(&self.url()).expect("an endpoint")
    }

    async fn stop(&mut self, how: Stop) {
        self.process.stop(how).await;
    }

    async fn resume(&mut self) {
        self.launch();
        self.answers().await;
    }

    async fn compact(&mut self, before: Revision) {
        crate::wire::compact(&self.settings(), before).await;
    }
}

impl Foreign for Etcd {
    async fn write_foreign(&self, kind: Kind) {
        crate::wire::write_foreign(&self.settings(), kind).await;
    }
}
