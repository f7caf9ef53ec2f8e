//! The loop: what the datastores tell, then what there is to do about it, one job after another.

use crate::cluster::{Cluster, Made, Source};
use crate::election::Leadership;
use crate::failures::Failures;
use crate::garbage::{self, Findings, Leak, Suspects};
use crate::metrics::{self, Figures, Reclaimed};
use crate::settings::{Environment, NodeSettings, Settings};
use crate::status_file::{CALICO_DATASTORE, KUBERNETES_API, StatusFile};
use crate::worker::{Done, Job, Worker};
use crate::{Datastores, host_endpoints, node_labels};
use model::{AffinityKind, DatastoreEvent, HostEndpointSpec, Kind, Query};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use store::{Compactor, typed, watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How long after a change it is looked at what there is to do, so that a burst costs one look.
const SETTLE: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again: first, and at last.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Handles released at once at most; the rest follows.
const LEAKS_MAX: usize = 500;

/// What is followed where the Kubernetes API is the datastore.
pub fn followed() -> Vec<Query> {
    let kinds = [Kind::IpPool, Kind::KubeControllersConfiguration, Kind::Node];
    let affinities = Query::Affinities { kind: AffinityKind::Host, host: None };
    let kinds = kinds.into_iter().map(Query::kind);
    kinds.chain([Query::kind(Kind::WorkloadEndpoint), Query::Blocks, affinities]).collect()
}

/// What is followed where etcd is: in etcd, and of Kubernetes' API.
fn followed_in_etcd(settings: &Settings) -> (Vec<Query>, Vec<Query>) {
    let mut both = Vec::new();
    if settings.policy {
        both.push(Query::kind(Kind::NetworkPolicy));
    }
    if settings.namespace || settings.service_account {
        both.push(Query::kind(Kind::Profile));
    }
    let (mut calico, mut kubernetes) = (both.clone(), both);
    if settings.workload_endpoint {
        calico.push(Query::kind(Kind::WorkloadEndpoint));
    }
    if settings.workload_endpoint || settings.node.is_some() {
        kubernetes.push(Query::kind(Kind::WorkloadEndpoint));
    }
    kubernetes.push(Query::kind(Kind::Node));
    calico.extend(
        followed().into_iter().filter(|query| *query != Query::kind(Kind::WorkloadEndpoint)),
    );
    (calico, kubernetes)
}

/// What a datastore tells, and whether all of it has been told.
struct Feed {
    source: Source,
    conditions: &'static [&'static str],
    events: Option<mpsc::Receiver<DatastoreEvent>>,
    in_sync: bool,
}

impl Feed {
    /// The next event; never, where there is nothing to follow.
    async fn next(&mut self) -> Option<DatastoreEvent> {
        match &mut self.events {
            Some(events) => events.recv().await,
            None => std::future::pending().await,
        }
    }
}

struct Controllers<'a> {
    datastores: &'a Datastores,
    environment: &'a Environment,
    settings: Settings,
    status: &'a StatusFile,
    cluster: Cluster,
    suspects: Suspects,
    /// The host endpoints that there were at the start are known.
    endpoints_known: bool,
    /// When it is to be looked at what there is to do.
    due: Option<Instant>,
    started: Instant,
    reclaimed: Reclaimed,
    figures: watch::Sender<Figures>,
    /// What was last said of templates.
    warned: Vec<String>,
    failures: Failures,
}

/// Runs the controllers until their settings change or this process leads no more.
pub(crate) async fn run(
    datastores: &Datastores,
    environment: &Environment,
    settings: Settings,
    leadership: &mut Leadership,
    status: &StatusFile,
) {
    let (figures, shown) = watch::channel(Figures::default());
    let metrics = tokio::spawn(metrics::serve(settings.metrics_port, shown));
    let compaction = tokio::spawn(compact(datastores.etcd.clone(), settings.compaction_period));
    let (mut calico, mut kubernetes) = feeds(datastores, &settings);
    let cluster = Cluster { same: datastores.same, ..Cluster::default() };
    let mut controllers = Controllers {
        datastores,
        environment,
        settings,
        status,
        cluster,
        suspects: Suspects::default(),
        endpoints_known: false,
        due: None,
        started: Instant::now(),
        reclaimed: Reclaimed::new(),
        figures,
        warned: Vec::new(),
        failures: Failures::new(RETRY_PAUSE, RETRY_PAUSE_MAX),
    };
    loop {
        let due = controllers.due.filter(|_| calico.in_sync && kubernetes.in_sync);
        let look = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let (feed, event) = tokio::select! {
            () = leadership.lost() => break,
            event = calico.next() => (&mut calico, event),
            event = kubernetes.next() => (&mut kubernetes, event),
            () = look => {
                controllers.act(leadership).await;
                continue;
            }
        };
        let Some(event) = event else { break };
        controllers.take(feed, event);
        if calico.in_sync && kubernetes.in_sync && controllers.is_reconfigured() {
            tracing::info!("the settings have changed: the controllers start anew");
            break;
        }
    }
    metrics.abort();
    compaction.abort();
}

/// Compacts etcd, where it is the datastore, for ever.
async fn compact(etcd: Option<store::Settings>, period: Duration) {
    let Some(settings) = etcd.filter(|_| !period.is_zero()) else { return };
    let mut compactor = match Compactor::new(&settings) {
        Ok(compactor) => compactor,
        Err(why) => return tracing::warn!("etcd is not compacted: {why}"),
    };
    loop {
        tokio::time::sleep(period).await;
        match compactor.step().await {
            Ok(Some(revision)) => tracing::info!("compacted etcd up to revision {revision}"),
            Ok(None) => {}
            Err(why) => tracing::warn!("etcd is not compacted: {why}; it is tried again"),
        }
    }
}

fn feeds(datastores: &Datastores, settings: &Settings) -> (Feed, Feed) {
    let follow = |store: &std::sync::Arc<dyn store::Datastore>, queries| {
        Some(watcher::watch(store.clone(), queries))
    };
    let feed = |source, conditions, events: Option<_>| {
        let in_sync = events.is_none();
        Feed { source, conditions, events, in_sync }
    };
    if datastores.same {
        let events = follow(&datastores.calico, followed());
        let both = &[CALICO_DATASTORE, KUBERNETES_API];
        return (feed(Source::Calico, both, events), feed(Source::Kubernetes, &[], None));
    }
    let (calico, kubernetes) = followed_in_etcd(settings);
    let calico = follow(&datastores.calico, calico);
    let kubernetes = follow(&datastores.kubernetes, kubernetes);
    (
        feed(Source::Calico, &[CALICO_DATASTORE], calico),
        feed(Source::Kubernetes, &[KUBERNETES_API], kubernetes),
    )
}

impl Controllers<'_> {
    fn take(&mut self, feed: &mut Feed, event: DatastoreEvent) {
        let condition = match &event {
            DatastoreEvent::InSync => {
                feed.in_sync = true;
                Some(Ok(()))
            }
            DatastoreEvent::Reachable => Some(Ok(())),
            DatastoreEvent::Unreachable(why) => {
                tracing::warn!("{why}");
                Some(Err(why.clone()))
            }
            _ => None,
        };
        if let Some(met) = condition.filter(|_| self.settings.health) {
            for condition in feed.conditions {
                let met = met.as_ref().copied();
                self.status.set(condition, met.map_err(String::as_str));
            }
        }
        if self.cluster.take(feed.source, event) {
            self.look_at(Instant::now() + SETTLE);
        }
    }

    fn look_at(&mut self, moment: Instant) {
        self.due = Some(self.due.map_or(moment, |due| due.min(moment)));
    }

    /// Whether the configuration says something else than what runs, or is gone.
    fn is_reconfigured(&self) -> bool {
        match &self.cluster.configuration {
            None => true,
            Some(stored) => self.environment.over(&stored.spec).0 != self.settings,
        }
    }

    /// Does what there is to do.
    async fn act(&mut self, leadership: &Leadership) {
        self.due = None;
        let wants_endpoints = self.settings.node.is_some() && !self.endpoints_known;
        if wants_endpoints && let Err(why) = self.read_host_endpoints().await {
            self.failed(&why.to_string());
            return self.try_again();
        }
        let (jobs, findings) = self.decide();
        let mut worker = Worker::new(self.datastores);
        for job in jobs {
            if !leadership.holds() {
                return;
            }
            match worker.carry_out(job, self.environment).await {
                Ok(done) => self.note(done),
                Err(why) => self.failed(&format!("{why:#}")),
            }
        }
        self.try_again();
        let figures = Figures::of(&self.cluster, &findings, &self.reclaimed);
        self.figures.send_replace(figures);
    }

    fn failed(&mut self, why: &str) {
        if self.failures.is_news(why) {
            tracing::warn!("{why}; it is tried again");
        }
    }

    /// What has failed is looked at again later.
    fn try_again(&mut self) {
        if let Some(pause) = self.failures.pause() {
            self.look_at(Instant::now() + pause);
        }
    }

    async fn read_host_endpoints(&mut self) -> Result<(), store::Error> {
        let stored = typed::list::<HostEndpointSpec>(&*self.datastores.calico, None).await?;
        let ours = stored
            .into_iter()
            .filter_map(|endpoint| Some((endpoint.metadata.name.clone(), Made::of(endpoint)?)));
        self.cluster.host_endpoints = ours.collect();
        self.endpoints_known = true;
        Ok(())
    }

    fn decide(&mut self) -> (Vec<Job>, Findings) {
        let mut jobs: Vec<Job> = Vec::new();
        jobs.extend(self.cluster.configuration.clone().and_then(|stored| {
            let (_, status, _) = self.environment.over(&stored.spec);
            (stored.status.as_ref() != Some(&status)).then(|| Job::Tell(Box::new(stored)))
        }));
        let findings = match self.settings.node.clone() {
            Some(node) => self.decide_about_nodes(&node, &mut jobs),
            None => Findings::default(),
        };
        jobs.extend(self.cluster.mirror.changes(&self.settings).into_iter().map(Job::Mirror));
        (jobs, findings)
    }

    fn decide_about_nodes(&mut self, node: &NodeSettings, jobs: &mut Vec<Job>) -> Findings {
        let now = self.started.elapsed();
        let (suspects, findings) =
            garbage::judge(&self.cluster, &self.suspects, node.leak_grace, now);
        self.suspects = suspects;
        if let Some(next) = findings.next {
            self.look_at(self.started + next);
        }
        if findings.leaks.len() > LEAKS_MAX {
            self.look_at(Instant::now() + SETTLE);
        }
        jobs.extend(findings.leaks.iter().take(LEAKS_MAX).cloned().map(Job::Free));
        jobs.extend(findings.hosts.iter().cloned().map(Job::ReleaseHost));
        let blocks = findings.blocks.iter().cloned();
        jobs.extend(blocks.map(|(host, block)| Job::ReleaseBlock(host, block)));
        jobs.extend(findings.unclaimed.iter().copied().map(Job::DeleteBlock));
        if !self.cluster.same {
            let gone = self.cluster.gone_nodes();
            jobs.extend(gone.into_iter().map(Job::DeleteNode));
        }
        if node.sync_labels {
            let outdated = node_labels::outdated(&self.cluster);
            jobs.extend(outdated.into_iter().map(Job::SyncLabels));
        }
        let (changes, warnings) =
            host_endpoints::changes(&self.cluster, node.host_endpoints.as_ref());
        jobs.extend(changes.into_iter().map(Job::HostEndpoint));
        if warnings != self.warned {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            self.warned = warnings;
        }
        findings
    }

    fn note(&mut self, done: Done) {
        match done {
            Done::Freed(addresses) => self.count(&addresses),
            Done::Acquitted(leak) => self.acquit(&leak),
            Done::HostEndpoint(name, Some(made)) => {
                self.cluster.host_endpoints.insert(name, *made);
            }
            Done::HostEndpoint(name, None) => {
                self.cluster.host_endpoints.remove(&name);
            }
            Done::Well => {}
        }
    }

    fn acquit(&mut self, leak: &Leak) {
        tracing::debug!("handle {} is live after all", leak.handle);
        self.suspects.acquit(leak, self.started.elapsed());
        // The picture will say so, too; where it does not, it is looked at again.
        self.look_at(Instant::now() + RETRY_PAUSE);
    }

    fn count(&mut self, freed: &[IpAddr]) {
        let freed: BTreeSet<&IpAddr> = freed.iter().collect();
        for (cidr, block) in &self.cluster.blocks {
            let held = block.held.iter().filter(|held| freed.contains(&held.address));
            for held in held {
                let labels = metrics::labels(&self.cluster, cidr, held.node.as_deref());
                *self.reclaimed.entry(labels).or_default() += 1;
            }
        }
    }
}
