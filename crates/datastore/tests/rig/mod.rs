//! Servers for the tests: ours in a process of its own, and Debian's etcd.
#![expect(dead_code, reason = "each test file uses its part")]

use etcd::client::{KvClient, LeaseClient, WatchClient};
use etcd::{DeleteRangeRequest, PutRequest, RangeRequest, prefix_end};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a process of its own, killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
}

impl Process {
    /// Our server on a data directory.
    pub(crate) fn ours(directory: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_datastore"));
        command.arg("--data-dir").arg(directory).args(["--listen", &format!("http://{address}")]);
        Self { child: command.spawn().unwrap(), address }
    }

    /// Our server as the last arguments of a command that adds `--data-dir` itself.
    pub(crate) fn within(words: &[&str]) -> Self {
        let address = free_address();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_datastore"));
        command.args(["--listen", &format!("http://{address}")]);
        Self { child: command.spawn().unwrap(), address }
    }

    /// Debian's etcd with an empty store.
    pub(crate) fn etcd(directory: &Path) -> Self {
        let (address, peer) = (free_address(), free_address());
        let (client, peer) = (format!("http://{address}"), format!("http://{peer}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(directory.join("etcd"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect("Debian's etcd-server is installed"), address }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects, as soon as it listens.
    pub(crate) async fn connect(&self) -> Channel {
        connect(&format!("http://{}", self.address)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Connects, as soon as someone listens and answers.
pub(crate) async fn connect(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().tcp_nodelay(true);
    let begin = Instant::now();
    loop {
        if let Ok(channel) = endpoint.connect().await {
            let request = RangeRequest { key: b"/".to_vec(), ..Default::default() };
            if KvClient::new(channel.clone()).range(request).await.is_ok() {
                return channel;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "{url} does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(crate) fn kv(channel: &Channel) -> KvClient<Channel> {
    KvClient::new(channel.clone())
}

pub(crate) fn watches(channel: &Channel) -> WatchClient<Channel> {
    WatchClient::new(channel.clone())
}

pub(crate) fn leases(channel: &Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel.clone())
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> PutRequest {
    let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
    PutRequest { key, value, ..Default::default() }
}

pub(crate) fn get(key: impl AsRef<[u8]>) -> RangeRequest {
    RangeRequest { key: key.as_ref().to_vec(), ..Default::default() }
}

pub(crate) fn list(prefix: &str) -> RangeRequest {
    let key = prefix.as_bytes().to_vec();
    RangeRequest { range_end: prefix_end(&key), key, ..Default::default() }
}

pub(crate) fn delete(key: impl AsRef<[u8]>) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.as_ref().to_vec(), ..Default::default() }
}
