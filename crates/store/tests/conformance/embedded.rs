//! Our own server, in a process of its own: this test program, started once more.

use crate::process::{Process, free_port};
use crate::server::{Foreign, Server, Stop};
use model::{Kind, Revision};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use store::Settings;
use tempfile::TempDir;

/// Set for the process that serves: the URL to listen on and the directory of the data.
const LISTEN: &str = "CALICO_CONFORMANCE_LISTEN";
const DATA: &str = "CALICO_CONFORMANCE_DATA";
/// The directory of its certificates for https, as `access::certificates` makes them.
const CERTIFICATES: &str = "CALICO_CONFORMANCE_CERTIFICATES";

/// One embedded server.
pub(crate) struct Embedded {
    process: Process,
    directory: TempDir,
    url: String,
    certificates: PathBuf,
}

impl Embedded {
    /// One that listens on `url`; `certificates` is their directory for https.
    pub(crate) fn launch(url: &str, certificates: &Path) -> Embedded {
        let directory = tempfile::tempdir().expect("a directory");
        let process = launch(&directory, url, certificates);
        Embedded { process, directory, url: url.into(), certificates: certificates.into() }
    }
}

fn launch(directory: &TempDir, url: &str, certificates: &Path) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "embedded::a_server_in_a_process_answers", "--nocapture"])
        .env(LISTEN, url)
        .env(CERTIFICATES, certificates)
        .env(DATA, directory.path().join("data"))
        .stdout(Stdio::null());
    Process::start(command)
}

impl Server for Embedded {
    async fn start() -> Embedded {
        let url = format!("http://127.0.0.1:{}", free_port());
        let server = Embedded::launch(&url, Path::new(""));
        server.answers().await;
        server
    }

    fn settings(&self) -> Settings {
        Settings::new(&self.url).expect("an endpoint")
    }

    async fn stop(&mut self, how: Stop) {
        self.process.stop(how).await;
    }

    async fn resume(&mut self) {
        self.process = launch(&self.directory, &self.url, &self.certificates);
        self.answers().await;
    }

    async fn compact(&mut self, before: Revision) {
        crate::wire::compact(&self.settings(), before).await;
    }
}

impl Foreign for Embedded {
    async fn write_foreign(&self, kind: Kind) {
        crate::wire::write_foreign(&self.settings(), kind).await;
    }
}

/// Started by a test, it is the server; started as a test, it checks that such a server answers.
#[test]
fn a_server_in_a_process_answers() {
    match (std::env::var(LISTEN), std::env::var(DATA)) {
        (Ok(url), Ok(data)) => serve(url, data),
        _ => crate::run(async {
            let mut server = Embedded::start().await;
            server.stop(Stop::Orderly).await;
            server.resume().await;
        }),
    }
}

/// Serves until told to stop, or until the test that started it is gone.
fn serve(url: String, data: String) {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut options = datastore::Options::local(data);
        if url.starts_with("https") {
            let certificates = PathBuf::from(std::env::var(CERTIFICATES).expect("their directory"));
            options.cert_file = Some(certificates.join("server.crt"));
            options.key_file = Some(certificates.join("server.key"));
            options.trusted_ca_file = Some(certificates.join("ca.crt"));
        }
        options.listen = vec![url];
        // The suite compacts when it wants to.
        options.auto_compaction_retention = datastore::Retention::Everything;
        let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
        // Nothing is ever written there: the end of it is the end of the test.
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        let stop = async { terminated.recv().await.unwrap_or_default() };
        datastore::serve(options, stop).await.expect("a server");
    });
}
