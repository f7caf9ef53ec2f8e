//! The loop around the core: one inbox, one owner.
//!
//! ```text
//!  watcher ──┐                               ┌─▶ kernel thread (plans)
//!  kernel ───┼─▶ inbox ─▶ Node::on ─▶ effects ┼─▶ datastore worker (addresses, endpoints)
//!  socket ───┤                               ├─▶ replies
//!  worker ───┘                               └─▶ status, mtu file
//! ```

use crate::bgp;
use crate::connections;
use crate::endpoint_status::EndpointStatusFiles;
use crate::health::{self, Heartbeats, Part};
use crate::kernel_thread;
use crate::logged_packets;
use crate::metrics::{self, Measures};
use crate::node_status::{Answer, Questions};
use crate::remote;
use crate::settings::Startup;
use crate::socket::{self, Asked, Waiting};
use crate::worker::{self, Job, Posted};
use ::bgp::status::{SessionState, SpeakerStatus};
use anyhow::{Context, Result};
use jiff::Timestamp;
use model::DatastoreEvent;
use node::api::Reply;
use node::report::Figures;
use node::status::NodeStatus;
use node::{Effect, Event, Node};
use policy::nflog_prefix::Names;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Datastore;
use tokio::sync::{mpsc, watch};

/// Events that wait for the core at most; senders wait beyond.
const INBOX_MAX: usize = 4096;
/// Events taken before a plan is made, so that a flood cannot keep the kernel waiting.
const BURST_MAX: usize = 1024;
/// How often the loop shows that it is alive, and looks into the spool.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Where the CNI plugin finds the MTU of pods.
const MTU_FILE: &str = "/var/lib/calico/mtu";

/// Runs the agent until the process is told to stop.
pub(crate) async fn run(
    datastore: Arc<dyn Datastore>,
    settings: &Startup,
    environment: Vec<(String, String)>,
) -> Result<()> {
    let (inbox, events) = mpsc::channel(INBOX_MAX);
    let (status, shown) = watch::channel(NodeStatus::default());
    let (figures, of_figures) = watch::channel(Figures::default());
    let (heartbeats, measures) = (Heartbeats::new(), Arc::<Measures>::default());
    let logged = Arc::<logged_packets::Counts>::default();
    let sources = metrics::Sources {
        figures: of_figures,
        status: shown.clone(),
        measures: measures.clone(),
        logged: logged.clone(),
    };
    tokio::spawn(metrics::serve(sources));
    serve_health(settings, shown, &heartbeats);
    let kernel = kernel_thread::start(inbox.clone(), heartbeats.clone(), measures)
        .context("the kernel's netlink sockets cannot be opened: calico-node must run as root")?;
    let (prefixes, shortened) = watch::channel(Arc::default());
    logged_packets::start(shortened, logged)?;
    let connections = connections::start(inbox.clone())?;
    let bgp = bgp::start(inbox.clone(), heartbeats.clone())?;
    let path = Path::new(node::api::SOCKET);
    let listener = socket::listen(path)
        .with_context(|| format!("the agent cannot listen at {}", path.display()))?;
    let (asked, requests) = mpsc::channel(INBOX_MAX);
    tokio::spawn(socket::serve(listener, asked.clone()));
    if let Some(api) = settings.api.clone() {
        tokio::spawn(remote::serve(api, asked));
    }
    let jobs = worker::start(datastore.clone(), settings.node.clone(), inbox.clone());
    let questions = Questions::new(datastore.clone(), &settings.node);
    let watcher = store::watcher::watch(datastore, node::queries());
    let agent = Agent {
        node: Node::new(&settings.node, environment),
        waiting: Waiting::default(),
        kernel,
        connections,
        prefixes,
        bgp,
        jobs,
        status,
        figures,
        heartbeats,
        questions,
        started: Timestamp::now(),
        reconfigured: None,
        pod_mtu: None,
        endpoint_status: EndpointStatusFiles::default(),
        api: settings.api.clone(),
    };
    agent.serve(events, requests, watcher).await;
    Ok(())
}

fn serve_health(
    settings: &Startup,
    status: watch::Receiver<NodeStatus>,
    heartbeats: &Arc<Heartbeats>,
) {
    let Some(address) = settings.health.clone() else { return };
    let heartbeats = heartbeats.clone();
    tokio::spawn(async move {
        if let Err(why) = health::serve(address.clone(), status, heartbeats).await {
            tracing::error!(
                "no health server at http://{address}: {why}; set FELIX_HEALTHHOST or \
                 FELIX_HEALTHPORT to an address that is free"
            );
        }
    });
}

struct Agent {
    node: Node,
    waiting: Waiting,
    kernel: kernel_thread::Handle,
    connections: connections::Handle,
    prefixes: watch::Sender<Arc<Names>>,
    bgp: bgp::Handle,
    jobs: mpsc::Sender<Posted>,
    status: watch::Sender<NodeStatus>,
    figures: watch::Sender<Figures>,
    heartbeats: Arc<Heartbeats>,
    questions: Questions,
    started: Timestamp,
    /// When BGP was told to do something else last.
    reconfigured: Option<Timestamp>,
    pod_mtu: Option<u32>,
    endpoint_status: EndpointStatusFiles,
    api: Option<remote::Settings>,
}

impl Agent {
    async fn serve(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut requests: mpsc::Receiver<Asked>,
        mut watcher: mpsc::Receiver<DatastoreEvent>,
    ) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut stop = stop_signals();
        loop {
            let first = tokio::select! {
                biased;
                () = &mut stop => return,
                _ = heartbeat.tick() => { self.beat().await; continue }
                () = self.question_due() => { self.answer(); continue }
                Some(event) = watcher.recv() => Event::Datastore(event),
                Some(event) = events.recv() => event,
                Some(asked) = requests.recv() => self.entered(asked),
            };
            self.take(first).await;
            for _ in 0..BURST_MAX {
                let next = match (watcher.try_recv(), events.try_recv(), requests.try_recv()) {
                    (Err(_), Err(_), Err(_)) => break,
                    (datastore, event, asked) => [
                        datastore.ok().map(Event::Datastore),
                        event.ok(),
                        asked.ok().map(|asked| self.entered(asked)),
                    ],
                };
                for event in next.into_iter().flatten() {
                    self.take(event).await;
                }
            }
            self.take(Event::Idle).await;
            self.publish();
        }
    }

    fn entered(&mut self, asked: Asked) -> Event {
        Event::Request { id: self.waiting.enter(asked.answer), request: asked.request }
    }

    async fn take(&mut self, event: Event) {
        if let Event::Datastore(event) = &event {
            self.questions.hear(event);
            if let DatastoreEvent::Unreachable(reason) = event {
                tracing::warn!("{reason}; what was known stays in force");
            }
        }
        for effect in self.node.on(event) {
            self.perform(effect).await;
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Apply { generation, plan, tables } => {
                if let Some(plan) = &plan {
                    self.write_mtu(plan.pod_mtu);
                }
                self.kernel.apply(generation, plan, tables);
            }
            Effect::ShowEndpoints { prefix, endpoints } => {
                if let Err(why) = self.endpoint_status.show(&prefix, endpoints) {
                    tracing::warn!(
                        "{prefix}/endpoint-status does not say which endpoints are routed: {why}"
                    );
                }
            }
            Effect::ConfigureBgp(configuration) => {
                self.reconfigured = Some(Timestamp::now());
                self.bgp.configure(configuration);
            }
            Effect::ReadKernel { id, question } => self.kernel.ask(id, question),
            Effect::ListConnections(listed) => self.connections.list(listed),
            Effect::EndConnections(numbers) => self.connections.end(numbers),
            Effect::NamePrefixes(names) => {
                self.prefixes.send_replace(names);
            }
            Effect::Reply { id, reply } => self.waiting.answer(id, reply),
            Effect::AskNode { id, node, address, request } => {
                if let Some(answer) = self.waiting.leave(id) {
                    let api = self.api.clone();
                    tokio::spawn(async move {
                        let reply =
                            remote::ask(api.as_ref(), &node, address.into(), &request).await;
                        let reply = reply.unwrap_or_else(|why| Reply::refused(why.to_string()));
                        let _client_may_be_gone = answer.send(reply);
                    });
                }
            }
            Effect::Assign { id, assign } => self.job(Job::Assign { id, assign }).await,
            Effect::Read { id, key } => self.job(Job::Read { id, key }).await,
            Effect::WriteEndpoint { id, endpoint } => {
                self.job(Job::WriteEndpoint { id, endpoint }).await;
            }
            Effect::Remove { id, delete } => self.job(Job::Remove { id, delete }).await,
            Effect::TunnelAddress { tunnel, pools } => {
                self.job(Job::TunnelAddress { tunnel, pools }).await;
            }
        }
    }

    async fn job(&self, job: Job) {
        let config = self.node.ipam_config().cloned();
        if self.jobs.send((job, config)).await.is_err() {
            tracing::error!("the datastore worker has ended; restart calico-node");
        }
    }

    /// Shows that the loop is alive, and takes up what DEL has left while no agent ran.
    async fn beat(&self) {
        self.heartbeats.beat(Part::Inbox);
        // A worker that is behind has earlier ones to do still: more would only fill its queue.
        if self.jobs.capacity() == self.jobs.max_capacity() {
            self.job(Job::EmptySpool).await;
        }
    }

    /// Until somebody is to be told how this node is; not before it knows.
    fn question_due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.questions.due().filter(|_| self.status.borrow().in_sync);
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    fn answer(&mut self) {
        self.questions.answer(&Answer {
            node: &self.node,
            status: &self.node.status(),
            started: self.started,
            reconfigured: self.reconfigured,
            now: Timestamp::now(),
        });
    }

    fn publish(&mut self) {
        self.heartbeats.beat(Part::Inbox);
        self.figures.send_replace(self.node.figures());
        let status = self.node.status();
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            if changed {
                for line in status.warnings.iter().filter(|w| !shown.warnings.contains(w)) {
                    tracing::warn!("{line}");
                }
                for line in status.not_ready.iter().filter(|n| !shown.not_ready.contains(n)) {
                    tracing::warn!("not ready: {line}");
                }
                let is_ready = |status: &NodeStatus| status.in_sync && status.not_ready.is_empty();
                if is_ready(&status) && !is_ready(shown) {
                    tracing::info!("ready");
                }
                log_sessions(shown.bgp.as_ref(), status.bgp.as_ref());
                *shown = status;
            }
            changed
        });
    }

    fn write_mtu(&mut self, mtu: u32) {
        if self.pod_mtu == Some(mtu) {
            return;
        }
        match linux::file::replace(Path::new(MTU_FILE), mtu.to_string().as_bytes()) {
            Ok(()) => self.pod_mtu = Some(mtu),
            Err(why) => tracing::warn!("{MTU_FILE} cannot be written: {why}"),
        }
    }
}

/// Tells of sessions that have come up or gone down, and of a port that cannot be listened on.
fn log_sessions(before: Option<&SpeakerStatus>, now: Option<&SpeakerStatus>) {
    let Some(now) = now else { return };
    if let Some(why) = &now.not_listening
        && before.and_then(|before| before.not_listening.as_ref()) != Some(why)
    {
        tracing::warn!("nobody can open a BGP session to this node: {why}");
    }
    for peer in &now.peers {
        let known = before.and_then(|before| before.peers.iter().find(|p| p.name == peer.name));
        let was_up = known.is_some_and(|known| known.state == SessionState::Established);
        match (was_up, peer.state == SessionState::Established) {
            (false, true) => tracing::info!("BGP session with {} is Established", peer.address),
            (true, false) => {
                let why = peer.reason.as_deref().unwrap_or("no reason known");
                tracing::warn!("BGP session with {} is down: {why}", peer.address);
            }
            _ => {}
        }
    }
}

/// Resolves on SIGTERM or SIGINT.
fn stop_signals() -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match signals {
        (Ok(mut terminate), Ok(mut interrupt)) => Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }),
        // Without handlers the signals end the process, which is what they are for.
        _ => Box::pin(std::future::pending()),
    }
}
