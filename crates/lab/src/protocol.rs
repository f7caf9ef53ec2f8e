//! How the lab's processes talk: one JSON request on a Unix socket, answered by JSON lines.
//!
//! The same two functions serve the user's command line (to the lab's first process) and that
//! process (to its nodes): [`call`] and [`serve`].

use crate::faults::Setting;
use crate::topology::{Namespace, Pod};
use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What may be asked of a lab's first process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum LabRequest {
    /// Report progress until everything asked for at `up` works. Answer: nothing.
    AwaitReady,
    /// Answer: [`crate::status::LabStatus`].
    Status,
    /// Where a node, pod, the router or the outside host is. Answer: [`Location`].
    Locate { name: String },
    /// Answer: [`PodStatus`].
    PodAdd { pod: Pod },
    /// Answer: nothing.
    PodRemove { name: String },
    /// Answer: nothing.
    NamespaceAdd { namespace: Namespace },
    /// Set labels (a value) and remove them (none). Answer: nothing.
    NamespaceLabel { name: String, changes: BTreeMap<String, Option<String>> },
    /// Answer: a list of [`Namespace`].
    NamespaceList,
    /// Answer: nothing.
    NamespaceRemove { name: String },
    /// Answer: nothing.
    NodeAdd { node: NewNode },
    /// Answer: nothing.
    NodeRemove { name: String, keep_resource: bool },
    /// Answer: nothing.
    NodeRestart { name: String },
    /// Answer: nothing.
    FaultSet { settings: Vec<Setting> },
    /// End those of these names, or all without a name. Answer: nothing.
    FaultClear { names: Vec<String> },
    /// Answer: a list of [`FaultStatus`].
    FaultList,
    /// Stop these nodes' calico-node for good. Answer: nothing.
    AgentStop { names: Vec<String> },
    /// Start it on all of them, then wait until it is ready on each. Answer: nothing.
    AgentStart { names: Vec<String> },
}

impl LabRequest {
    /// Whether it is about pods that the lab itself makes, or its way of running agents.
    pub(crate) fn is_of_own_pods(&self) -> bool {
        match self {
            LabRequest::PodAdd { .. }
            | LabRequest::PodRemove { .. }
            | LabRequest::NamespaceAdd { .. }
            | LabRequest::NamespaceLabel { .. }
            | LabRequest::NamespaceList
            | LabRequest::NamespaceRemove { .. }
            | LabRequest::AgentStop { .. }
            | LabRequest::AgentStart { .. } => true,
            LabRequest::AwaitReady
            | LabRequest::Status
            | LabRequest::Locate { .. }
            | LabRequest::NodeAdd { .. }
            | LabRequest::NodeRemove { .. }
            | LabRequest::NodeRestart { .. }
            | LabRequest::FaultSet { .. }
            | LabRequest::FaultClear { .. }
            | LabRequest::FaultList => false,
        }
    }
}

/// What may be asked of a node, by the lab's first process only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum NodeRequest {
    /// Run a program to its end. Answer: [`Finished`].
    Run { program: Program, input: String },
    /// Keep a program running. Answer: nothing.
    Supervise { name: String, program: Program },
    /// End a program that is kept running; wait for its end. Answer: nothing.
    Stop { name: String },
    /// Write /etc/hosts. Answer: nothing.
    Hosts { text: String },
    /// Make a pod's sandbox and connect it. Answer: [`PodStatus`].
    PodAdd { pod: Pod },
    /// Disconnect a pod and end its sandbox. Answer: nothing.
    PodRemove { name: String },
    /// Answer: [`NodeReport`].
    Report,
    /// The last lines of a supervised program's log. Answer: a string.
    LogTail { name: String },
}

/// A node to add; the lab chooses what is left open.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewNode {
    pub(crate) name: String,
    pub(crate) subnet: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) interface: String,
}

/// A program and its environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Program {
    /// The program, looked up in the machine's PATH, and its arguments.
    pub(crate) command: Vec<String>,
    /// Environment over the machine's own.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Program {
    /// A program without environment of its own.
    pub(crate) fn new(command: &[&str]) -> Program {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Program { command, environment: BTreeMap::new() }
    }
}

/// How a program ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A pod as its node knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodStatus {
    pub(crate) name: String,
    /// The sandbox's first process, in the node's PID namespace.
    pub(crate) pid: u32,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) running: bool,
}

/// A node as it knows itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeReport {
    pub(crate) pods: Vec<PodStatus>,
    pub(crate) programs: Vec<ProgramStatus>,
}

/// A supervised program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramStatus {
    pub(crate) name: String,
    pub(crate) running: bool,
    pub(crate) restarts: u32,
}

/// A fault of the cloud.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FaultStatus {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Frames.
    pub(crate) dropped: u64,
}

/// Where to find the namespaces of something a command may be run in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Location {
    /// Its process id in the lab's PID namespace; for a pod then its id in its node's.
    pub(crate) pids: Vec<u32>,
    /// Environment for commands.
    pub(crate) environment: BTreeMap<String, String>,
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Progress(String),
    Done(serde_json::Value),
    Failed(String),
}

/// Passes progress lines to whoever asked.
pub(crate) struct Reporter<'a> {
    stream: &'a UnixStream,
}

impl Reporter<'_> {
    /// Sends one line; whether anybody is still listening.
    pub(crate) fn progress(&self, line: &str) -> bool {
        send(self.stream, &Answer::Progress(line.into())).is_ok()
    }
}

/// Bytes of the largest request or answer.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// How long the other side may be silent.
const ANSWER_WAIT: Duration = Duration::from_secs(150);

fn send(mut stream: &UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("encoding a message")?;
    line.push(b'\n');
    stream.write_all(&line).context("writing to the lab's socket")
}

fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = String::new();
    let length = reader.take(MESSAGE_BYTES_MAX).read_line(&mut line).context("reading")?;
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).context("a message that isn't of this version").map(Some)
}

/// Sends a request and waits for its answer, passing progress lines on.
///
/// # Errors
/// Nobody answers, the other side failed (its message), or the answer isn't a `T`.
pub(crate) fn call<T: DeserializeOwned>(
    socket: &Path,
    request: &impl Serialize,
    mut progress: impl FnMut(&str),
) -> Result<T> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_WAIT)).context("setting a time limit")?;
    send(&stream, request)?;
    let mut reader = BufReader::new(&stream);
    loop {
        match receive(&mut reader)? {
            Some(Answer::Progress(line)) => progress(&line),
            Some(Answer::Done(value)) => {
                return serde_json::from_value(value).context("an unexpected answer");
            }
            Some(Answer::Failed(message)) => return Err(anyhow!(message)),
            None => return Err(anyhow!("{} went away without an answer", socket.display())),
        }
    }
}

/// Answers requests for ever, each in a thread of its own.
///
/// # Errors
/// The listening socket fails.
pub(crate) fn serve<R: DeserializeOwned + 'static>(
    listener: &UnixListener,
    handle: impl Fn(R, &Reporter<'_>) -> Result<serde_json::Value> + Send + Sync + 'static,
) -> Result<()> {
    let handle = Arc::new(handle);
    loop {
        let (stream, _) = listener.accept().context("accepting a request")?;
        let handle = Arc::clone(&handle);
        std::thread::spawn(move || {
            let answer = receive(&mut BufReader::new(&stream))
                .and_then(|request| request.context("no request"))
                .and_then(|request| handle(request, &Reporter { stream: &stream }));
            let answer = match answer {
                Ok(value) => Answer::Done(value),
                Err(error) => Answer::Failed(format!("{error:#}")),
            };
            // Whoever asked may have gone; the work is done all the same.
            let _ = send(&stream, &answer);
        });
    }
}

/// An answer's value.
///
/// # Errors
/// The value cannot be written as JSON.
pub(crate) fn answer(value: impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).context("encoding an answer")
}
