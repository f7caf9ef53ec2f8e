//! IPAM handles: which addresses belong together, so that they can be released together.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The stored value of [`crate::Key::Handle`]: how many addresses of each block the handle holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// Block prefix (`192.168.0.0/26`) to number of addresses; an entry is at least 1.
    #[serde(default)]
    pub block: BTreeMap<String, u32>,
    /// Set while a Kubernetes datastore deletes it in two steps.
    #[serde(default)]
    pub deleted: bool,
}
