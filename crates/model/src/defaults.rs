//! What Calico fills in when a resource is created or updated, so that readers need not know it.
//!
//! Each kind's own defaults stand beside its spec, as [`Spec::apply_defaults`].

use crate::{Resource, Spec};

/// Fills in a resource's defaults. Applying them twice is applying them once.
pub(crate) fn apply<S: Spec>(resource: &mut Resource<S>) {
    resource.spec.apply_defaults(&mut resource.metadata);
}
