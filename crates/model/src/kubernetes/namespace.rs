//! Namespaces and service accounts, whose labels their pods take over.

use crate::Metadata;
use serde::{Deserialize, Serialize};

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: Metadata,
}

/// A ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {
    /// Name, namespace and labels.
    pub metadata: Metadata,
}
