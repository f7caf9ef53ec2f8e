//! A stored object read back: key and bytes to a typed value.

use crate::*;

/// Any object this project reads from the datastore.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the type it holds")]
pub enum Value {
    BgpConfiguration(Box<BgpConfiguration>),
    BgpFilter(Box<BgpFilter>),
    BgpPeer(Box<BgpPeer>),
    CalicoNodeStatus(Box<CalicoNodeStatus>),
    ClusterInformation(Box<ClusterInformation>),
    FelixConfiguration(Box<FelixConfiguration>),
    GlobalNetworkPolicy(Box<GlobalNetworkPolicy>),
    GlobalNetworkSet(Box<GlobalNetworkSet>),
    HostEndpoint(Box<HostEndpoint>),
    IpPool(Box<IpPool>),
    IpReservation(Box<IpReservation>),
    KubeControllersConfiguration(Box<KubeControllersConfiguration>),
    NetworkPolicy(Box<NetworkPolicy>),
    NetworkSet(Box<NetworkSet>),
    Node(Box<Node>),
    Profile(Box<Profile>),
    StagedGlobalNetworkPolicy(Box<StagedGlobalNetworkPolicy>),
    StagedKubernetesNetworkPolicy(Box<StagedKubernetesNetworkPolicy>),
    StagedNetworkPolicy(Box<StagedNetworkPolicy>),
    Tier(Box<Tier>),
    WorkloadEndpoint(Box<WorkloadEndpoint>),
    Affinity(Affinity),
    Block(Box<Block>),
    Handle(Handle),
    IpamConfig(IpamConfig),
    EndpointSlice(Box<kubernetes::EndpointSlice>),
}

impl Value {
    /// Reads an entry's bytes as what its key says they are.
    ///
    /// # Errors
    /// The bytes are not that kind's JSON. The caller reports it with the entry's key and carries
    /// on without the object.
    pub fn decode(entry: &Entry) -> Result<Value, serde_json::Error> {
        let (bytes, revision) = (entry.value.as_slice(), entry.revision);
        macro_rules! resource {
            ($variant:ident) => {
                Value::$variant(Box::new(Resource::from_stored(bytes, revision)?))
            };
        }
        Ok(match &entry.key {
            Key::Block(_) => Value::Block(serde_json::from_slice(bytes)?),
            Key::Affinity { .. } => Value::Affinity(Affinity::from_stored(bytes)?),
            Key::Handle(_) => Value::Handle(serde_json::from_slice(bytes)?),
            Key::IpamConfig => Value::IpamConfig(serde_json::from_slice(bytes)?),
            Key::EndpointSlice { .. } => Value::EndpointSlice(serde_json::from_slice(bytes)?),
            Key::Resource { kind, .. } => match kind {
                Kind::BgpConfiguration => resource!(BgpConfiguration),
                Kind::BgpFilter => resource!(BgpFilter),
                Kind::BgpPeer => resource!(BgpPeer),
                Kind::CalicoNodeStatus => resource!(CalicoNodeStatus),
                Kind::ClusterInformation => resource!(ClusterInformation),
                Kind::FelixConfiguration => resource!(FelixConfiguration),
                Kind::GlobalNetworkPolicy => resource!(GlobalNetworkPolicy),
                Kind::GlobalNetworkSet => resource!(GlobalNetworkSet),
                Kind::HostEndpoint => resource!(HostEndpoint),
                Kind::IpPool => resource!(IpPool),
                Kind::IpReservation => resource!(IpReservation),
                Kind::KubeControllersConfiguration => resource!(KubeControllersConfiguration),
                Kind::NetworkPolicy => resource!(NetworkPolicy),
                Kind::NetworkSet => resource!(NetworkSet),
                Kind::Node => resource!(Node),
                Kind::Profile => resource!(Profile),
                Kind::StagedGlobalNetworkPolicy => resource!(StagedGlobalNetworkPolicy),
                Kind::StagedKubernetesNetworkPolicy => resource!(StagedKubernetesNetworkPolicy),
                Kind::StagedNetworkPolicy => resource!(StagedNetworkPolicy),
                Kind::Tier => resource!(Tier),
                Kind::WorkloadEndpoint => resource!(WorkloadEndpoint),
                Kind::BlockAffinity | Kind::IpamBlock | Kind::IpamHandle | Kind::IpamConfig => {
                    let kind = kind.name();
                    return Err(serde::de::Error::custom(format!("{kind} has a key of its own")));
                }
            },
        })
    }

    /// The bytes the datastore keeps for it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Value::BgpConfiguration(resource) => resource.to_stored(),
            Value::BgpFilter(resource) => resource.to_stored(),
            Value::BgpPeer(resource) => resource.to_stored(),
            Value::CalicoNodeStatus(resource) => resource.to_stored(),
            Value::ClusterInformation(resource) => resource.to_stored(),
            Value::FelixConfiguration(resource) => resource.to_stored(),
            Value::GlobalNetworkPolicy(resource) => resource.to_stored(),
            Value::GlobalNetworkSet(resource) => resource.to_stored(),
            Value::HostEndpoint(resource) => resource.to_stored(),
            Value::IpPool(resource) => resource.to_stored(),
            Value::IpReservation(resource) => resource.to_stored(),
            Value::KubeControllersConfiguration(resource) => resource.to_stored(),
            Value::NetworkPolicy(resource) => resource.to_stored(),
            Value::NetworkSet(resource) => resource.to_stored(),
            Value::Node(resource) => resource.to_stored(),
            Value::Profile(resource) => resource.to_stored(),
            Value::StagedGlobalNetworkPolicy(resource) => resource.to_stored(),
            Value::StagedKubernetesNetworkPolicy(resource) => resource.to_stored(),
            Value::StagedNetworkPolicy(resource) => resource.to_stored(),
            Value::Tier(resource) => resource.to_stored(),
            Value::WorkloadEndpoint(resource) => resource.to_stored(),
            Value::Affinity(affinity) => json(affinity),
            Value::Block(block) => json(block),
            Value::Handle(handle) => json(handle),
            Value::IpamConfig(config) => json(config),
            Value::EndpointSlice(slice) => json(slice),
        }
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has string keys only, so it is always JSON")
}
