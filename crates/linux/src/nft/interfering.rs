//! Other owners' chains that drop what no rule of theirs accepts.

use super::numbers::{self as n, attribute as a, message};
use super::{Error, Nft};
use crate::nfnetlink::Attributes;
use kernel::nft::Hook;

/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `AF_INET` and `AF_INET6`.
const IP: u8 = 2;
const IP6: u8 = 10;

/// A base chain of another owner whose policy is drop. A packet that our tables accept is looked at
/// by it all the same, and dropped unless a rule there accepts it too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DroppingChain {
    /// `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// Input, forward or output.
    pub hook: Hook,
}

/// `inet firewall input`.
impl std::fmt::Display for DroppingChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

impl Nft {
    /// Base chains of others at input, forward and output whose policy is drop; tables `ip` and
    /// `ip6` of the name `own` are not others'.
    ///
    /// # Errors
    /// As the kernel says, such as a missing privilege.
    pub fn interfering(&mut self, own: &str) -> Result<Vec<DroppingChain>, Error> {
        let dump = self.socket.dump(message::GETCHAIN, None, |_| {})?;
        let chains =
            dump.messages().filter_map(|found| dropping(found.family(), found.attributes()));
        let of_others = |found: &DroppingChain| found.family == "inet" || found.table != own;
        let mut chains: Vec<DroppingChain> = chains.filter(of_others).collect();
        chains.sort();
        Ok(chains)
    }
}

fn dropping(family: u8, attributes: Attributes<'_>) -> Option<DroppingChain> {
    let family = match family {
        INET => "inet",
        IP => "ip",
        IP6 => "ip6",
        _ => return None,
    };
    let hook = match attributes.nested(a::CHAIN_HOOK).number(a::HOOK_NUMBER)? {
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        _ => return None,
    };
    (attributes.number(a::CHAIN_POLICY)? == n::DROP.cast_unsigned()).then_some(())?;
    let table = attributes.text(a::TABLE)?.to_owned();
    let chain = attributes.text(a::CHAIN_NAME)?.to_owned();
    Some(DroppingChain { family, table, chain, hook })
}
