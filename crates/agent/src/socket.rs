//! The agent's Unix socket: one JSON request on one line, one JSON reply on one line; what follows an
//! ADD is passed on while that is under way.

use node::RequestId;
use node::api::{DeleteWorkload, Reply, Request};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
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
    let (reader, mut writer) = tokio::io::split(stream);
    let mut bounded = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(request_time_max, bounded.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match refuse(&request) {
            Some(reply) => reply,
            None => {
                let removal = removal_if_more_follows(&request);
                // What follows must come after it.
                let reply = ask(request, asked).await;
                tokio::select! {
                    reply = awaited(reply) => reply,
                    reply = pass_on(bounded, asked, removal) => reply,
                }
            }
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
    writer.write_all(&bytes).await
}

/// Where more follows a request on the same connection: what takes the request back.
fn removal_if_more_follows(request: &Request) -> Option<DeleteWorkload> {
    match request {
        Request::AddWorkload(add) if add.interface_follows => Some(add.removal()),
        _ => None,
    }
}

/// Passes on what follows an ADD, for ever: the reply is the ADD's. An ADD whose client goes away
/// before its interface is there is given up: whatever else the client says may come before it, on
/// another connection, or not at all.
async fn pass_on(
    reader: impl AsyncBufRead + Unpin,
    asked: &mpsc::Sender<Asked>,
    removal: Option<DeleteWorkload>,
) -> Reply {
    if let Some(removal) = removal {
        let mut lines = reader.lines();
        let mut has_interface = false;
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(request @ Request::InterfaceMade(_)) = serde_json::from_str(&line) {
                has_interface = true;
                // Nobody waits for its answer.
                drop(ask(request, asked).await);
            }
        }
        if !has_interface {
            drop(ask(Request::DeleteWorkload(removal), asked).await);
        }
    }
    std::future::pending().await
}

/// Hands a request on; where its answer comes, which an agent that is stopping drops.
async fn ask(request: Request, asked: &mpsc::Sender<Asked>) -> oneshot::Receiver<Reply> {
    let (answer, reply) = oneshot::channel();
    let _stopping = asked.send(Asked { request, answer }).await;
    reply
}

async fn awaited(reply: oneshot::Receiver<Reply>) -> Reply {
    match tokio::time::timeout(ANSWER_TIME_MAX, reply).await {
        Ok(reply) => reply.unwrap_or_else(|_| Reply::Failed {
            retry: true,
            message: "calico-node is stopping; the runtime tries again".to_owned(),
        }),
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use node::api::{AddWorkload, AddressSource, WorkloadId};

    fn add(interface_follows: bool) -> Request {
        Request::AddWorkload(Box::new(AddWorkload {
            id: pod(),
            host_interface: "cali1".to_owned(),
            interface_follows,
            mac: "02:00:00:00:00:01".to_owned(),
            addresses: AddressSource::CalicoIpam {
                ipv4: 1,
                ipv6: 0,
                ipv4_pools: vec![],
                ipv6_pools: vec![],
                requested: vec![],
            },
            labels: <_>::default(),
            service_account: None,
            ports: vec![],
            features: <_>::default(),
        }))
    }

    /// The tests' pod, `default/pod-1`.
    pub(crate) fn pod() -> WorkloadId {
        WorkloadId {
            network: "k8s-pod-network".to_owned(),
            container_id: "c0ffee".to_owned(),
            interface: "eth0".to_owned(),
            orchestrator: "k8s".to_owned(),
            namespace: "default".to_owned(),
            pod: "pod-1".to_owned(),
        }
    }

    fn removal() -> Request {
        Request::DeleteWorkload(DeleteWorkload {
            id: pod(),
            host_interface: "cali1".to_owned(),
            release_addresses: true,
        })
    }

    /// Serves a client that has written these at once.
    async fn served(requests: &[Request]) -> (UnixStream, mpsc::Receiver<Asked>) {
        let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
        for request in requests {
            let line = serde_json::to_string(request).expect("JSON") + "\n";
            client.write_all(line.as_bytes()).await.expect("room in the socket");
        }
        let (asked, inbox) = mpsc::channel(8);
        tokio::spawn(async move { answer(server, &asked).await });
        (client, inbox)
    }

    /// So many requests that were passed on, and after them no other.
    async fn passed_on(inbox: &mut mpsc::Receiver<Asked>, count: usize) -> Vec<Asked> {
        let mut passed = Vec::new();
        for _ in 0..count {
            let next = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await;
            passed.push(next.expect("within 10 s").expect("a request"));
        }
        // What comes at all has been written before, and comes at once.
        let more = tokio::time::timeout(Duration::from_millis(100), inbox.recv()).await;
        assert!(!matches!(more, Ok(Some(_))), "{more:?}");
        passed
    }

    fn requests(asked: &[Asked]) -> Vec<Request> {
        asked.iter().map(|asked| asked.request.clone()).collect()
    }

    #[tokio::test]
    async fn an_add_whose_client_goes_away_before_its_interface_is_there_is_given_up() {
        let with_interface = [add(true), Request::InterfaceMade(pod())];
        // What has its interface is the runtime's to delete.
        for (written, expected) in [
            (&with_interface[..1], &[add(true), removal()][..]),
            (&with_interface, &with_interface),
            (&[add(false)], &[add(false)]),
        ] {
            let (client, mut inbox) = served(written).await;
            drop(client);
            assert_eq!(requests(&passed_on(&mut inbox, expected.len()).await), expected);
        }
    }

    #[tokio::test]
    async fn only_what_belongs_to_an_add_follows_a_request() {
        let made = || Request::InterfaceMade(pod());
        for (written, expected) in [
            (&[add(true), removal(), made()][..], &[add(true), made()][..]),
            (&[add(false), made()], &[add(false)]),
            (&[removal(), made()], &[removal()]),
        ] {
            let (mut client, mut inbox) = served(written).await;
            let mut asked = passed_on(&mut inbox, expected.len()).await;
            assert_eq!(requests(&asked), expected);
            asked.remove(0).answer.send(Reply::Done).expect("it waits");
            let mut read = String::new();
            // That the server did not read all of it is no news to this client.
            let _reset = client.read_to_string(&mut read).await;
            assert_eq!(read, "\"Done\"\n");
        }
    }
}
