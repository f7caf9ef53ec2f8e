//! The agent's Unix socket: one JSON request on one line, one JSON reply on one line.

use node::RequestId;
use node::api::{Reply, Request};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Bytes of one request at most.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Clients served at the same time; more wait in the kernel's queue.
const CLIENTS_MAX: usize = 256;
/// How long a client may take to send its request: the plugin connects before it runs another IPAM
/// plugin.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take: the CNI plugin's own bound.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Reply>,
}

/// Listens at `path`, root only; a socket left by an earlier agent is replaced.
///
/// # Errors
/// The directory cannot be made, something else stands at `path`, or the address is refused.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("something that is no socket stands there")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients for ever, handing each request to `asked`.
pub(crate) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let clients = std::sync::Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &asked).await {
                        tracing::debug!("a client of the agent's socket went away: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("the agent's socket does not accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    converse(&mut stream, asked, REQUEST_TIME_MAX, |_| None).await
}

/// Reads one request and writes its reply; `refuse` may have one of its own.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    asked: &mpsc::Sender<Asked>,
    request_time_max: Duration,
    refuse: impl Fn(&Request) -> Option<Reply>,
) -> io::Result<()> {
    let mut line = String::new();
    let mut bounded = BufReader::new((&mut *stream).take(REQUEST_BYTES_MAX));
    tokio::time::timeout(request_time_max, bounded.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match refuse(&request) {
            Some(reply) => reply,
            None => ask(request, asked).await,
        },
        Err(_) if line.len() as u64 >= REQUEST_BYTES_MAX => Reply::refused(format!(
            "the agent takes requests of at most {REQUEST_BYTES_MAX} bytes; ask for less at once"
        )),
        Err(error) => Reply::refused(format!(
            "the agent cannot read this request ({error}): \
             are the programs that ask and calico-node of the same version?"
        )),
    };
    let mut bytes = serde_json::to_vec(&reply)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await
}

async fn ask(request: Request, asked: &mpsc::Sender<Asked>) -> Reply {
    let (answer, reply) = oneshot::channel();
    let gone = || Reply::Failed {
        retry: true,
        message: "calico-node is stopping; the runtime tries again".to_owned(),
    };
    if asked.send(Asked { request, answer }).await.is_err() {
        return gone();
    }
    match tokio::time::timeout(ANSWER_TIME_MAX, reply).await {
        Ok(reply) => reply.unwrap_or_else(|_| gone()),
        Err(_) => Reply::Failed {
            retry: true,
            message: format!(
                "calico-node did not finish within {} s: `calicoctl node status` says why",
                ANSWER_TIME_MAX.as_secs()
            ),
        },
    }
}

/// Requests by number, waiting for their answers.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    next: RequestId,
    answers: std::collections::BTreeMap<RequestId, oneshot::Sender<Reply>>,
}

impl Waiting {
    /// Gives a request its number.
    pub(crate) fn enter(&mut self, answer: oneshot::Sender<Reply>) -> RequestId {
        self.next += 1;
        self.answers.insert(self.next, answer);
        self.next
    }

    /// Lets another answer the request; `None` if it was answered.
    pub(crate) fn leave(&mut self, id: RequestId) -> Option<oneshot::Sender<Reply>> {
        self.answers.remove(&id)
    }

    /// Answers a request. One whose client has gone is forgotten.
    pub(crate) fn answer(&mut self, id: RequestId, reply: Reply) {
        if let Some(answer) = self.answers.remove(&id) {
            let _client_may_be_gone = answer.send(reply);
        }
    }
}
