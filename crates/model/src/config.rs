//! The one registry of configuration parameters, and what each comes to on one node.
//!
//! ```text
//!  environment ────────────┐
//!  FelixConfiguration ─────┼──▶ Resolved ──get(&config::VXLAN_PORT)──▶ u16
//!  registry's defaults ────┘        └──▶ warnings, refusals
//! ```
//!
//! A parameter that the product acts on is one entry of `parameters`, a typed constant such as
//! [`VXLAN_PORT`]; one that it only knows is a row of `recognised` (Felix's) or `environment`.
//! Validation of FelixConfiguration, resolution and [`reference()`] come from the registry.
//!
//! Of two places that set a parameter the first wins: environment, FelixConfiguration
//! `node.<name>`, one whose `nodeSelector` selects the node (the oldest), `default`, built-in
//! (`calico-features.md` §1.8).

mod choices;
mod definition;
mod environment;
mod failsafe;
mod parameters;
mod recognised;
mod reference;
mod resolved;
mod setting;
#[cfg(test)]
mod tests;

pub use choices::{
    AllowAction, ChainInsertMode, DenyAction, EndpointToHostAction, LogSeverity, NetworkingBackend,
    ProgramClusterRoutes, ServiceLoopPrevention, SourceSpoofing, Switch,
};
pub use definition::{Definition, Parameter};
pub use failsafe::FailsafePort;
pub use parameters::*;
pub use reference::reference;
pub use resolved::{GivenBy, Resolved, Warning};
pub use setting::{FromSetting, Setting, ValueType};

/// The field of a FelixConfiguration that selects its nodes; no parameter itself.
pub const NODE_SELECTOR_FIELD: &str = "nodeSelector";

/// Every parameter: those with a Rust type first, then those only recognised.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    parameters::TYPED.iter().chain(recognised::FELIX).chain(environment::RECOGNISED)
}

/// The parameter that a FelixConfiguration's field sets.
pub fn definition_of_field(field: &str) -> Option<&'static Definition> {
    definitions().find(|definition| definition.field == Some(field))
}

/// The parameter that an environment variable sets. `FELIX_` variables are found in any case.
pub fn definition_of_variable(variable: &str) -> Option<&'static Definition> {
    let felix = definition::felix_name(variable);
    definitions().find(|definition| match felix {
        Some(name) => definition.of_felix && definition.name.eq_ignore_ascii_case(name),
        None => !definition.of_felix && definition.name == variable,
    })
}
