//! The result of ADD, in every version of the specification, and of delegated plugins.
//!
//! Before 0.3.0 a result had one address per family (`ip4`, `ip6`) and no interfaces; 1.0.0 dropped
//! the `version` of each address.

use crate::error::{Code, Error};
use crate::version::SpecVersion;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// What ADD came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The interfaces made.
    pub interfaces: Vec<Interface>,
    /// The addresses assigned.
    pub addresses: Vec<Address>,
    /// Routes, in an IPAM plugin's result.
    pub routes: Vec<Route>,
    /// The `dns` part, passed through.
    pub dns: Option<Value>,
}

/// An interface of a result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC.
    #[serde(default)]
    pub mac: String,
    /// The container's network namespace; empty on the host.
    #[serde(default)]
    pub sandbox: String,
}

/// An address of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address with its prefix length.
    pub address: IpNet,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
    /// Index into the interfaces.
    pub interface: Option<usize>,
}

/// A route of a result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop.
    #[serde(default, rename = "gw")]
    pub gateway: Option<IpAddr>,
}

impl Answer {
    /// What goes to standard output.
    pub(crate) fn to_json(&self, version: SpecVersion) -> String {
        let mut result = match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => self.by_family(),
            _ => self.by_interface(version),
        };
        result["cniVersion"] = version.as_str().into();
        result["dns"] = self.dns.clone().unwrap_or_else(|| json!({}));
        result.to_string()
    }

    fn by_interface(&self, version: SpecVersion) -> Value {
        let mut result = json!({});
        let interfaces: Vec<Value> = self.interfaces.iter().map(Interface::to_value).collect();
        let addresses: Vec<Value> =
            self.addresses.iter().map(|address| address.to_value(version)).collect();
        let routes: Vec<Value> = self.routes.iter().map(Route::to_value).collect();
        for (key, list) in [("interfaces", interfaces), ("ips", addresses), ("routes", routes)] {
            if !list.is_empty() {
                result[key] = list.into();
            }
        }
        result
    }

    fn by_family(&self) -> Value {
        let mut result = json!({});
        for (key, is_family) in
            [("ip4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("ip6", IpAddr::is_ipv6)]
        {
            let first = self.addresses.iter().find(|address| is_family(&address.address.addr()));
            let Some(first) = first else { continue };
            let mut part = json!({ "ip": first.address });
            if let Some(gateway) = first.gateway {
                part["gateway"] = gateway.to_string().into();
            }
            let routes = self.routes.iter().filter(|route| is_family(&route.dst.addr()));
            let routes: Vec<Value> = routes.map(Route::to_value).collect();
            if !routes.is_empty() {
                part["routes"] = routes.into();
            }
            result[key] = part;
        }
        result
    }

    /// Reads a result of whatever version: `prevResult`, or a delegated plugin's output.
    ///
    /// # Errors
    /// Code 6, saying which part.
    pub(crate) fn parse(text: &[u8], whose: &str) -> Result<Answer, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let written: Written =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                Error::new(
                    Code::Decoding,
                    format!("{whose} cannot be read: {}: {}", error.path(), error.inner()),
                )
            })?;
        let mut answer = Answer {
            interfaces: written.interfaces.unwrap_or_default(),
            routes: written.routes.unwrap_or_default(),
            dns: written.dns,
            addresses: vec![],
        };
        for address in written.ips.unwrap_or_default() {
            answer.addresses.push(Address {
                address: address.address,
                gateway: address.gateway,
                interface: address.interface,
            });
        }
        for family in [written.ip4, written.ip6].into_iter().flatten() {
            let address = Address { address: family.ip, gateway: family.gateway, interface: None };
            answer.addresses.push(address);
            answer.routes.extend(family.routes.unwrap_or_default());
        }
        Ok(answer)
    }
}

impl Interface {
    fn to_value(&self) -> Value {
        let mut value = json!({ "name": self.name });
        for (key, text) in [("mac", &self.mac), ("sandbox", &self.sandbox)] {
            if !text.is_empty() {
                value[key] = text.as_str().into();
            }
        }
        value
    }
}

impl Address {
    fn to_value(&self, version: SpecVersion) -> Value {
        let mut value = json!({ "address": self.address });
        if version < SpecVersion::V1_0_0 {
            value["version"] = if self.address.addr().is_ipv4() { "4" } else { "6" }.into();
        }
        if let Some(gateway) = self.gateway {
            value["gateway"] = gateway.to_string().into();
        }
        if let Some(interface) = self.interface {
            value["interface"] = interface.into();
        }
        value
    }
}

impl Route {
    fn to_value(&self) -> Value {
        let mut value = json!({ "dst": self.dst });
        if let Some(gateway) = self.gateway {
            value["gw"] = gateway.to_string().into();
        }
        value
    }
}

/// A result as others write it, all versions in one.
#[derive(Deserialize)]
struct Written {
    interfaces: Option<Vec<Interface>>,
    ips: Option<Vec<WrittenAddress>>,
    routes: Option<Vec<Route>>,
    dns: Option<Value>,
    ip4: Option<WrittenFamily>,
    ip6: Option<WrittenFamily>,
}

#[derive(Deserialize)]
struct WrittenAddress {
    address: IpNet,
    gateway: Option<IpAddr>,
    interface: Option<usize>,
}

#[derive(Deserialize)]
struct WrittenFamily {
    ip: IpNet,
    gateway: Option<IpAddr>,
    routes: Option<Vec<Route>>,
}
