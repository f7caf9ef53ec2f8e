//! Settings of enforcement, from FelixConfiguration.

use ipnet::IpNet;
use model::config::{AllowAction, DenyAction, EndpointToHostAction};
use policy::evaluate::{Failsafe, FailsafePort};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Calico's `nftablesMarkMask`.
const MARK_MASK_DEFAULT: u32 = 0xffff_0000;
/// Bits that the layout needs, of those of the mask: accept, pass, drop, scratch 0, scratch 1.
const MARK_BITS: usize = 5;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Settings of enforcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `interfacePrefix`: starts of the names of workloads' devices.
    pub interface_prefixes: BTreeSet<String>,
    /// Bits of packets' marks.
    pub marks: Marks,
    /// `defaultEndpointToHostAction`.
    pub endpoint_to_host: EndpointToHostAction,
    /// Not `disableConntrackInvalidCheck`: packets that belong to no connection are dropped.
    pub drop_invalid: bool,
    /// `allowVXLANPacketsFromWorkloads`.
    pub vxlan_from_workloads: bool,
    /// `allowIPIPPacketsFromWorkloads`.
    pub ipip_from_workloads: bool,
    /// `vxlanPort`.
    pub vxlan_port: u16,
    /// `workloadSourceSpoofing` is `Any`: workloads' own `allowed_sources` count.
    pub source_spoofing: bool,
    /// `failsafeInboundHostPorts`, `failsafeOutboundHostPorts`.
    pub failsafe: Failsafe,
    /// `nftablesFilterDenyAction`: how the filter chains refuse what policy denies.
    pub deny: DenyAction,
    /// `nftablesFilterAllowAction`: how what policy allows leaves the filter chains.
    pub filter_allow: AllowAction,
    /// `nftablesMangleAllowAction`: how what policy allows leaves the mangle chains.
    pub mangle_allow: AllowAction,
    /// `serviceLoopPrevention`: how forwarded packets to `service_ranges` are refused; `None`: they
    /// are let go.
    pub service_loops: Option<DenyAction>,
    /// Ranges of services' addresses. Those that are served have another destination by the time
    /// they are forwarded.
    pub service_ranges: BTreeSet<IpNet>,
    /// `logPrefix`: what lines of rules with action Log begin with.
    pub log_prefix: String,
}

/// Which bits of a packet's mark say what, allotted from the mask as Felix does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// A policy or profile has allowed it.
    pub accept: u32,
    /// A policy has passed it to the next tier.
    pub pass: u32,
    /// A policy or profile has denied it, and its endpoint's chain is to refuse it.
    pub drop: u32,
    /// Alternatives of a rule match so far.
    pub scratch: u32,
    /// One of the alternatives under way matches.
    pub alternative: u32,
}

impl Marks {
    /// Bits of a mask, lowest first; `None` if it has too few.
    pub fn of_mask(mask: u32) -> Option<Marks> {
        let bits: Vec<u32> =
            (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| mask & bit != 0).collect();
        match bits.get(..MARK_BITS)? {
            &[accept, pass, drop, scratch, alternative] => {
                Some(Marks { accept, pass, drop, scratch, alternative })
            }
            _ => None,
        }
    }

    /// Accept, pass and drop: what policies say.
    pub(super) fn verdicts(self) -> u32 {
        self.accept | self.pass | self.drop
    }

    /// All of them.
    pub(super) fn all(self) -> u32 {
        self.verdicts() | self.scratch | self.alternative
    }
}

impl Default for Marks {
    fn default() -> Marks {
        Marks::of_mask(MARK_MASK_DEFAULT).expect("Calico's mask has 16 bits")
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let open = |protocol, port| FailsafePort { protocol, port, net: None };
        let cluster = [179, 2379, 2380, 5473, 6443, 6666, 6667].map(|port| open(TCP, port));
        let inbound = [open(TCP, 22), open(UDP, 68)].into_iter().chain(cluster);
        let outbound = [open(UDP, 53), open(UDP, 67)].into_iter().chain(cluster);
        Settings {
            interface_prefixes: ["cali".to_owned()].into(),
            marks: Marks::default(),
            endpoint_to_host: EndpointToHostAction::Drop,
            drop_invalid: true,
            vxlan_from_workloads: false,
            ipip_from_workloads: false,
            vxlan_port: 4789,
            source_spoofing: false,
            failsafe: Failsafe { inbound: inbound.collect(), outbound: outbound.collect() },
            deny: DenyAction::Drop,
            filter_allow: AllowAction::Accept,
            mangle_allow: AllowAction::Accept,
            service_loops: Some(DenyAction::Drop),
            service_ranges: BTreeSet::new(),
            log_prefix: "calico-packet".to_owned(),
        }
    }
}
