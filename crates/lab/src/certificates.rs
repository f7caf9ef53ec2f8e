//! The lab's certificate authority: a certificate for each node's agent, so that agents may ask each
//! other (`calicoctl explain`).

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a node has them.
pub(crate) const DIRECTORY: &str = "/etc/calico/api";

/// An authority that lives as long as the lab.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new() -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new()).context("naming the authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("making the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key);
        Ok(Authority(issuer.context("making the lab's certificate authority")?))
    }

    /// The files of a node: its certificate for both ends of a connection, its key, the authority.
    ///
    /// # Errors
    /// The node's name can be in no certificate.
    pub(crate) fn files(
        &self,
        node: &str,
        addresses: &[IpAddr],
    ) -> Result<BTreeMap<PathBuf, String>> {
        let naming = || format!("a certificate for node {node}");
        let mut params = CertificateParams::new(vec![node.to_owned()]).with_context(naming)?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        let key = KeyPair::generate().with_context(naming)?;
        let certificate = params.signed_by(&key, &self.0).with_context(naming)?;
        let file = |name: &str| PathBuf::from(DIRECTORY).join(name);
        Ok(BTreeMap::from([
            (file("node.crt"), certificate.pem()),
            (file("node.key"), key.serialize_pem()),
            (file("ca.crt"), self.0.pem()),
        ]))
    }
}
