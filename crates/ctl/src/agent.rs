//! Questions to this node's agent, over its Unix socket.

use crate::Error;
use node::api::{Reply, Request, SOCKET};
use node::status::NodeStatus;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the agent may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// What the agent says of its node.
pub(crate) fn status() -> Result<NodeStatus, Error> {
    match ask(&Request::Status) {
        Ok(Reply::Status(status)) => Ok(*status),
        Ok(_) => Err(Error::Other(
            "calico-node gave another answer than a status: are both of one version?".to_owned(),
        )),
        Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => Err(Error::Other(
            "This command must be run as root: the agent's socket is root's only.".to_owned(),
        )),
        Err(why) => Err(Error::Other(format!(
            "Calico process is not running.\n({SOCKET}: {why}; start calico-node on this node)"
        ))),
    }
}

fn ask(request: &Request) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
