//! NetworkSet and GlobalNetworkSet: ranges that can be read, no label that Calico sets itself.

use super::fields;
use crate::resources::workload_endpoint::NAMESPACE_LABEL;
use crate::{Metadata, Problems};

pub(crate) fn check(nets: &[String], metadata: &Metadata, problems: &mut Problems) {
    if let Some(value) = metadata.labels.get(NAMESPACE_LABEL) {
        let reason = "Calico sets this label itself; leave it out";
        problems.add(format!("metadata.labels.{NAMESPACE_LABEL}"), value, reason);
    }
    for (i, text) in nets.iter().enumerate() {
        if fields::network_address(text).is_none() {
            let reason = "write an address or a range, such as 10.0.0.1 or 10.0.0.0/8";
            problems.add(format!("spec.nets[{i}]"), text, reason);
        }
    }
}
