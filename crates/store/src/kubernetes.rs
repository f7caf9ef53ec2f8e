//! The Kubernetes driver: Calico's objects as custom resources, Nodes, Pods, Namespaces,
//! ServiceAccounts and Kubernetes' own policies.
//!
//! ```text
//!  Kubernetes ──▶ place: which collections and names, in which of two API groups
//!   │         ──▶ object, own: Kubernetes' form ◀──▶ the form Calico's etcd has
//!   │         ──▶ client: one request, one answer (kube, known nowhere else)
//!   ├─ get, list; write: create, update, delete
//!   └─ feed: watches as changes
//! ```
//!
//! What a value is to Calico, and its revision, don't depend on the driver: a revision is the
//! object's `resourceVersion`, a number that grows with every change of the cluster (Kubernetes API
//! concepts, "Resource versions"). Nothing is kept of an object but what Calico's form of it says.
//!
//! Source: `calico-features.md` §3.2 and §3.3.

mod client;
mod collections;
mod feed;
mod lease;
mod object;
mod own;
mod place;
mod token;
mod uid;
mod write;

pub use collections::{Collection, collections};
pub use lease::{Lease, Leases};
pub use token::{ServiceAccountToken, request_token};

use crate::settings;
use crate::{BoxFuture, BoxStream, Change, Datastore, Error, Listing};
use client::{Client, Failure, Status};
use http::Method;
use model::resources::profile::ALLOW_PROFILE;
use model::{Entry, Key, Kind, ProfileSpec, Query, Resource, Revision};
use object::Read;
use place::{Group, Place, Source};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Objects asked for at once by a list.
const PAGE_OBJECTS: usize = 500;
/// How often a list begins anew because its pages have expired.
const LIST_ATTEMPTS_MAX: usize = 3;
/// Lists and watches of several collections whose revisions are remembered.
const POSITIONS_MAX: usize = 64;

/// The revisions of each collection, of lists and watches that had several, by query and revision told.
type Positions = HashMap<(Query, Revision), Vec<Option<Revision>>>;

/// A connection to a cluster's API server, shared by all who use it.
pub(crate) struct Kubernetes {
    client: Arc<Client>,
    configured: Option<Group>,
    group: OnceCell<Group>,
    /// Calico's resources are elsewhere: only Kubernetes' own objects are looked at.
    own_objects_only: bool,
    interface_prefix: Arc<str>,
    /// Whether every affinity has the label that those of a host are found by.
    labelled: OnceCell<bool>,
    positions: Arc<Mutex<Positions>>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<GroupName>,
}

#[derive(Deserialize)]
struct GroupName {
    name: String,
}

/// The cluster's own objects as what they are to Calico (Nodes, Pods, Namespaces, ServiceAccounts,
/// NetworkPolicies), where Calico's resources are in another datastore.
///
/// # Errors
/// [`Error::Settings`] when the settings cannot be used.
pub async fn own_objects(settings: &settings::Kubernetes) -> Result<Arc<dyn Datastore>, Error> {
    let settings = settings::Kubernetes {
        // There need be no resources of Calico's to find the group by.
        api_group: Some(Group::Crd.api_version().to_owned()),
        ..settings.clone()
    };
    let driver = Kubernetes::new(&settings).await?;
    Ok(Arc::new(Kubernetes { own_objects_only: true, ..driver }))
}

impl Kubernetes {
    /// Checks the settings; connects when first asked.
    pub(crate) async fn new(settings: &settings::Kubernetes) -> Result<Kubernetes, Error> {
        let configured = match settings.api_group.as_deref() {
            None => None,
            Some(text) => {
                let known = [Group::Crd, Group::Native];
                let named = known.into_iter().find(|group| group.api_version() == text);
                Some(named.ok_or_else(|| {
                    Error::Settings(format!(
                        "CALICO_API_GROUP is {text:?}: it takes crd.projectcalico.org/v1 or \
                         projectcalico.org/v3"
                    ))
                })?)
            }
        };
        Ok(Kubernetes {
            client: Arc::new(Client::new(settings).await?),
            configured,
            group: OnceCell::new(),
            own_objects_only: false,
            interface_prefix: settings.interface_prefix.as_str().into(),
            labelled: OnceCell::new(),
            positions: Arc::default(),
        })
    }

    /// The configured group, else the one the cluster has; the first where it has both, as an API
    /// server of Calico's then serves the other.
    async fn group(&self) -> Result<Group, Error> {
        if let Some(group) = self.configured {
            return Ok(group);
        }
        self.group.get_or_try_init(|| self.discover()).await.copied()
    }

    async fn discover(&self) -> Result<Group, Error> {
        let answer = self.client.ask(Method::GET, "/apis").await;
        let answer = answer.map_err(|why| self.error(None, why))?;
        let groups: Groups = serde_json::from_slice(&answer)
            .map_err(|why| self.unreadable(&format!("the list of API groups: {why}")))?;
        let has = |name: &str| groups.groups.iter().any(|group| group.name == name);
        match (has("crd.projectcalico.org"), has("projectcalico.org")) {
            (true, true) => {
                tracing::info!(
                    "the cluster has resources of crd.projectcalico.org/v1 and of \
                     projectcalico.org/v3: the first count, and the others only where an API server \
                     of Calico's makes them of those; CALICO_API_GROUP says otherwise"
                );
                Ok(Group::Crd)
            }
            (true, false) => Ok(Group::Crd),
            (false, true) => Ok(Group::Native),
            (false, false) => Err(Error::Refused {
                endpoint: self.client.endpoint().to_owned(),
                reason: "the cluster has no Calico resources: kubectl apply -f manifests/crds.yaml"
                    .to_owned(),
            }),
        }
    }

    async fn place(&self, key: &Key) -> Result<Option<(Group, Place)>, Error> {
        let group = self.group().await?;
        Ok(Place::of(group, key).map(|place| (group, place)))
    }

    /// Reads an object, marked as deleted or not, and says where it was found.
    async fn find(&self, key: &Key) -> Result<Option<(Read, Place)>, Error> {
        let Some((group, mut place)) = self.place(key).await? else { return Ok(None) };
        loop {
            match self.client.ask(Method::GET, &place.path()).await {
                Ok(body) => {
                    let read = self.read(group, place.object, &body);
                    // Two names may be one in lower case; a pod of the name may be on another node.
                    return Ok(read.filter(|read| read.key == *key).map(|read| (read, place)));
                }
                Err(Failure::Status(Status { code: 404, .. })) => match place.older_name.take() {
                    Some(name) => place.name = name,
                    None => return Ok(None),
                },
                Err(why) => return Err(self.error(Some(key), why)),
            }
        }
    }

    fn read(&self, group: Group, object: object::Object, body: &[u8]) -> Option<Read> {
        object.read(group, &self.interface_prefix, std::str::from_utf8(body).ok()?)
    }

    async fn entry(&self, key: &Key) -> Result<Option<Entry>, Error> {
        if *key == allow_profile().key {
            return Ok(Some(allow_profile()));
        }
        let Some((read, place)) = self.find(key).await? else { return Ok(None) };
        if read.marked {
            // Somebody did not get to the second step.
            self.remove(key, &place, &read).await?;
            return Ok(None);
        }
        Ok(Some(read.into_entry()))
    }

    async fn listing(&self, query: &Query) -> Result<Listing, Error> {
        let group = self.group().await?;
        let (mut entries, mut positions) = (Vec::new(), Vec::new());
        for source in self.sources(group, query).await? {
            positions.push(self.list_source(group, &source, query, &mut entries).await?);
        }
        // To be watched from: what comes after the first of the collections' revisions.
        let revision = positions.iter().flatten().min().copied().unwrap_or_default();
        if positions.len() > 1 {
            remember(&self.positions, query, revision, &positions, None);
        }
        if *query == Query::kind(Kind::Profile) {
            entries.push(allow_profile());
        }
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Listing { entries, revision })
    }

    /// Adds the objects of a collection. Returns its revision, or `None` where it cannot be watched: the
    /// cluster has no such collection, being of an older Calico or without ClusterNetworkPolicies, or
    /// it may not be listed.
    async fn list_source(
        &self,
        group: Group,
        source: &Source,
        query: &Query,
        entries: &mut Vec<Entry>,
    ) -> Result<Option<Revision>, Error> {
        let begin = entries.len();
        for _ in 0..LIST_ATTEMPTS_MAX {
            entries.truncate(begin);
            match self.pages(group, source, query, entries).await {
                Ok(revision) => return Ok(Some(revision)),
                Err(Failure::Status(Status { code: 404, .. })) => return Ok(None),
                Err(Failure::Status(Status { code: 410, .. })) => {}
                // Roles of Calico's own let nodes read this one object only.
                Err(Failure::Status(Status { code: 403, .. }))
                    if source.object == object::Object::IpamConfig =>
                {
                    entries.extend(self.entry(&Key::IpamConfig).await?);
                    return Ok(None);
                }
                Err(why) => return Err(self.error(None, why)),
            }
        }
        Err(self.unreadable("a list, whose pages expire before they are read"))
    }

    async fn pages(
        &self,
        group: Group,
        source: &Source,
        query: &Query,
        entries: &mut Vec<Entry>,
    ) -> Result<Revision, Failure> {
        let mut next = String::new();
        loop {
            let uri =
                format!("{}?limit={PAGE_OBJECTS}{next}{}", source.collection, source.labels());
            let body = self.client.ask(Method::GET, &uri).await?;
            let page: Page<'_> = serde_json::from_slice(&body)
                .map_err(|why| Failure::Lost(format!("a list cannot be read: {why}")))?;
            for item in page.items.into_iter().flatten() {
                let read = source.object.read(group, &self.interface_prefix, item.get());
                let wanted = read.filter(|read| !read.marked && place::covers(query, &read.key));
                entries.extend(wanted.map(Read::into_entry));
            }
            if page.metadata.next.is_empty() {
                let revision = page.metadata.resource_version.parse();
                return revision.map(Revision).map_err(|_| {
                    Failure::Lost("a list has no revision: is it a Kubernetes API?".to_owned())
                });
            }
            next = format!("&continue={}", encoded(&page.metadata.next));
        }
    }

    async fn sources(&self, group: Group, query: &Query) -> Result<Vec<Source>, Error> {
        let mut sources = place::sources(group, query);
        if self.own_objects_only {
            sources.retain(|source| !source.object.is_deletable());
            return Ok(sources);
        }
        if let Query::Affinities { host: Some(host), .. } = query
            && self.affinities_are_labelled(&sources[0]).await?
        {
            sources[0].selector = Some(format!("{}={}", place::HOST_LABEL, place::host_hash(host)));
        }
        Ok(sources)
    }

    /// Older Calico writes none of the labels that affinities of one host are found by.
    async fn affinities_are_labelled(&self, affinities: &Source) -> Result<bool, Error> {
        let ask = || async {
            let label = encoded(&format!("!{}", place::HOST_LABEL));
            let uri = format!("{}?limit=1&labelSelector={label}", affinities.collection);
            let body = self.client.ask(Method::GET, &uri).await;
            let body = body.map_err(|why| self.error(None, why))?;
            let page: Page<'_> = serde_json::from_slice(&body)
                .map_err(|why| self.unreadable(&format!("a list: {why}")))?;
            Ok(page.items.is_none_or(|items| items.is_empty()))
        };
        self.labelled.get_or_try_init(ask).await.copied()
    }

    async fn follow(
        &self,
        query: &Query,
        after: Revision,
    ) -> Result<BoxStream<Result<Change, Error>>, Error> {
        let group = self.group().await?;
        let sources = self.sources(group, query).await?;
        let positions = match sources.len() {
            1 => vec![(after != Revision(0)).then_some(after)],
            _ => {
                let known = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
                // Their revisions are not one: where each was is known of lists, and of watches that
                // broke off.
                known.get(&(query.clone(), after)).cloned().ok_or(Error::Compacted(after))?
            }
        };
        let watch = feed::Watch {
            client: self.client.clone(),
            group,
            interface_prefix: self.interface_prefix.clone(),
            query: query.clone(),
            asked: after,
            positions: self.positions.clone(),
        };
        feed::open(watch, sources, positions).await
    }

    fn error(&self, key: Option<&Key>, why: Failure) -> Error {
        failed(self.client.endpoint(), key, why)
    }

    fn unreadable(&self, what: &str) -> Error {
        Error::Unreachable {
            endpoint: self.client.endpoint().to_owned(),
            reason: format!("it cannot be read: {what}; is it a Kubernetes API?"),
        }
    }
}

/// Remembers where each collection of a query was when `revision` was told, so that it can be watched
/// from there; `begun`: where they were when the watch that has come so far began.
fn remember(
    positions: &Mutex<Positions>,
    query: &Query,
    revision: Revision,
    reached: &[Option<Revision>],
    begun: Option<&[Option<Revision>]>,
) {
    let mut known = positions.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= POSITIONS_MAX {
        known.clear();
    }
    let kept = known.entry((query.clone(), revision)).or_insert_with(|| reached.to_vec());
    if begun == Some(kept) {
        kept.copy_from_slice(reached);
    }
    // Where another list or watch told the same revision, what is said twice does no harm.
    for (kept, reached) in kept.iter_mut().zip(reached) {
        *kept = (*kept).min(*reached);
    }
}

/// What a failure means for the caller.
fn failed(endpoint: &str, key: Option<&Key>, why: Failure) -> Error {
    let endpoint = endpoint.to_owned();
    let status = match why {
        Failure::Lost(reason) => return Error::Unreachable { endpoint, reason },
        Failure::Status(status) => status,
    };
    let Status { code, reason, message } = status;
    match (code, key) {
        (404, Some(key)) => Error::NotFound(key.clone()),
        (409, Some(key)) => Error::Conflict(key.clone()),
        (429 | 500.., _) => Error::Busy { endpoint, reason: format!("{message} ({reason})") },
        (401, _) => {
            let step = "are the token or the certificate right, neither expired nor of the future?";
            Error::Refused { endpoint, reason: format!("{message} ({reason}): {step}") }
        }
        (403, _) => {
            let step = "the account needs a role for it, as in manifests/";
            Error::Refused { endpoint, reason: format!("{message}: {step}") }
        }
        (_, Some(key)) => Error::Refused { endpoint, reason: format!("{key}: {message}") },
        (_, None) => Error::Refused { endpoint, reason: message },
    }
}

/// The profile that every cluster has, which nobody stores.
fn allow_profile() -> Entry {
    let profile = Resource::new(ALLOW_PROFILE, ProfileSpec::allow_all());
    Entry::new(profile.key(), profile.to_stored(), Revision(0))
}

/// A text as part of a URI's query.
fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| {
        if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

impl Source {
    /// The label selector as the rest of a URI's query.
    fn labels(&self) -> String {
        let selector = self.selector.as_deref();
        selector.map(|text| format!("&labelSelector={}", encoded(text))).unwrap_or_default()
    }
}

impl Datastore for Kubernetes {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(self.entry(key))
    }

    fn list<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Listing, Error>> {
        Box::pin(self.listing(query))
    }

    fn create<'a>(
        &'a self,
        key: &'a Key,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        Box::pin(self.insert(key, value))
    }

    fn update<'a>(
        &'a self,
        key: &'a Key,
        value: Vec<u8>,
        revision: Revision,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        Box::pin(self.replace(key, value, revision))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        revision: Option<Revision>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.erase(key, revision))
    }

    fn remove_endpoint<'a>(
        &'a self,
        key: &'a Key,
        container_id: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.release_pod(key, container_id))
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        after: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<Result<Change, Error>>, Error>> {
        Box::pin(self.follow(query, after))
    }
}
