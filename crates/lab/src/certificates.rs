//! The lab's certificate authority: a certificate for each node's agent, so that agents may ask each
//! other (`calicoctl explain`), and those of a Kubernetes cluster.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a node has them.
pub(crate) const DIRECTORY: &str = "/etc/calico/api";

/// An authority that lives as long as the lab.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Signs service accounts' tokens.
    tokens: KeyPair,
}

/// A certificate for both ends of a connection and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new() -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new()).context("naming the authority")?;
        params.distinguished_name = subject("calico-lab", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().context("making the authority's keys");
        let issuer = CertifiedIssuer::self_signed(params, key()?);
        let issuer = issuer.context("making the lab's certificate authority")?;
        Ok(Authority { issuer, tokens: key()? })
    }

    /// The authority's own certificate, as PEM.
    pub(crate) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// The private and the public key of service accounts' tokens, as PEM.
    pub(crate) fn token_keys(&self) -> [String; 2] {
        [self.tokens.serialize_pem(), self.tokens.public_key_pem()]
    }

    /// A certificate for `name`, which is valid at `hosts`: host names and addresses. Kubernetes
    /// takes the name for a user and the organization for a group.
    ///
    /// # Errors
    /// One of the names can be in no certificate.
    pub(crate) fn identity(
        &self,
        name: &str,
        organization: Option<&str>,
        hosts: Vec<String>,
    ) -> Result<Identity> {
        let naming = || format!("a certificate for {name}");
        // Addresses are told from names.
        let mut params = CertificateParams::new(hosts).with_context(naming)?;
        params.distinguished_name = subject(name, organization);
        let key = KeyPair::generate().with_context(naming)?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(naming)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The files of a node's agent: its certificate, its key, the authority.
    ///
    /// # Errors
    /// The node's name can be in no certificate.
    pub(crate) fn files(
        &self,
        node: &str,
        addresses: &[IpAddr],
    ) -> Result<BTreeMap<PathBuf, String>> {
        let hosts = addresses.iter().map(IpAddr::to_string).chain([node.to_owned()]);
        let identity = self.identity(node, None, hosts.collect())?;
        let file = |name: &str| PathBuf::from(DIRECTORY).join(name);
        Ok(BTreeMap::from([
            (file("node.crt"), identity.certificate),
            (file("node.key"), identity.key),
            (file("ca.crt"), self.certificate()),
        ]))
    }
}

fn subject(name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject.push(DnType::CommonName, name);
    subject
}
