//! ClusterInformation: there is one.

use crate::resources::cluster_information::ClusterInformationSpec;
use crate::{Metadata, Problems};

pub(crate) fn check(_spec: &ClusterInformationSpec, metadata: &Metadata, problems: &mut Problems) {
    if metadata.name != "default" {
        let reason = "there is one ClusterInformation, named default";
        problems.add("metadata.name", &metadata.name, reason);
    }
}
