//! What policies and tiers must satisfy beside each other, and what of them is built in; nothing
//! for other kinds.

use crate::Error;
use model::resources::profile::ALLOW_PROFILE;
use model::resources::tier::{DEFAULT_TIER, built_in_tier};
use model::{Key, Kind, Query, Resource, Spec};
use serde_json::Value;
use store::Datastore;

/// The kinds whose policies say a tier.
const TIERED: [Kind; 4] = [
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedNetworkPolicy,
];
/// What Calico before 3.32 put before the names of policies of the default tier.
const LEGACY_PREFIX: &str = "default.";
/// How the names begin of policies that kube-controllers makes of Kubernetes' own.
const KUBERNETES_PREFIX: &str = "knp.default.";
/// How many policies an error names.
const NAMED_MAX: usize = 10;

/// Whether users may change what has this key.
pub(crate) fn changeable(key: &Key) -> Result<(), Error> {
    let Key::Resource { kind, name, .. } = key else { return Ok(()) };
    match kind {
        Kind::Profile if name == ALLOW_PROFILE => Err(Error::Invalid(format!(
            "{key} is built in and stays as it is; create another profile"
        ))),
        Kind::NetworkPolicy | Kind::StagedNetworkPolicy if name.starts_with(KUBERNETES_PREFIX) => {
            Err(Error::Invalid(format!(
                "{key} stands for a NetworkPolicy of Kubernetes; change that one, with kubectl"
            )))
        }
        _ => Ok(()),
    }
}

/// A tier can go if it is not built in and no policy is of it.
pub(crate) async fn check_deletion(datastore: &dyn Datastore, key: &Key) -> Result<(), Error> {
    let Key::Resource { kind: Kind::Tier, name, .. } = key else { return Ok(()) };
    if built_in_tier(name).is_some() {
        return Err(Error::Invalid(format!("{key} is built in and stays; other tiers can go")));
    }
    let mut policies = Vec::new();
    for kind in TIERED {
        for entry in datastore.list(&Query::kind(kind)).await?.entries {
            let value: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            if tier(&value["spec"]) == *name {
                policies.push(entry.key.to_string());
            }
        }
    }
    if policies.is_empty() {
        return Ok(());
    }
    let (count, more) = (policies.len(), policies.len().saturating_sub(NAMED_MAX));
    policies.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let policies = policies.join(", ");
    Err(Error::Invalid(format!(
        "{key} is the tier of {count} policies, {policies}{more}; delete them or move them to \
         another tier first"
    )))
}

/// A policy's tier is stored, or one of `earlier`, which the same file creates.
pub(crate) async fn check_tier<S: Spec>(
    datastore: &dyn Datastore,
    resource: &Resource<S>,
    earlier: &[String],
) -> Result<(), Error> {
    if !TIERED.contains(&S::KIND) {
        return Ok(());
    }
    let spec = serde_json::to_value(&resource.spec).unwrap_or_default();
    let tier = tier(&spec);
    let known =
        earlier.contains(&tier) || datastore.get(&Key::cluster(Kind::Tier, &tier)).await?.is_some();
    if known {
        return Ok(());
    }
    let step = match built_in_tier(&tier) {
        Some(_) => "start calico-node, which creates the built-in tiers",
        None => "create it first; `calicoctl get tiers` lists those there are",
    };
    Err(Error::Invalid(format!(
        "{}: error with field spec.tier = '{tier}' (there is no such tier: {step})",
        resource.key()
    )))
}

fn tier(spec: &Value) -> String {
    match spec["tier"].as_str() {
        None | Some("") => DEFAULT_TIER.to_owned(),
        Some(tier) => tier.to_owned(),
    }
}

/// The key under which a policy is stored: its own, or the one that Calico before 3.32 gave it.
pub(crate) async fn stored_key(datastore: &dyn Datastore, key: &Key) -> Result<Key, Error> {
    let Key::Resource { kind, namespace, name } = key else { return Ok(key.clone()) };
    if !TIERED.contains(kind) || name.contains('.') || datastore.get(key).await?.is_some() {
        return Ok(key.clone());
    }
    let name = format!("{LEGACY_PREFIX}{name}");
    let legacy = Key::Resource { kind: *kind, namespace: namespace.clone(), name };
    let found = datastore.get(&legacy).await?.is_some();
    Ok(if found { legacy } else { key.clone() })
}

/// Takes the name of a policy that an earlier Calico stored, if it is stored so.
pub(crate) async fn take_stored_name<S: Spec>(
    datastore: &dyn Datastore,
    resource: &mut Resource<S>,
) -> Result<(), Error> {
    if let Key::Resource { name, .. } = stored_key(datastore, &resource.key()).await? {
        resource.metadata.name = name;
    }
    Ok(())
}

/// A policy's name as it is shown: without what an earlier Calico put before it.
pub(crate) fn show_name(kind: Kind, resource: &mut Value) {
    let name = resource["metadata"]["name"].as_str().and_then(|n| n.strip_prefix(LEGACY_PREFIX));
    if let Some(name) = name
        && TIERED.contains(&kind)
        && tier(&resource["spec"]) == DEFAULT_TIER
    {
        resource["metadata"]["name"] = Value::from(name);
    }
}

/// Tiers in the order in which they decide.
pub(crate) fn sort_tiers(tiers: &mut [Value]) {
    let order = |tier: &Value| tier["spec"]["order"].as_f64().unwrap_or(f64::INFINITY);
    tiers.sort_by(|one, other| order(one).total_cmp(&order(other)));
}
