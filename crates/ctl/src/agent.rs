//! Questions to this node's agent, over its Unix socket.

use crate::Error;
use node::api::{Reply, Request};
use node::status::NodeStatus;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the agent may take to answer; it may have to ask another node.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);

/// What the agent at this socket says of its node.
pub(crate) fn status(socket: &Path) -> Result<NodeStatus, Error> {
    match answer(socket, &Request::Status)? {
        Reply::Status(status) => Ok(*status),
        _ => Err(other_answer(socket, "a status")),
    }
}

/// What the agent at this socket answers.
pub(crate) fn answer(socket: &Path, request: &Request) -> Result<Reply, Error> {
    let place = socket.display();
    match ask(socket, request) {
        Ok(Reply::Failed { message, .. }) => Err(Error::Other(message)),
        Ok(reply) => Ok(reply),
        Err(why) if why.kind() == ErrorKind::PermissionDenied => Err(Error::Other(format!(
            "This command must be run as root: only root may ask calico-node at {place}."
        ))),
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Err(Error::Other(format!(
                "Calico process is not running.\n({place}: {why}; start calico-node on this node)"
            )))
        }
        Err(why) => Err(Error::Other(format!(
            "calico-node at {place} does not answer: {why}; its log says what it does \
             (/var/log/calico)"
        ))),
    }
}

/// The agent has answered, but not what was asked for.
pub(crate) fn other_answer(socket: &Path, wanted: &str) -> Error {
    Error::Other(format!(
        "calico-node at {} gave another answer than {wanted}: are both of one version?",
        socket.display()
    ))
}

fn ask(socket: &Path, request: &Request) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(IoError::new(ErrorKind::UnexpectedEof, "it ended the connection"));
    }
    Ok(serde_json::from_str(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// The agent's whole part of one conversation.
    fn answered(answer: &'static str) -> Result<NodeStatus, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("the same stream"));
            reader.read_line(&mut asked).expect("a request");
            stream.write_all(answer.as_bytes()).expect("an answer");
            asked
        });
        let status = status(&socket).map_err(|error| error.to_string());
        assert_eq!(agent.join().expect("the agent"), "\"Status\"\n");
        status
    }

    #[test]
    fn the_agent_is_asked_for_its_status() {
        let answer = r#"{"Status":{"node":"worker-1","backend":"vxlan","in_sync":true,
            "not_ready":[],"warnings":[]}}"#;
        let line: &'static str = Box::leak(format!("{}\n", answer.replace('\n', "")).into());
        assert_eq!(answered(line).expect("a status").node, "worker-1");
    }

    #[test]
    fn any_other_answer_says_what_to_do() {
        for (answer, said) in [
            ("\"Done\"\n", "are both of one version"),
            ("", "it ended the connection; its log"),
            ("{}\n", "does not answer"),
            ("{\"Failed\":{\"retry\":false,\"message\":\"no\"}}\n", "no"),
        ] {
            let error = answered(answer).expect_err(answer);
            assert!(error.contains(said), "{error}");
        }
        let error = status(Path::new("/nonexistent/agent.sock")).expect_err("nobody there");
        assert!(error.to_string().starts_with("Calico process is not running.\n"), "{error}");
    }
}
