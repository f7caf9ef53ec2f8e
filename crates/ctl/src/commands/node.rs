//! `calicoctl node`.

use crate::cli::Node;
use crate::terminal::Terminal;
use crate::{Error, agent};
use node::status::NodeStatus;
use std::path::Path;

pub(super) fn run(command: &Node, terminal: &mut Terminal<'_>) -> Result<(), Error> {
    match command {
        Node::Status => {
            let status = agent::status(Path::new(node::api::SOCKET))?;
            terminal.print(&describe(&status))
        }
    }
}

/// Calico's text where BGP does not run, then what the node says of itself.
fn describe(status: &NodeStatus) -> String {
    let mut text = "Calico process is running.\n\n".to_owned();
    text += &format!(
        "The BGP backend process (BIRD) is not running: CALICO_NETWORKING_BACKEND={}.\n",
        status.backend
    );
    let problems = [("Not ready", &status.not_ready), ("Warning", &status.warnings)];
    for (heading, lines) in problems {
        for line in lines {
            text += &format!("{heading}: {line}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_bgp_says_so_and_what_is_wrong() {
        let status = NodeStatus {
            bgp: None,
            node: "worker-1".to_owned(),
            backend: "vxlan".to_owned(),
            in_sync: true,
            not_ready: vec![],
            warnings: vec!["IPPool(a) is not routed: because".to_owned()],
        };
        expect_test::expect![[r#"
            Calico process is running.

            The BGP backend process (BIRD) is not running: CALICO_NETWORKING_BACKEND=vxlan.
            Warning: IPPool(a) is not routed: because
        "#]]
        .assert_eq(&describe(&status));
    }
}
